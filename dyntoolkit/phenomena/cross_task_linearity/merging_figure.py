"""The figure of `cross_task_linearity.merging`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import recorded_line
from dyntoolkit.phenomena.cross_task_linearity.merging_claims import LOST, RULES, fewest_units

LABELS = ("cheapest pairs merged", "random pairs merged", "largest units kept", "random units kept")


def panels(history: History) -> list[Panel]:
    """Training; accuracy with fewer and fewer units; what a merge costs."""
    step = Axis("step", range=(0, history.config.steps))
    left = Axis("hidden units left", log=True)
    return [
        Panel(
            "Training loss",
            step,
            Axis("cross-entropy (nats)", log=True),
            [recorded_line(history, "loss", "train", TRAIN)],
        ),
        Panel(
            "Accuracy of the whole network",
            step,
            Axis("test accuracy", range=(0, 1)),
            [recorded_line(history, "accuracy", "test", TEST)],
        ),
        Panel("Fewer and fewer units", left, Axis("test accuracy", range=(0, 1)), _curves(history)),
        Panel(
            "What the last merge cost",
            left,
            Axis(
                "w<sub>i</sub>w<sub>j</sub>/(w<sub>i</sub>+w<sub>j</sub>) · ‖u<sub>i</sub> − u<sub>j</sub>‖", log=True
            ),
            [_line(history, "merge_cost", "cheapest pairs merged", BLUE)],
        ),
    ]


def _line(history: History, name: str, label: str, color: str) -> Line:
    grid = np.array(history.config.grid, dtype=float)
    known = history.last(name) if name in history else np.full((len(history.seeds), len(grid)), np.nan)  # (R, K)
    return median_line(label, grid, known.T, color, markers="both")


def _curves(history: History) -> list[Mark]:
    """Four rules, the accuracy that is enough, and the fewest units that have it."""
    lines = [
        _line(history, rule, label, color)
        for rule, label, color in zip(RULES, LABELS, (BLUE, ORANGE, GREEN, PURPLE), strict=True)
    ]
    enough = fewest = np.nan
    if "merge" in history:
        full = history.last("accuracy")
        enough = float(np.median(full)) - LOST
        fewest = float(np.median(fewest_units(history.last("merge"), full, history.config.grid)))
    return [*lines, Level("whole network − 0.02", y=enough), Level("fewest units, merged", x=fewest, color=GREY)]
