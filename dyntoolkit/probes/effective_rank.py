"""Effective rank: how many directions a matrix really uses."""

import torch

Tensor = torch.Tensor


def effective_rank(gram: Tensor) -> Tensor:
    """exp(entropy) of the eigenvalues of a positive semidefinite matrix, divided by their sum.

    gram: (R, d, d), such as W^T W. Returns (R,) in [1, d]; NaN where `gram` is zero or not finite.
    After Roy and Vetterli, The effective rank (2007), with the eigenvalues of W^T W for the singular values of W.
    """
    finite = torch.isfinite(gram).all(2).all(1)  # (R,)
    safe = torch.where(finite[:, None, None], gram, 0.0)  # eigvalsh raises on NaN
    share = torch.linalg.eigvalsh(safe).clamp_min(0.0)  # (R, d); rounding can make a zero negative
    share = share / share.sum(1, keepdim=True)  # 0/0 = NaN where the matrix is zero or was not finite
    return torch.exp(-torch.xlogy(share, share).sum(1))
