"""Inertia of a symmetric matrix: how many of its eigenvalues are negative, zero and positive."""

import numpy as np

Array = np.ndarray


def inertia(eigenvalues: Array, zero: float = 1e-9) -> Array:
    """(..., 3) numbers of eigenvalues (..., P) below -zero, within, and above zero."""
    below, above = (eigenvalues < -zero).sum(-1), (eigenvalues > zero).sum(-1)
    return np.stack([below, eigenvalues.shape[-1] - below - above, above], axis=-1)
