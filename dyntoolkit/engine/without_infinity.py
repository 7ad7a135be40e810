"""Measured values of a run that is about to diverge."""

import torch

from dyntoolkit.engine.history import Array


def without_infinity(value: torch.Tensor) -> Array:
    """A measured value of any shape; NaN where it is infinite: a product of weights is so before the weights are.

    >>> without_infinity(torch.tensor([1.0, -torch.inf]))
    array([ 1., nan], dtype=float32)
    """
    return torch.where(value.isinf(), torch.nan, value).numpy()
