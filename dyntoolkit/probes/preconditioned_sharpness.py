"""Sharpness as Adam sees it: the largest eigenvalue of the Hessian after Adam's rescaling of the coordinates."""

import torch

from dyntoolkit.probes.sharpness import sharpness


def momentum_factor(beta1: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
    """mu = (1 - beta1)/((1 + beta1)(1 - beta1^n)) for update n: with it the stability limit is 2/lr for any beta1."""
    return (1 - beta1) / ((1 + beta1) * (1 - beta1**updates))


def preconditioned_sharpness(hessian: torch.Tensor, preconditioner: torch.Tensor) -> torch.Tensor:
    """lambda_max of D^1/2 H D^1/2 for Hessians (..., P, P) and the diagonals D = 1/(sqrt(v) + eps) (..., P) -> (...).

    The symmetric form has the eigenvalues of D H. Cost as `sharpness`. Times `momentum_factor` it is compared with 2/lr
    (Cohen et al. 2022, arXiv 2207.14484; Bai et al. 2025, arXiv 2506.04805).
    """
    root = preconditioner.sqrt()
    return sharpness(root.unsqueeze(-1) * hessian * root.unsqueeze(-2))
