"""The largest eigenvalue of each of many symmetric matrices, as along a training."""

import torch

SMALL, FEW = 24, 8  # matrices smaller, and paths shorter, than these are cheaper to decompose
FOLLOWED = 4  # eigenvectors m that are followed along a path
PRODUCTS = (4, 3, 3)  # with the matrix, before each of the three times at which the certificate is asked
TOLERANCE = 1e-10  # of the eigenvalue
ROUNDING = 1e-12  # of a sum of squares
TINY, HUGE = 1e-30, 1e30  # norms between which no power under- or overflows


def largest_eigenvalue(matrices: torch.Tensor) -> torch.Tensor:
    """lambda_max of symmetric finite matrices (T, ..., P, P), steps of a path, -> (T, ...).

    Block power iteration: it starts from nearly the m leading eigenvectors of the matrix in the middle of the path,
    which neighbours nearly share, and ends where `_certified` knows lambda_max to 1e-10 of its size, by an inequality
    that holds for any matrix. The others go through a dense eigenvalue routine; that matrices are alike only makes it
    fast: measured five times as fast for P = 61.
    """
    T, P = len(matrices), matrices.shape[-1]
    norms = torch.linalg.vector_norm(matrices, dim=(-2, -1))  # (T, ...)
    if P < SMALL or T < FEW or matrices.dtype != torch.float64 or not ((norms > TINY) & (norms < HUGE)).all():
        largest: torch.Tensor = torch.linalg.eigvalsh(matrices)[..., -1]
        return largest
    any_vectors = torch.randn(P, FOLLOWED, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    middle = torch.linalg.matrix_power(matrices[T // 2] / norms[T // 2, ..., None, None], 8)
    start = torch.linalg.qr(middle @ any_vectors).Q.mT  # (..., m, P)
    vectors = start.expand(T, *start.shape).reshape(-1, FOLLOWED, P)  # (N, m, P), N = T times the runs
    left, norms = matrices.reshape(-1, P, P), norms.flatten()  # those that are not known yet
    where = torch.arange(len(left), dtype=torch.int64)  # their places
    values = torch.empty(len(left), dtype=matrices.dtype)
    for products in PRODUCTS:
        for _ in range(products):
            vectors = vectors @ left
        found, vectors, known = _certified(left, norms, vectors)
        values[where[known]] = found[known]
        where, left, norms, vectors = (each[~known] for each in (where, left, norms, vectors))
        if not len(left):
            return values.view(matrices.shape[:-2])
    values[where] = torch.linalg.eigvalsh(left)[:, -1]
    return values.view(matrices.shape[:-2])


def _certified(
    H: torch.Tensor, norms: torch.Tensor, X: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ritz values theta_1 (N,) of H (N, P, P) on the span of the rows X (N, m, P); better rows; whether theta_1 is it.

    In an orthonormal basis of the Ritz vectors y_i and of what is orthogonal to them, with residuals
    e_i = H y_i - theta_i y_i,

        H = [[theta_1, 0, e_1^T], [0, diag(theta_2...), E^T], [e_1, E, B]],

    all of H but its first row and column is at most beta = max(theta_2, |B|) + |E| (Weyl), and |B|, |E| at most their
    Frobenius norms. Where theta_1 > beta, lambda_max lies between theta_1 and theta_1 + |e_1|^2/(theta_1 - beta), for
    it solves lambda = theta_1 + e^T (lambda - rest)^-1 e; and always at most |e_1| above max(theta_1, beta).
    """
    Q = torch.linalg.qr(X.mT).Q.mT  # (N, m, P)
    HQ = Q @ H
    theta, U = torch.linalg.eigh(HQ @ Q.mT)  # (N, m) ascending, (N, m, m)
    residuals = U.mT @ HQ - theta.unsqueeze(-1) * (U.mT @ Q)  # (N, m, P)
    e2 = residuals.square().sum(-1)  # (N, m)
    # |B|^2 = |H|^2 - sum theta_i^2 - 2 sum |e_i|^2, but for rounding
    B2 = (norms.square() - theta.square().sum(-1) - 2 * e2.sum(-1)).clamp_min(0) + ROUNDING * norms.square()
    largest, second = theta[:, -1], theta[:, -2]
    gap = largest - torch.maximum(second, B2.sqrt()) - e2[:, :-1].sum(-1).sqrt()  # theta_1 - beta
    allowed = TOLERANCE * largest
    known = (gap > 0) & (e2[:, -1] <= allowed * torch.maximum(gap, allowed))
    return largest, HQ, known
