"""The figure of `loss_spikes.digits`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import BLUE, GREY, ORANGE, PURPLE, RED, SKY, Axis, Bars, Level, Line, Panel, median_line
from dyntoolkit.phenomena.loss_spikes import spikes as find
from dyntoolkit.phenomena.loss_spikes.digits_claims import SKIP
from dyntoolkit.phenomena.loss_spikes.mlp_figure import CENTRES, forgetting
from dyntoolkit.phenomena.loss_spikes.spikes import THREE, Spike
from dyntoolkit.phenomena.loss_spikes.trace import trace

STEP = Axis("step")
NAMES = ("loss", "gradient_norm", "root_v", "along_gradient")


def panels(history: History) -> list[Panel]:
    """Loss with bumps and alarms; gradient and sqrt(v) with its decay; curvature; minimum against alarm.

    Bumps, alarms and decay are marked for the first run; the last panel counts the bumps of all of them.
    """
    known = {name: trace(history, name) if name in history else np.empty((0, len(history.seeds))) for name in NAMES}
    steps = np.arange(len(known["loss"]))
    found = [
        (find.find_spikes(loss, THREE, SKIP), find.alarm_groups(find.alarm_state(along, config.lr), SKIP))
        for loss, along, config in zip(known["loss"].T, known["along_gradient"].T, history.configs, strict=True)
    ]
    bumps, alarms = found[0]
    return [
        _loss(steps, known["loss"], bumps, alarms),
        _denominator(steps, known, history.config.beta2),
        _curvature(history, steps, known["along_gradient"]),
        _timing(found),
    ]


def _loss(steps: Array, losses: Array, bumps: list[Spike], alarms: list[tuple[int, int]]) -> Panel:
    first = losses[:, 0]
    peaks, starts = np.array([bump.peak for bump in bumps], dtype=int), np.array([a for a, _ in alarms], dtype=int)
    return Panel(
        "Loss",
        STEP,
        Axis("mean squared error", log=True),
        [
            median_line("loss", steps, losses, BLUE, width=1.2),
            Line("alarm", starts, first[starts], ORANGE, markers="points"),
            Line("3x spike", peaks, first[peaks], RED, markers="points"),
        ],
    )


def _denominator(steps: Array, known: dict[str, Array], beta2: float) -> Panel:
    return Panel(
        "Gradient and its memory",
        STEP,
        Axis("norm, mean √v", log=True),
        [
            median_line("|g|", steps, known["gradient_norm"], SKY, width=1.0),
            median_line("mean √v", steps, known["root_v"], PURPLE),
            Line("v only forgets, by β₂", steps, forgetful(known["root_v"][:, 0], beta2), GREY, dash=True),
        ],
    )


def forgetful(root: Array, beta2: float) -> Array:
    """Bias-corrected sqrt(v) (N,) as it would fall from each peak of the uncorrected one, if no gradient came in.

    The correction matters here: at beta2 = 0.999 it still shrinks in the first thousands of steps.
    """
    bias = np.sqrt(1 - beta2 ** np.arange(1, len(root) + 1))
    return np.asarray(forgetting(root * bias, beta2) / bias)


def _curvature(history: History, steps: Array, along: Array) -> Panel:
    scaled = along * np.array([config.lr for config in history.configs]) / 2
    return Panel(
        "Curvature × η/2",
        STEP,
        Axis("λ η / 2", log=True, range=(1e-3, 10)),
        [
            median_line("along the gradient", steps, np.where(scaled > 0, scaled, np.nan), BLUE, width=1.2),
            Level("stability limit", y=1.0),
        ],
    )


def _timing(found: list[tuple[list[Spike], list[tuple[int, int]]]]) -> Panel:
    leads = np.concatenate([find.leads(bumps, alarms)[:, 1] for bumps, alarms in found])
    near = np.clip(leads, CENTRES[0], CENTRES[-1])
    counts, _ = np.histogram(near, np.append(CENTRES, CENTRES[-1] + 3) - 1.5)
    names = [f"≤ {CENTRES[0]}", *map(str, CENTRES[1:-1]), f"≥ {CENTRES[-1]}"]
    axis = Axis("steps from the first alarm to the minimum")
    return Panel("Minimum against alarm", axis, Axis("3x spikes"), [Bars("bumps", names, counts, BLUE)])
