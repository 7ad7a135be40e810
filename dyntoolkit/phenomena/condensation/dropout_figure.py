"""The figure of `condensation.dropout`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import BASELINE, MEASURED, Axis, Level, Line, Panel, median_line

STEP = Axis("step", log=True)
LOOKS = (("with dropout", MEASURED), ("without", BASELINE))


def panels(history: History) -> list[Panel]:
    """Neurons now, effective number of neurons, loss and penalty, each with dropout and without."""
    return [
        _neurons(history),
        _both(history, "n_eff", "Effective number of neurons", Axis("N<sub>eff</sub>")),
        _both(history, "loss", "Loss without mask", Axis("mean squared error", log=True)),
        _both(history, "penalty", "Penalty R<sub>1</sub> of dropout", Axis("R<sub>1</sub> at q = 0.9", log=True), 5e-3),
    ]


def _both(history: History, name: str, title: str, axis: Axis, threshold: float = np.nan) -> Panel:
    late = history.at(name) > 0 if name in history else np.empty(0, dtype=bool)  # without step 0
    steps = history.at(name)[late] if name in history else np.empty(0)
    values: Array = history[name][late] if name in history else np.empty((0, len(history.seeds), 2))
    lines = [median_line(label, steps, values[:, :, k], color) for k, (label, color) in enumerate(LOOKS)]
    levels = [Level("threshold of the claim", y=threshold)] if np.isfinite(threshold) else []
    return Panel(title, STEP, axis, [*lines, *levels])


def _neurons(history: History) -> Panel:
    marks = []
    for k, (label, color) in enumerate(LOOKS):
        angle, size = np.empty(0), np.empty(0)
        if "orientation" in history:
            angle, size = history.last("orientation")[0, k], history.last("amplitude")[0, k]
            size = size / (size.max() if 0 < size.max() < np.inf else np.nan)  # infinite after a divergence
        marks.append(Line(label, angle, size, color, markers="points"))
    axes = Axis("orientation of (w, b) in degrees", range=(-185, 185)), Axis("|a||w| / largest", range=(-0.02, 1.05))
    return Panel("Neurons", *axes, [*marks])
