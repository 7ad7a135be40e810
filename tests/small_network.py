"""A small problem and a small network, for the tests of what trains and measures any of them."""

from collections.abc import Mapping

import torch

from dyntoolkit.engine.initialization import he, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.streams import Stream
from dyntoolkit.laboratory.built_in import NEURON_PROBES, PROBES
from dyntoolkit.laboratory.losses import cross_entropy, mse
from dyntoolkit.laboratory.probe import with_switches
from dyntoolkit.laboratory.problem import Problem, shared
from dyntoolkit.laboratory.training import Training, train_network

MLP_OF = {True: MLP((3, 5, 4, 2), torch.tanh), False: MLP((3, 5, 4, 1), torch.tanh)}


ALL = (*PROBES, *NEURON_PROBES)
Config = with_switches(Training, ALL)
EVERYTHING = {probe.field: True for probe in ALL}


class Small:
    """tanh, two hidden layers."""

    def __init__(self, classes: bool) -> None:
        self.mlp = MLP_OF[classes]
        self.shapes: Mapping[str, tuple[int, ...]] = dict(
            zip(["W1", "b1", "W2", "b2", "W3", "b3"], self.mlp.shapes, strict=True)
        )

    def __call__(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Outputs (R, n, k)."""
        return self.mlp(theta, x)

    def features(self, theta: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        """Of the hidden layers."""
        return self.mlp.features(theta, x)[:-1]

    def neurons(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Input weights (R, m, d) and sizes (R, m)."""
        (first, _), (second, _), _ = self.mlp.split(theta)
        return first.mT, second.norm(dim=2)


def problem(classes: bool, runs: int, n: int = 12) -> Problem:
    """Points of which the first coordinate says the class, or a smooth function of all."""
    x = torch.randn(n + 8, 3, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 0).long() if classes else torch.sin(x.sum(1, keepdim=True))
    return shared(x[:n], y[:n], x[n:], y[n:], 2 if classes else 0, runs)


def frames(configs, seeds, classes=True, probes=ALL):
    """A training of the small network on the small problem."""
    model = Small(classes)
    scale = torch.tensor([config.init_scale for config in configs])
    start = normal_init(model.mlp, Stream(seeds, "init"), he(model.mlp)) * scale[:, None]
    loss = cross_entropy if classes else mse
    return train_network(configs, seeds, model, start, problem(classes, len(seeds)), loss, probes)
