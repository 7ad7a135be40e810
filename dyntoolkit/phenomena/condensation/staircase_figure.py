"""The figure of `condensation.staircase`."""

import numpy as np
import torch

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    GREY,
    MEASURED,
    RED,
    TRAIN,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.phenomena.condensation.staircase_claims import TWO_NEURONS, found_plateaus
from dyntoolkit.phenomena.condensation.staircase_config import TARGETS

STEP = Axis("step", log=True)


def panels(history: History) -> list[Panel]:
    """Loss with its plateaus and levels; effective number of neurons; the neurons now; the function now."""
    return [_loss(history), _count(history), _neurons(history), _function(history)]


def _late(history: History, name: str) -> tuple[Array, Array]:
    """Steps from 1 on and the values there, (T,) and (T, R)."""
    if name not in history:
        return np.empty(0), np.empty((0, len(history.seeds)))
    steps = history.at(name)
    return steps[steps > 0], history[name][steps > 0]


def _targets(history: History) -> tuple[Array, Array]:
    target = TARGETS[history.config.target]
    x = torch.linspace(-target.reach, target.reach, 40, dtype=torch.float64)
    return x.numpy(), target.function(x).numpy()


def _loss(history: History) -> Panel:
    steps, loss = _late(history, "loss")
    _, y = _targets(history)
    rests = found_plateaus(history, 0) if len(steps) and "n_eff" in history else []
    x = np.array([value for rest in rests for value in (rest.start, rest.end, np.nan)])
    levels = np.array([value for rest in rests for value in (rest.level, rest.level, np.nan)])
    affine = float(history.last("affine")[0]) if "affine" in history else np.nan
    two = TWO_NEURONS if history.config.target == "relu3" else np.nan
    marks: list[Mark] = [median_line("loss", steps, loss, TRAIN), Line("plateau", x, levels, RED, width=5.0)]
    lines: list[Mark] = [
        Level("zero function", y=float(np.mean(y**2))),
        Level("best straight line", y=affine, color=GREEN),
    ]
    lines.append(Level("two neurons", y=two))
    return Panel("Loss", STEP, Axis("mean squared error", log=True), marks + lines)


def _count(history: History) -> Panel:
    steps, n_eff = _late(history, "n_eff")
    marks: list[Mark] = [
        median_line("N<sub>eff</sub>", steps, n_eff, GREEN, markers="both"),
        Level("one direction", y=1.0),
    ]
    return Panel("Effective number of neurons", STEP, Axis("N<sub>eff</sub>"), marks)


def _neurons(history: History) -> Panel:
    angle, size = np.empty(0), np.empty(0)
    if "orientation" in history:
        angle, size = history.last("orientation")[0], history.last("amplitude")[0]
        size = size / (size.max() if 0 < size.max() < np.inf else np.nan)  # infinite after a divergence
    axes = Axis("orientation of (w, b) in degrees", range=(-185, 185)), Axis("|a||w| / largest", range=(-0.02, 1.05))
    return Panel("Neurons", *axes, [Line("neuron", angle, size, MEASURED, markers="points")])


def _function(history: History) -> Panel:
    x, y = _targets(history)
    now = history.last("output")[0] if "output" in history else np.full(len(x), np.nan)
    return Panel(
        "Function", Axis("x"), Axis("f(x)"), [Line("network", x, now, BLUE), Line("target", x, y, GREY, dash=True)]
    )
