"""How alike two representations of the same samples are, whatever their width, rotation and scale."""

import torch

Tensor = torch.Tensor


def cka(H: Tensor, Z: Tensor) -> Tensor:
    """Centred kernel alignment |H^T Z|_F^2 / (|H^T H|_F |Z^T Z|_F) of H and Z less their means over the samples.

    H: (..., n, p). Z: (..., n, q), leading axes broadcast. Returns (...), float64 from 0 to 1: 1 where one is the
    other, rotated and scaled; NaN where one is the same for all samples. Linear CKA of Kornblith et al. 2019 (arXiv
    1905.00414).
    """
    H, Z = (M.double() - M.double().mean(-2, keepdim=True) for M in (H, Z))
    norm = torch.linalg.matrix_norm
    alike: Tensor = norm(H.mT @ Z).square() / (norm(H.mT @ H) * norm(Z.mT @ Z))
    return alike
