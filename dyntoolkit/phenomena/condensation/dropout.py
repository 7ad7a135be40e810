"""Does dropout condense a network that begins in the lazy regime? Each run trains beside itself without dropout.

Zhang and Xu 2022, "Implicit regularization of dropout" (arXiv 2207.05952).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, adam
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    at_least,
    below,
    between,
    choice,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import BASELINE, MEASURED, Axis, Level, Line, Panel
from dyntoolkit.figure.recorded import recorded_line
from dyntoolkit.phenomena.condensation import _two_layer as two_layer
from dyntoolkit.phenomena.condensation._neurons import neurons_panel, of_largest
from dyntoolkit.probes.effective_neurons import effective_neurons

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run of full-batch Adam with dropout, beside the same run without."""

    keep_prob: float = number(
        0.9, 0.5, 1.0, label="keep probability q", help="that a neuron stays in a step", main=True
    )
    activation: str = choice("relu", ("relu", "tanh"), label="activation σ", help="of the hidden neurons", main=True)
    width: int = number(100, 20, 300, label="width m", help="hidden neurons", log=True, main=True, structural=True)
    init_exponent: float = number(
        0.2,
        0.0,
        1.0,
        label="initialization exponent t",
        help="the initial weights have the standard deviation m^(−t)",
        main=True,
    )
    lr: float = number(3e-3, 1e-4, 2e-2, label="learning rate η", help="step size of Adam", log=True, main=True)
    steps: int = number(8000, 500, 20000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.999, label="β₁", help="memory of the gradient")
    beta2: float = number(0.999, 0.0, 0.9999, label="β₂", help="memory of the squared gradient")
    eps: float = number(1e-8, 1e-16, 1e-4, label="ε", help="added to √v in the denominator", log=True)


PRESETS = {
    "dropout": Preset("One neuron in ten is silent in each step: the cloud gathers in few directions."),
    "none": Preset("Nobody is silent: the cloud stays as it was.", {"keep_prob": 1.0}),
    "half": Preset("Half of the neurons are silent in each step.", {"keep_prob": 0.5}),
    "tanh": Preset("With tanh neurons, counted as lines.", {"activation": "tanh"}),
}

# ---- Data, model, step ----

FRAMES = 60
WITHIN = 5.0  # degrees over which two directions count as one
JUDGED = 0.9  # the keep probability q that the penalty is computed for
X = torch.linspace(-1, 1, 10, dtype=torch.float32)
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
        both = theta.unsqueeze(1).repeat(1, 2, 1)  # (R, 2, 3 m)
        zeros = torch.zeros_like(both)
        return cls(both, zeros, zeros, torch.zeros(both.shape[:2], dtype=torch.float64))


