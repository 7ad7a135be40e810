"""Does dropout condense a network that begins in the lazy regime? Each run trains beside itself without dropout.

Zhang and Xu 2022, "Implicit regularization of dropout" (arXiv 2207.05952).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, adam
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.condensation import two_layer
from dyntoolkit.phenomena.condensation.dropout_claims import CLAIMS, metrics
from dyntoolkit.phenomena.condensation.dropout_config import PRESETS, Config
from dyntoolkit.phenomena.condensation.dropout_figure import panels
from dyntoolkit.probes.effective_neurons import effective_neurons

Tensor = torch.Tensor
FRAMES = 60
WITHIN = 5.0  # degrees over which two directions count as one
JUDGED = 0.9  # the keep probability q that the penalty is computed for
X = torch.linspace(-1, 1, 10)
Y = 0.5 * torch.relu(X - 1 / 3) + 0.5 * torch.relu(-X - 1 / 3)


class Pair(NamedTuple):
    """Adam of R networks with dropout and of their twins without: each tensor (R, 2, ...)."""

    theta: Tensor  # (R, 2, 3 m)
    mean: Tensor
    square: Tensor
    updates: Tensor  # (R, 2)

    @classmethod
    def start(cls, theta: Tensor) -> Self:
        """Twins from the same weights theta (R, 3 m)."""
        both = theta.unsqueeze(1).repeat(1, 2, 1)
        zeros = torch.zeros_like(both)
        return cls(both, zeros, zeros, torch.zeros(both.shape[:2], dtype=torch.float64))


def penalty(theta: Tensor, activation: str) -> Tensor:
    """R_1 = (1 - q)/q mean_i sum_k (a_k sigma(w_k x_i + b_k))^2 at q = 0.9, (R,). theta: (R, 3, m)."""
    parts = two_layer.hidden(theta, X, activation) * theta[:, 2].unsqueeze(1)  # (R, n, m)
    return (1 - JUDGED) / JUDGED * parts.square().sum(2).mean(1)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks with dropout, and their twins without, at 60 log-spaced steps measured without any mask.

    Values (R, 2), dropout first: loss, n_eff (weighted by amplitude; of lines for tanh), penalty. Of each neuron,
    orientation in degrees and amplitude, (R, 2, m).
    """
    c, m = configs[0], configs[0].width
    names = ("lr", "beta1", "beta2", "eps")
    twice = [each for each in configs for _ in range(2)]
    columns = (per_run(twice, name, torch.float64) for name in names)
    lr, beta1, beta2, eps = columns  # (2R,) each
    keep = per_run(configs, "keep_prob", ndim=2)  # (R, 1)
    masks = Stream(seeds, "mask")

    def batches(k0: int, k1: int) -> Iterator[Tensor]:
        uniform = (masks.uniform(k1 - k0, m) + 1) / 2  # (R, steps, m), in [0, 1)
        return (torch.where(uniform[:, k] < keep, 1 / keep, 0.0) for k in range(k1 - k0))

    def step(state: Pair, mask: Tensor) -> Pair:
        flat = Adam(*(tensor.flatten(0, 1) for tensor in state))  # 2R networks
        both = torch.stack([mask, torch.ones_like(mask)], dim=1).flatten(0, 1)  # (2R, m)
        slope = two_layer.gradient(flat.theta.view(-1, 3, m), X, Y, c.activation, both)
        after = adam(flat, slope.flatten(1), lr, beta1, beta2, eps)
        return Pair(*(tensor.view(-1, 2, *tensor.shape[1:]) for tensor in after))

    def measure(_: int, state: Pair) -> dict[str, Array]:
        theta = state.theta.view(-1, 3, m)  # (2R, 3, m)
        size = two_layer.amplitude(theta)
        found = {
            "loss": two_layer.loss(theta, X, Y, c.activation),
            "n_eff": effective_neurons(theta[:, :2].mT, size, WITHIN, lines=c.activation == "tanh"),
            "penalty": penalty(theta, c.activation),
            "orientation": two_layer.orientation(theta),
            "amplitude": size,
        }
        return {name: value.view(-1, 2, *value.shape[1:]).numpy() for name, value in found.items()}

    std = torch.tensor([[m**-each.init_exponent] for each in configs])
    start = Pair.start(std * Stream(seeds, "init").normal(3 * m))
    return train(start, step, batches, geometrically(c.steps, FRAMES), measure)


EXPERIMENT = Experiment(
    name="condensation.dropout",
    title="Dropout condenses",
    question="Does dropout gather the neurons of a lazy network in few directions?",
    paper="2207.05952",
    seconds=2.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
