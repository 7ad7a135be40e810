"""Linear mode connectivity: how far a quantity rises on the straight way between two networks."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

Array = np.ndarray
ALPHAS = np.linspace(0, 1, 11)  # weight of the first network


def segment(first: torch.Tensor, second: torch.Tensor, alphas: Array = ALPHAS) -> Iterator[torch.Tensor]:
    """alpha first + (1 - alpha) second for every alpha; at both ends the networks themselves, not rounded averages.

    first, second: weights (R, P).
    """
    return (torch.lerp(second, first, float(alpha)) for alpha in alphas)


def along_segment(
    evaluate: Callable[[torch.Tensor], torch.Tensor], first: torch.Tensor, second: torch.Tensor, alphas: Array = ALPHAS
) -> torch.Tensor:
    """evaluate at every point of `segment`: (..., A) if evaluate gives (...)."""
    return torch.stack([evaluate(point) for point in segment(first, second, alphas)], dim=-1)


def barrier(values: Array, alphas: Array = ALPHAS) -> Array:
    """The largest rise of values (..., A) over the straight line between their ends, at least 0: (...).

    The ends are alpha = 0 and 1 (Frankle et al. 2020, arXiv 1912.05671, with a chord instead of the mean of the ends).
    """
    with np.errstate(invalid="ignore"):  # where the loss of a diverged network is infinite, the barrier is NaN
        chord = alphas * values[..., -1:] + (1 - alphas) * values[..., :1]
        return np.asarray((values - chord).max(-1))
