"""Dead units: those that answer every sample in the same way."""

from collections.abc import Sequence

import torch

Tensor = torch.Tensor

SPREAD = 1e-6  # of a unit's outputs over the samples, below which it tells none apart


def dead_units(layers: Sequence[Tensor]) -> Tensor:
    """Share of hidden units whose output varies by less than 1e-6 over the samples: layers of (R, n, width) -> (R,).

    A ReLU that is off for all samples is one, a saturated tanh another.
    """
    spread = torch.cat([outputs.amax(1) - outputs.amin(1) for outputs in layers], 1)  # (R, units)
    return (spread < SPREAD).double().mean(1)
