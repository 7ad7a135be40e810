"""Sharpness: the largest eigenvalue of the Hessian."""

import torch


def sharpness(hessian: torch.Tensor) -> torch.Tensor:
    """lambda_max of each symmetric Hessian, (..., P, P) -> (...).

    Exact, by a dense eigenvalue routine: O(P^3), about 0.25 ms for P = 61 on one core; below P = 200 that is cheaper
    than power iteration, which also stalls where eigenvalues are close. NaN for a Hessian that is not finite, as where
    a run has diverged. Stability limit of gradient descent: 2/lr (Cohen et al. 2021, arXiv 2103.00065).
    """
    finite = torch.isfinite(hessian).all(-1).all(-1)  # (...)
    values = torch.linalg.eigvalsh(torch.where(finite[..., None, None], hessian, 0.0))  # (..., P), ascending
    return torch.where(finite, values[..., -1], torch.nan)
