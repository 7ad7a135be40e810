"""Activation functions by name: torch's own, and the few that torch lacks."""

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

Activation = Callable[[torch.Tensor], torch.Tensor]


def identity(x: torch.Tensor) -> torch.Tensor:
    """The input itself: a network of such units is a deep linear network."""
    return x


def x_tanh(x: torch.Tensor) -> torch.Tensor:
    """x tanh(x): near zero it is x^2, an activation of multiplicity 2 (Zhou et al. 2022, arXiv 2105.11686)."""
    return x * torch.tanh(x)


def x2_tanh(x: torch.Tensor) -> torch.Tensor:
    """x^2 tanh(x): near zero it is x^3, an activation of multiplicity 3 (Zhou et al. 2022, arXiv 2105.11686)."""
    return x * x * torch.tanh(x)


ACTIVATIONS: Mapping[str, Activation] = {
    "tanh": torch.tanh,
    "sin": torch.sin,
    "relu": torch.relu,
    "xtanh": x_tanh,
    "x2tanh": x2_tanh,
    "gelu": functional.gelu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "erf": torch.erf,
    "identity": identity,
}
