"""The figures of `condensation.recovery`: one of a run or several seeds, one of all runs that a claim needs."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import (
    BASELINE,
    BLUE,
    GREEN,
    MEASURED,
    ORANGE,
    RED,
    SERIES,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.sweeps import Rows, by_field
from dyntoolkit.phenomena.condensation.recovery_claims import RECOVERED
from dyntoolkit.phenomena.condensation.recovery_config import DIM

SIZES = np.arange(1, DIM * DIM + 1)
ENTRIES = Axis("observed entries n", range=(0.5, DIM * DIM + 0.5))
SHARE = Axis("share of seeds", range=(-0.03, 1.03))
ERROR = Axis("mean squared error, all entries", log=True)
TINY = 1e-12  # smaller errors and singular values are drawn here


def panels(history: History) -> list[Panel]:
    """Error and share recovered against n, the error during training, and the tangent space of a tanh network."""
    config, none = history.config, np.empty((0, DIM * DIM))
    mse = history.last("mse") if "mse" in history else none  # (R, 16)
    at = Level(f"r(2d − r) = {config.optimistic}", x=config.optimistic)
    return [
        Panel("Error by number of entries", ENTRIES, ERROR, [_error("measured", mse, MEASURED), at, _limit()]),
        Panel(
            "Recovered", ENTRIES, Axis("share of seeds", range=(-0.03, 1.03)), [_share("measured", mse, MEASURED), at]
        ),
        _training(history),
        _tangent(history),
    ]


def sweep_panels(rows: Rows) -> list[Panel]:
    """Share recovered and median error against n over all trained seeds, for each initialization scale."""
    config, runs = max(by_field(rows, "init_scale").items(), key=lambda group: sum(map(len, group[1].values())))
    shares: list[Mark] = []
    errors: list[Mark] = []
    for (scale, found), color in zip(runs.items(), SERIES, strict=False):
        name = f"initialization scale {scale:g}, {len(found)} seeds"
        ends = np.array([[metrics[f"mse_{n}"] for n in SIZES] for metrics in found])  # (R, 16)
        shares.append(_share(name, ends, color))
        errors.append(_error(name, ends, color))
    at = Level(f"r(2d − r) = {config.optimistic}", x=config.optimistic)
    return [
        Panel("Recovered", ENTRIES, SHARE, [*shares, at]),
        Panel("Error by number of entries", ENTRIES, ERROR, [*errors, at, _limit()]),
    ]


def _limit() -> Level:
    return Level("counts as recovered", y=RECOVERED)


def _error(name: str, mse: Array, color: str) -> Line:
    """The median error over the runs (R, 16) at each size."""
    known = SIZES if len(mse) else SIZES[:0]
    values = np.maximum(mse.T, TINY) if len(mse) else np.empty((0, 1))
    return median_line(name, known, values, color, markers="both")


def _share(name: str, mse: Array, color: str) -> Line:
    """The share of the runs (R, 16) that are recovered at each size."""
    known = SIZES if len(mse) else SIZES[:0]
    return Line(name, known, (mse < RECOVERED).mean(0) if len(mse) else known, color, markers="both")


def _training(history: History) -> Panel:
    """The error below, at and above the optimistic size, and with all entries; without step 0."""
    at = history.config.optimistic
    sizes: Sequence[int] = (at - 1, at, min(at + 1, DIM * DIM), DIM * DIM)
    steps, mse = np.empty(0), np.empty((0, len(history.seeds), DIM * DIM))
    if "mse" in history:
        late = history.at("mse") > 0
        steps, mse = history.at("mse")[late], np.maximum(history["mse"][late], TINY)
    lines: list[Mark] = [
        median_line(f"n = {n}", steps, mse[:, :, n - 1], color)
        for n, color in zip(sizes, (ORANGE, BLUE, GREEN, RED), strict=True)
    ]
    return Panel("Error during training", Axis("step", log=True), ERROR, [*lines, _limit()])


def _tangent(history: History) -> Panel:
    """Singular values of the tangent space beside the largest, of the first run."""
    marks: list[Mark] = []
    for name, label, color in (
        ("condensed_spectrum", "equal neurons", MEASURED),
        ("generic_spectrum", "random neurons", BASELINE),
    ):
        values = history.last(name)[0] if name in history else np.empty(0)
        relative = np.maximum(values / values[:1], 1e-20)
        marks.append(Line(label, np.arange(1, len(values) + 1), relative, color, markers="both", width=1.2))
    axis = Axis("singular value / largest", log=True, range=(1e-18, 3))
    title = f"Tangent space, tanh, m = {history.config.student_width}"
    return Panel(title, Axis("index"), axis, [*marks, Level("counts for the rank", y=1e-8)])
