"""The largest eigenvalue of a symmetric operator that is known only by its products with vectors."""

from collections.abc import Callable

import torch

from dyntoolkit.probes.power_iteration import any_vector

Tensor = torch.Tensor

ITERATIONS = 20  # products; for Hessians of networks the largest eigenvalue is then known to about 1e-3 of its size
TINY = 1e-6  # of the operator's size, below which nothing new is left of a direction


def lanczos(product: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """lambda_max of each run's operator by Lanczos' method with full reorthogonalization, (R,) float64.

    product: v (R, P) -> A v (R, P). like: any (R, P) of the same dtype. It starts from the same random direction in
    every call and run. Exact, to rounding, if P <= ITERATIONS; never above lambda_max but for rounding. NaN for an
    operator that is not finite. Golub and Van Loan, Matrix Computations, chapter 10.
    """
    R, P = like.shape
    first = any_vector(like)[0]  # (P,)
    q = (first / first.norm()).expand(R, P)  # (R, P)
    size = min(ITERATIONS, P)
    basis: list[Tensor] = []
    T = torch.zeros(R, size, size, dtype=torch.float64)
    left = torch.ones(R, dtype=torch.bool)  # whether there is a new direction
    for k in range(size):
        basis.append(q)
        Aq = product(q)
        alpha = (q * Aq).sum(1)  # (R,)
        # a run without a new direction repeats a value that lies within its spectrum
        T[:, k, k] = torch.where(left, alpha.double(), T[:, 0, 0])
        Q = torch.stack(basis, 1)  # (R, k + 1, P)
        for _ in range(2):  # twice is enough (Kahan)
            Aq = Aq - (Q.mT @ (Q @ Aq.unsqueeze(2))).squeeze(2)
        beta = Aq.norm(dim=1)  # (R,)
        left = left & (beta > TINY * T.abs().amax((1, 2)))
        if k + 1 < size:
            T[:, k, k + 1] = T[:, k + 1, k] = torch.where(left, beta.double(), 0.0)
        q = torch.where(left[:, None], Aq / beta[:, None], 0.0)
    finite = torch.isfinite(T).flatten(1).all(1)  # (R,)
    values = torch.linalg.eigvalsh(torch.where(finite[:, None, None], T, 0.0))[:, -1]
    return torch.where(finite, values, torch.nan)
