"""The figure of `loss_spikes.mlp`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Axis,
    Bars,
    Level,
    Line,
    Panel,
    Spans,
    median_line,
)
from dyntoolkit.phenomena.loss_spikes import spikes as find
from dyntoolkit.phenomena.loss_spikes.trace import trace

STEP = Axis("step")
CENTRES = np.arange(-12, 13, 3)  # steps from alarm to minimum; what lies beyond counts in the outermost bars


def panels(history: History) -> list[Panel]:
    """Loss with spikes and alarms; gradient and sqrt(v) with its decay; three curvatures; minimum against alarm."""
    names = ("loss", "gradient_norm", "root_v", "sharpness", "preconditioned", "along_gradient")
    known = {name: trace(history, name) if name in history else np.empty((0, len(history.seeds))) for name in names}
    steps = np.arange(len(known["loss"]))
    return [
        _loss(history, known, steps),
        _denominator(history, known, steps),
        _curvature(history, known, steps, _shades(history, known)),
        _timing(history, known),
    ]


def _first_run(history: History, known: dict[str, Array]) -> tuple[Array, Array]:
    """Loss and curvature along the gradient of the run whose spikes are marked, the first one."""
    return known["loss"][:, 0], known["along_gradient"][:, 0]


def _loss(history: History, known: dict[str, Array], steps: Array) -> Panel:
    loss, along = _first_run(history, known)
    peaks = np.array([spike.peak for spike in find.find_spikes(loss)], dtype=int)
    alarms = np.array([first for first, _ in find.alarm_groups(find.alarm_state(along, history.config.lr))], dtype=int)
    return Panel(
        "Loss",
        STEP,
        Axis("mean squared error", log=True),
        [
            median_line("loss", steps, known["loss"], BLUE, width=1.2),
            Line("alarm", alarms, loss[alarms], ORANGE, markers="points"),
            Line("10x spike", peaks, loss[peaks], RED, markers="points"),
        ],
    )


def _denominator(history: History, known: dict[str, Array], steps: Array) -> Panel:
    root = known["root_v"][:, 0]
    return Panel(
        "Gradient and its memory",
        STEP,
        Axis("norm, mean √v", log=True),
        [
            median_line("|g|", steps, known["gradient_norm"], SKY, width=1.0),
            median_line("mean √v", steps, known["root_v"], PURPLE),
            Line("decay by β₂ from each peak", steps, forgetting(root, history.config.beta2), GREY, dash=True),
        ],
    )


def forgetting(root: Array, beta2: float) -> Array:
    """The fall of sqrt(v) by beta2^(1/2) per step where no gradient comes in, from each of its peaks to the next (N,).

    A peak is a value that none of the 100 before and after it exceeds. Before the first one there is no line.
    """
    line = np.full(len(root), np.nan)
    peaks = [i for i in range(1, len(root) - 1) if root[i] == root[max(0, i - 100) : i + 101].max()]
    for start, end in zip(peaks, [*peaks[1:], len(root)][: len(peaks)], strict=True):
        line[start:end] = root[start] * beta2 ** (np.arange(end - start) / 2)
        line[end - 1] = np.nan  # the line breaks before the next peak
    return line


def _shades(history: History, known: dict[str, Array]) -> list[Spans]:
    """The stages around each spike of the first run."""
    loss, along = _first_run(history, known)
    groups = find.alarm_groups(find.alarm_state(along, history.config.lr))
    found = find.stages(loss, known["root_v"][:, 0], find.find_spikes(loss), groups)
    looks = {"onset": ("onset", ORANGE), "growth": ("v grows", PURPLE), "recovery": ("recovery", SKY)}
    return [Spans(label, found[name][:, 0], found[name][:, 1], color) for name, (label, color) in looks.items()]


def _curvature(history: History, known: dict[str, Array], steps: Array, stages: list[Spans]) -> Panel:
    half = np.array([config.lr for config in history.configs]) / 2  # (R,)
    along = known["along_gradient"] * half
    return Panel(
        "Curvature × η/2",
        STEP,
        Axis("λ η / 2", log=True, range=(1e-3, 10)),
        [
            median_line("λ<sub>max</sub>(H)", steps, known["sharpness"] * half, GREEN, width=1.2),
            median_line("λ<sub>max</sub>, preconditioned", steps, known["preconditioned"] * half, ORANGE, width=1.2),
            median_line("along the gradient", steps, np.where(along > 0, along, np.nan), BLUE, width=1.2),
            Level("stability limit", y=1.0),
            *stages,
        ],
    )


def _timing(history: History, known: dict[str, Array]) -> Panel:
    leads = [
        find.leads(find.find_spikes(loss), find.alarm_groups(find.alarm_state(along, config.lr)))[:, 1]
        for loss, along, config in zip(known["loss"].T, known["along_gradient"].T, history.configs, strict=True)
    ]
    near = np.clip(np.concatenate(leads), CENTRES[0], CENTRES[-1])
    counts, _ = np.histogram(near, np.append(CENTRES, CENTRES[-1] + 3) - 1.5)
    names = [f"≤ {CENTRES[0]}", *map(str, CENTRES[1:-1]), f"≥ {CENTRES[-1]}"]
    axis = Axis("steps from the first alarm to the minimum")
    return Panel("Minimum against alarm", axis, Axis("10x spikes"), [Bars("spikes", names, counts, BLUE)])
