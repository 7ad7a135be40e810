"""Panels that the experiments on Adam's spikes share."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import Array
from dyntoolkit.figure.panels import BLUE, GREY, ORANGE, PURPLE, RED, SKY, Axis, Bars, Line, Panel, median_line
from dyntoolkit.phenomena.loss_spikes._spikes import Group, Spike, leads

STEP = Axis("step")
CENTRES = np.arange(-12, 13, 3)  # steps from alarm to minimum; what lies beyond counts in the outermost bars

Found = tuple[list[Spike], list[Group]]  # the spikes and the alarm groups of one run


def marked_loss(losses: Array, found: Found, label: str) -> Panel:
    """The losses (N, R) of all runs; alarms and spikes of the first one, `found`."""
    first = losses[:, 0]
    alarms = np.array([start for start, _ in found[1]], dtype=int)
    peaks = np.array([spike.peak for spike in found[0]], dtype=int)
    return Panel(
        "Loss",
        STEP,
        Axis("mean squared error", log=True),
        [
            median_line("loss", np.arange(len(losses)), losses, BLUE, width=1.2),
            Line("alarm", alarms, first[alarms], ORANGE, markers="points"),
            Line(label, peaks, first[peaks], RED, markers="points"),
        ],
    )


def gradient_and_memory(norm: Array, root: Array, decay: Array, label: str) -> Panel:
    """|g| and mean sqrt(v), both (N, R), of all runs; its predicted decay (N,) in the first one."""
    steps = np.arange(len(root))
    return Panel(
        "Gradient and its memory",
        STEP,
        Axis("norm, mean √v", log=True),
        [
            median_line("|g|", steps, norm, SKY, width=1.0),
            median_line("mean √v", steps, root, PURPLE),
            Line(label, steps, decay, GREY, dash=True),
        ],
    )


def minimum_against_alarm(found: Sequence[Found], name: str, unit: str) -> Panel:
    """How many spikes have their minimum so many steps after their first alarm; the spikes of all runs."""
    onsets = np.concatenate([leads(spikes, alarms)[:, 1] for spikes, alarms in found])
    near = np.clip(onsets, CENTRES[0], CENTRES[-1])
    counts, _ = np.histogram(near, np.append(CENTRES, CENTRES[-1] + 3) - 1.5)
    names = [f"≤ {CENTRES[0]}", *map(str, CENTRES[1:-1]), f"≥ {CENTRES[-1]}"]
    axis = Axis("steps from the first alarm to the minimum")
    return Panel("Minimum against alarm", axis, Axis(unit), [Bars(name, names, counts, BLUE)])
