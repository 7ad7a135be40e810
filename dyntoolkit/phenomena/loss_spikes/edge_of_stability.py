"""Plain gradient descent on the sines: does the sharpness rise to 2/lr, and stay there?

Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of stability" (arXiv 2103.00065).
"""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import Sgd, sgd
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    above,
    at_least,
    below,
    between,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import BLUE, GREEN, Axis, Level, Panel, median_line
from dyntoolkit.phenomena._sines import draw_data, hessian, initial_theta, loss, loss_and_gradient
from dyntoolkit.phenomena.loss_spikes._trace import trace, traced
from dyntoolkit.probes.sharpness import sharpness

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run of full-batch gradient descent."""

    noise_std: ClassVar[float] = 0.0  # of the labels; the recipe has no such slider here
    lr: float = number(0.1, 0.01, 0.15, label="learning rate η", help="step size", log=True, main=True)
    steps: int = number(10000, 1000, 20000, label="steps", help="updates", log=True, main=True, structural=True)
    width: int = number(20, 5, 60, label="width", help="hidden units", structural=True)
    n_train: int = number(50, 20, 200, label="training points n", help="points of the regression", structural=True)
    init_scale: float = number(
        1.0,
        0.1,
        4.0,
        label="initialization scale",
        help="s of w, b ~ N(0, s²), a ~ N(0, s²/width)",
        log=True,
        main=True,
    )


PRESETS = {
    "edge": Preset("A large learning rate: the sharpness is at its limit soon, and hovers there."),
    "stable": Preset("A fifth of it: the sharpness stays far below, and the loss never rises.", {"lr": 0.02}),
    "approach": Preset("Start below the limit and watch the sharpness climb to it.", {"lr": 0.08}),
}


# ---- Data, model, step ----

# The data, sin x + sin 4x at evenly spaced points, the network, its gradient and Hessian: `phenomena._sines`

EVERY = 20  # steps between two measurements of the sharpness


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """theta <- theta - lr g. A frame every 50 steps: the loss of each, the sharpness of every 20th (else NaN).

    Values (R, 50) float64, see `trace`.
    """
    data = draw_data(configs, seeds)
    lr = per_run(configs, "lr", torch.float64)

    def step(state: Sgd, _: None) -> Sgd:
        g = loss_and_gradient(state.theta, data)[1]  # (R, P)
        return sgd(state, g, lr)

    def probe(before: Sgd, after: Sgd, first: int) -> dict[str, torch.Tensor]:
        theta = before.theta  # (T, R, P)
        sharp = torch.full(theta.shape[:2], torch.nan, dtype=torch.float64)  # (T, R)
        chosen = slice(-first % EVERY, None, EVERY)
        sharp[chosen] = sharpness(hessian(theta[chosen], data))
        return {"loss": loss(theta, data), "sharpness": sharp}

    return traced(Sgd(initial_theta(configs, seeds)), step, full_batch, configs[0].steps, probe)


# ---- What is measured, claims ----

END = 2000  # steps at the end over which the claims look


def metrics(history: History) -> dict[str, Array]:
    """limit_start, limit_end, limit_max: sharpness times lr/2 at first, in the mean of the last 2000 steps, at most.

    rising: the share of the last 2000 steps in which the loss rises. loss_end: the last loss. Each (R,).
    """
    _, known = _sharpness_by_limit(history)
    losses = trace(history, "loss")  # (N, R)
    with np.errstate(invalid="ignore"):
        return {
            "limit_start": known[0],
            "limit_end": known[-END // EVERY :].mean(0),
            "limit_max": known.max(0),
            "rising": (np.diff(losses[-END:], axis=0) > 0).mean(0),
            "loss_end": losses[-1],
        }


def _sharpness_by_limit(history: History) -> tuple[Array, Array]:
    """The steps (N,) at which the sharpness was measured, and its values in units of 2/lr, (N, R)."""
    half = np.array([config.lr for config in history.configs]) / 2  # (R,)
    sharp = trace(history, "sharpness")
    steps = np.arange(0, len(sharp), EVERY)
    return steps, sharp[steps] * half


# where the recipe saw it
AT_THE_EDGE = defaults(lr=between(0.08, 0.1), steps=at_least(10000))

CLAIMS = (
    Claim(
        id="hovers",
        statement="The sharpness rises to 2/η and stays there: "
        "its mean over the last 2000 steps, times η/2, is within 5 % of 1.",
        metric="limit_end",
        bound=between(0.95, 1.05),
        where=AT_THE_EDGE,
        controls=(Control("η = 0.02", {"lr": 0.02}, below(0.95)), Control("η = 0.05", {"lr": 0.05})),
    ),
    Claim(
        id="oscillates",
        statement="At the edge the loss rises in more than three of ten steps.",
        metric="rising",
        bound=above(0.3),
        where=AT_THE_EDGE,
        controls=(
            Control("η = 0.02", {"lr": 0.02}, below(0.05)),
            Control("η = 0.05", {"lr": 0.05}, below(0.05)),
        ),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """The loss, and the sharpness against its limit."""
    losses = trace(history, "loss")
    steps, known = _sharpness_by_limit(history)
    line = median_line("λ<sub>max</sub>(H)", steps, known, GREEN, width=1.2)
    return [
        Panel(
            "Sharpness × η/2",
            Axis("step"),
            Axis("λ<sub>max</sub>(H) η / 2"),
            [line, Level("stability limit", y=1.0)],
        ),
        Panel(
            "Loss",
            Axis("step"),
            Axis("mean squared error", log=True),
            [median_line("loss", np.arange(len(losses)), losses, BLUE, width=1.2)],
        ),
    ]


# ---- The record ----

EXPERIMENT = Experiment(
    name="loss_spikes.edge_of_stability",
    title="The edge of stability",
    question="Does plain gradient descent drive the sharpness to 2/lr and keep it there?",
    paper="2103.00065",
    seconds=2.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    predictions={"limit_end": lambda c: 1.0 if AT_THE_EDGE(c) else math.nan},
)
