"""What every training of the laboratory shows: loss, accuracy, and the measurements that are switched on."""

import math
from collections.abc import Sequence

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import GREY, KERNEL, SERIES, TEST, TRAIN, Axis, Level, Mark, Panel
from dyntoolkit.figure.recorded import recorded_line
from dyntoolkit.laboratory.probe import Model, Probe


def loss_panel(history: History, label: str = "loss") -> Panel:
    """The loss on the training and on the test data."""
    return Panel("Loss", Axis("step"), Axis(label, log=True), _train_and_test(history, "loss"))


def accuracy_panel(history: History) -> Panel:
    """The share of right answers on the training and on the test data."""
    axis = Axis("accuracy", range=(-0.02, 1.02))
    return Panel("Accuracy", Axis("step"), axis, _train_and_test(history, "accuracy"))


def _train_and_test(history: History, name: str) -> list[Mark]:
    return [
        recorded_line(history, name, "training", TRAIN),
        recorded_line(history, f"test_{name}", "test", TEST),
    ]


def watched(history: History, probes: Sequence[Probe]) -> list[Probe]:
    """The measurements that are on, and those that have been."""
    return [probe for probe in probes if getattr(history.config, probe.field) or probe.name in history]


def probe_panel(probe: Probe, history: History, model: Model) -> Panel:
    """One measurement: its lines, and what it is to be compared with."""
    marks: list[Mark] = []
    if probe.lines is None:
        marks.append(recorded_line(history, probe.name, "measured", KERNEL))
    else:
        for k, name in enumerate(probe.lines(model)):
            marks.append(recorded_line(history, probe.name, name, SERIES[k % len(SERIES)], column=k))
    if probe.level is not None and math.isfinite(height := probe.level(history.config)):
        marks.append(Level(probe.level_label, y=height, color=GREY))
    return Panel(_capital(probe.label.split(" (")[0]), Axis("step"), Axis(probe.label, log=probe.log), marks)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
