"""The largest eigenvalue of a symmetric operator and its eigenvector, followed from a vector that is near it."""

from collections.abc import Callable

import torch

Tensor = torch.Tensor


def power_iteration(product: Callable[[Tensor], Tensor], vector: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The eigenvalue of largest size (R,) of each run's operator, and a unit vector (R, P) along its eigenvector.

    product: v (R, P) -> A v (R, P). vector: where to begin, (R, P), not 0; begun near the eigenvector, as with that of
    a moment ago, a few iterations are enough. The value is v . A v for the last v that was multiplied. NaN for an
    operator that is not finite. Golub and Van Loan, Matrix Computations, chapter 8.
    """
    v = vector / vector.norm(dim=1, keepdim=True)  # (R, P)
    for _ in range(iterations):
        Av = product(v)
        value = (v * Av).sum(1)  # (R,)
        v = Av / Av.norm(dim=1, keepdim=True)
    return value, v


def any_vector(like: Tensor) -> Tensor:
    """A Gaussian vector to begin with, the same in every call and run, of the shape and dtype of `like` (R, P)."""
    one = torch.randn(like.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return one.to(like.dtype).expand_as(like)
