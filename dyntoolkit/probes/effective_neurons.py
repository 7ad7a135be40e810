"""Effective number of neurons: in how many directions the input weights of a layer really point."""

import torch

Tensor = torch.Tensor


def effective_neurons(directions: Tensor, weights: Tensor, degrees: float, lines: bool = False) -> Tensor:
    """1 / sum_jk p_j p_k exp(-angle_jk^2 / (2 degrees^2)), with p the weights divided by their sum.

    directions: (R, m, D) the input weights of m neurons, of any length. weights: (R, m), not negative, such as the
    neurons' amplitudes. degrees: width within which two directions count as one. lines: opposite directions are one.
    Returns (R,) from 1 to m; NaN where all weights are 0 or something is not finite. It is the diversity of order 2
    of Leinster and Cobbold 2012 (Ecology 93), with the neurons for species and near directions for similar ones.
    """
    unit = torch.nn.functional.normalize(directions.double(), dim=2)  # (R, m, D)
    cos = unit @ unit.mT  # (R, m, m)
    angle = torch.rad2deg(torch.acos((cos.abs() if lines else cos).clamp(-1, 1)))
    near = torch.exp(-angle.square() / (2 * degrees**2))
    p = weights.double() / weights.double().sum(1, keepdim=True)  # (R, m)
    return 1 / (p.unsqueeze(1) @ near @ p.unsqueeze(2)).flatten()
