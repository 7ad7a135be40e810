"""How far a small perturbation of the weights has grown."""

import torch

from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.probes.relative_distance import relative_distance

Tensor = torch.Tensor


def amplification(copies: Tensor, theta: Tensor, eps: Tensor) -> Tensor:
    """|copy - theta| / (|theta| eps): by what factor a perturbation of the relative size eps has grown.

    copies: weights of C perturbed copies of each run, (R, C, P). theta: those of the unperturbed one, (R, P). eps:
    (R,). Returns (R, C) float64, without unit; 1 right after the perturbation.
    """
    runs, count, _ = copies.shape
    base = of_copies(theta.double(), count)  # (R C, P)
    return relative_distance(copies.double().flatten(0, 1), base).view(runs, count) / eps.double()[:, None]