def penalty(theta: Tensor, activation: str) -> Tensor:
    """What dropout adds to the loss in the mean over all masks, at the keep probability q = 0.9, (R,).

    theta: (R, 3, m).
    """
    parts = two_layer.hidden(theta, X, activation) * theta[:, 2].unsqueeze(1)  # (R, n, m) a_k sigma(w_k x_i + b_k)
    # R_1 = (1 - q)/q mean_i sum_k (a_k sigma(w_k . x_i))^2
    return (1 - JUDGED) / JUDGED * parts.square().sum(2).mean(1)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks with dropout, and their twins without, at 60 log-spaced steps measured without any mask.

    Values (R, 2), dropout first: loss, n_eff (weighted by amplitude; of lines for tanh), penalty. Of each neuron,
    orientation in degrees and amplitude, (R, 2, m).
    """
    c, m = configs[0], configs[0].width
    twice = [each for each in configs for _ in range(2)]
    names = ("lr", "beta1", "beta2", "eps")
    lr, beta1, beta2, eps = (per_run(twice, name, torch.float64) for name in names)  # (2R,) each
    keep = per_run(configs, "keep_prob", ndim=3)  # (R, 1, 1)
    masks = Stream(seeds, "mask")

    def batches(k0: int, k1: int) -> Tensor:
        uniform = masks.unit(k1 - k0, m)  # (R, steps, m)
        return torch.where(uniform < keep, 1 / keep, 0.0).transpose(0, 1)

    def step(state: Pair, mask: Tensor) -> Pair:
        flat = Adam(*(tensor.flatten(0, 1) for tensor in state))  # 2R networks
        both = torch.stack([mask, torch.ones_like(mask)], dim=1).flatten(0, 1)  # (2R, m)
        slope = two_layer.gradient(flat.theta.view(-1, 3, m), X, Y, c.activation, both)  # (2R, 3, m)
        after = adam(flat, slope.flatten(1), lr, beta1, beta2, eps)
        return Pair(*(tensor.view(-1, 2, *tensor.shape[1:]) for tensor in after))

    def measure(_: int, state: Pair) -> dict[str, Array]:
        theta = state.theta.view(-1, 3, m)  # (2R, 3, m)
        size = two_layer.amplitude(theta)  # (2R, m)
        found = {
            "loss": two_layer.loss(theta, X, Y, c.activation),
            # N_eff with p_k = |a_k||w_k| / sum_j |a_j||w_j|
            "n_eff": effective_neurons(theta[:, :2].mT, size, WITHIN, lines=c.activation == "tanh"),
            "penalty": penalty(theta, c.activation),
            "orientation": two_layer.orientation(theta),
            "amplitude": size,
        }
        return {name: value.view(-1, 2, *value.shape[1:]).numpy() for name, value in found.items()}

    std = torch.tensor([[m**-each.init_exponent] for each in configs], dtype=torch.float32)  # (R, 1)
    start = Pair.start(std * Stream(seeds, "init").normal(3 * m))
    return train(start, step, batches, geometrically(c.steps, FRAMES), measure)


# ---- What is measured, claims ----


def metrics(history: History) -> dict[str, Array]:
    """At the end, (R,): n_eff, penalty, loss with dropout; and `_without`, of the twin that keeps everybody."""
    found: dict[str, Array] = {}
    for name in ("n_eff", "penalty", "loss"):
        pair = history.last(name).astype(np.float64)  # (R, 2)
        found |= {name: pair[:, 0], f"{name}_without": pair[:, 1]}
    return found


CLAIMS = (
    Claim(
        id="dropout_condenses",
        statement="With dropout the trained network has an effective number of neurons below 11.",
        metric="n_eff",
        bound=below(11),
        where=defaults(keep_prob=between(0.5, 0.95), steps=at_least(8000)),
        controls=(Control("without dropout", metric="n_eff_without"),),
    ),
    Claim(
        id="penalty_falls",
        statement="The penalty that dropout adds in the mean, R₁ at q = 0.9, falls below 0.005.",
        metric="penalty",
        bound=below(0.005),
        where=defaults(steps=at_least(8000)),
        controls=(Control("without dropout", metric="penalty_without"),),
    ),
)

# ---- Figure ----

STEP = Axis("step", log=True)  # without step 0
LOOKS = (("with dropout", MEASURED), ("without", BASELINE))


def panels(history: History) -> list[Panel]:
    """Neurons now, effective number of neurons, loss and penalty, each with dropout and without."""
    return [
        _neurons(history),
        Panel("Effective number of neurons", STEP, Axis("N<sub>eff</sub>"), [*_both(history, "n_eff")]),
        Panel("Loss without mask", STEP, Axis("mean squared error", log=True), [*_both(history, "loss")]),
        Panel(
            "Penalty R<sub>1</sub> of dropout",
            STEP,
            Axis("R<sub>1</sub> at q = 0.9", log=True),
            [*_both(history, "penalty"), Level("threshold of the claim", y=0.005)],
        ),
    ]


def _both(history: History, name: str) -> list[Line]:
    """A quantity with dropout and without."""
    return [recorded_line(history, name, label, color, start=1, column=k) for k, (label, color) in enumerate(LOOKS)]


def _neurons(history: History) -> Panel:
    """The neurons of the first run and of its twin, each with its amplitude beside the largest."""
    marks = []
    for k, (label, color) in enumerate(LOOKS):
        angle, size = np.empty(0), np.empty(0)
        if "orientation" in history:
            angle, size = history.last("orientation")[0, k], history.last("amplitude")[0, k]
        marks.append(Line(label, angle, of_largest(size), color, markers="points"))
    return neurons_panel(marks)


# ---- The record ----

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
