"""Plain gradient descent on the sines: does the sharpness rise to 2/lr, and stay there?

Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of stability" (arXiv 2103.00065).
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.loop import full_batch
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import Sgd, sgd
from dyntoolkit.experiment import Experiment, Preset, config
from dyntoolkit.experiment.claims import Array, Claim, Control, above, below, between
from dyntoolkit.experiment.config import number
from dyntoolkit.figure.panels import BLUE, GREEN, Axis, Level, Panel, median_line
from dyntoolkit.phenomena._sines import draw_data, hessian, initial_theta, loss, loss_and_gradient
from dyntoolkit.phenomena.loss_spikes.trace import trace, traced
from dyntoolkit.probes.sharpness import sharpness

EVERY = 20  # steps between two measurements of the sharpness
END = 2000  # steps at the end over which the claims look


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


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """theta <- theta - lr g. A frame every 50 steps: the loss of each, the sharpness of every 20th (else NaN).

    Values (R, 50) float64, see `trace`.
    """
    data = draw_data(configs, seeds)
    lr = per_run(configs, "lr", torch.float64)

    def step(state: Sgd, _: None) -> Sgd:
        return sgd(state, loss_and_gradient(state.theta, data)[1], lr)

    def probe(thetas: Sequence[torch.Tensor], first: int) -> dict[str, torch.Tensor]:
        theta = torch.stack(list(thetas))  # (T, R, P)
        sharp = torch.full(theta.shape[:2], torch.nan, dtype=torch.float64)
        chosen = slice(-first % EVERY, None, EVERY)
        sharp[chosen] = sharpness(hessian(theta[chosen], data))
        return {"loss": loss(theta, data), "sharpness": sharp}

    start = Sgd(initial_theta(configs, seeds))
    return traced(start, step, full_batch, configs[0].steps, lambda before, after: before.theta, probe)


def metrics(history: History) -> dict[str, Array]:
    """limit_start, limit_end, limit_max: sharpness times lr/2 at first, in the mean of the last 2000 steps, at most.

    rising: the share of the last 2000 steps in which the loss rises. loss_end: the last loss. Each (R,).
    """
    known, losses = _measured(history)[1], trace(history, "loss")
    tail = losses[-END:]
    with np.errstate(invalid="ignore"):
        return {
            "limit_start": known[0],
            "limit_end": known[-END // EVERY :].mean(0),
            "limit_max": known.max(0),
            "rising": (np.diff(tail, axis=0) > 0).mean(0),
            "loss_end": losses[-1],
        }


def _measured(history: History) -> tuple[Array, Array]:
    """The steps (N,) at which the sharpness was measured, and its values times lr/2 (N, R)."""
    half = np.array([c.lr for c in history.configs]) / 2
    steps = np.arange(0, history.at("sharpness")[-1], EVERY)
    return steps, trace(history, "sharpness")[steps] * half


def panels(history: History) -> list[Panel]:
    """The loss, and the sharpness against its limit."""
    none = np.empty((0, len(history.seeds)))
    losses = trace(history, "loss") if "loss" in history else none
    steps, known = _measured(history) if "sharpness" in history else (np.empty(0), none)
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


def _at_the_edge(c: Config) -> bool:
    """Where the recipe saw it: the default network, learning rates .08 to .1, 10000 steps or more."""
    return 0.08 <= c.lr <= 0.1 and c.steps >= 10000 and (c.width, c.n_train, c.init_scale) == (20, 50, 1.0)


CLAIMS = (
    Claim(
        id="hovers",
        statement="The sharpness rises to 2/η and stays there: its mean over the last 2000 steps, times η/2, is 1.",
        metric="limit_end",
        bound=between(0.95, 1.05),
        where=_at_the_edge,
        controls=(Control("η = 0.02", {"lr": 0.02}, below(0.95)), Control("η = 0.05", {"lr": 0.05})),
    ),
    Claim(
        id="oscillates",
        statement="At the edge the loss rises in more than three of ten steps.",
        metric="rising",
        bound=above(0.3),
        where=_at_the_edge,
        controls=(
            Control("η = 0.02", {"lr": 0.02}, below(0.05)),
            Control("η = 0.05", {"lr": 0.05}, below(0.05)),
        ),
    ),
)

EXPERIMENT = Experiment(
    name="loss_spikes.edge_of_stability",
    title="The edge of stability",
    question="Does plain gradient descent drive the sharpness to 2/lr and keep it there?",
    paper="2103.00065",
    seconds=2.5,
    config=Config,
    presets={
        "edge": Preset("A large learning rate: the sharpness is at its limit soon, and hovers there."),
        "stable": Preset("A fifth of it: the sharpness stays far below, and the loss never rises.", {"lr": 0.02}),
        "approach": Preset("Start below the limit and watch the sharpness climb to it.", {"lr": 0.08}),
    },
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
