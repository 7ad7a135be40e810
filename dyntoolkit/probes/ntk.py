"""Change of the tangent kernel of a linear network, without forming the kernel."""

import torch

Tensor = torch.Tensor


def linear_ntk(x: Tensor, W: Tensor, a: Tensor, scale: float) -> Tensor:
    """Tangent kernel of f(x) = scale a^T W x on the inputs x: scale^2 X (W^T W + |a|^2 I) X^T.

    x: (R, n, d). W: (R, m, d). a: (R, m). Returns (R, n, n).
    """
    return scale**2 * (x @ input_metric(W, a) @ x.mT)


def input_metric(W: Tensor, a: Tensor) -> Tensor:
    """P = W^T W + |a|^2 I, (R, d, d): the tangent kernel is scale^2 X P X^T."""
    identity = torch.eye(W.shape[2], dtype=W.dtype)
    return W.mT @ W + a.square().sum(1)[:, None, None] * identity


def kernel_change(P: Tensor, P0: Tensor, S: Tensor) -> Tensor:
    """|K - K0|_F / |K0|_F for kernels K = X P X^T and K0 = X P0 X^T over the same n inputs.

    P, P0: (R, d, d) symmetric. S: (R, d, d) = X^T X / n. Returns (R,), without unit.
    |X P X^T|_F^2 = n^2 tr(S P S P) for symmetric P, which costs d^3 in place of n^2 d.
    """
    return (_squared_norm(P - P0, S) / _squared_norm(P0, S)).sqrt()


def _squared_norm(P: Tensor, S: Tensor) -> Tensor:
    """|X P X^T|_F^2 / n^2, (R,)."""
    SP = S @ P  # (R, d, d)
    return (SP * SP.mT).sum((1, 2))
