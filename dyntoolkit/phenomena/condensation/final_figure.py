"""The figure of `condensation.final`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import (
    BASELINE,
    GREEN,
    GREY,
    MEASURED,
    PURPLE,
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Panel,
    median_line,
)

STEP = Axis("step", log=True)
TURN = Axis("orientation of (w, b) in degrees", range=(-185, 185))


def panels(history: History) -> list[Panel]:
    """Orientation and amplitude before and now, the two errors, N_eff, and the distance from the start."""
    names = ("loss", "test_mse", "n_eff", "rd")
    none = np.empty((0, len(history.seeds)))
    late = history.at("loss") > 0 if "loss" in history else np.empty(0, dtype=bool)  # without step 0
    steps = history.at("loss")[late] if "loss" in history else np.empty(0)
    known = {name: history[name][late] if name in history else none for name in names}
    return [
        _neurons(history),
        Panel(
            "Mean squared error",
            STEP,
            Axis("mean squared error", log=True),
            [
                median_line("training", steps, known["loss"], TRAIN),
                median_line("test", steps, known["test_mse"], TEST),
                Level("tolerance", y=history.config.tol),
            ],
        ),
        Panel(
            "Effective number of neurons",
            STEP,
            Axis("N<sub>eff</sub>", range=(0, 30)),
            [median_line("N<sub>eff</sub>", steps, known["n_eff"], GREEN), Level("two directions", y=2)],
        ),
        Panel(
            "Relative change of the input weights",
            STEP,
            Axis("‖w − w(0)‖ / ‖w(0)‖", log=True),
            [median_line("RD", steps, known["rd"], PURPLE), Level("as much as it was", y=1)],
        ),
    ]


def _neurons(history: History) -> Panel:
    """The neurons of the first run, each with its amplitude beside the largest."""
    lines = []
    for name, row, color in (("before", 0, BASELINE), ("now", -1, MEASURED)):
        angle, amplitude = np.empty(0), np.empty(0)
        if "orientation" in history:
            angle, amplitude = history["orientation"][row, 0], history["amplitude"][row, 0]
            amplitude = amplitude / amplitude.max()
        lines.append(Line(name, angle, amplitude, color, markers="points"))
    kinks = [Line("target", *_target(), GREY, dash=True)]
    return Panel("Neurons", TURN, Axis("amplitude |a||w| / largest", range=(-0.02, 1.05)), [*lines, *kinks])


def _target() -> tuple[Array, Array]:
    """Vertical lines at the orientations of the target's two neurons, relu(x - 1/3) and relu(-x - 1/3)."""
    angles = -np.degrees(np.arccos(np.array([1, -1]) / np.hypot(1, 1 / 3)))
    x = np.repeat(angles, 3)
    return x, np.array([0, 1, np.nan] * 2)
