"""Sharpness: the largest eigenvalue of the Hessian."""

import torch

from dyntoolkit.probes.largest_eigenvalue import largest_eigenvalue


def sharpness(hessian: torch.Tensor) -> torch.Tensor:
    """lambda_max of each symmetric Hessian, (..., P, P) -> (...).

    To 1e-10 of its size; fastest for the steps of a path along the first axis (see `largest_eigenvalue`). NaN for a
    Hessian that is not finite, as where a run has diverged. Stability limit of gradient descent: 2/lr (Cohen et al.
    2021, arXiv 2103.00065).
    """
    finite = torch.isfinite(torch.linalg.vector_norm(hessian, dim=(-2, -1)))  # (...)
    if not finite.all():  # or the squares of finite entries are too large
        finite = torch.isfinite(hessian).all(-1).all(-1)
        hessian = torch.where(finite[..., None, None], hessian, 0.0)
    return torch.where(finite, largest_eigenvalue(hessian), torch.nan)
