"""The figure of several runs of `cross_task_linearity.digits`: what the length of the pretraining changes."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import Array
from dyntoolkit.figure.panels import GREY, MEASURED, RED, Axis, Level, Line, Mark, Panel
from dyntoolkit.figure.sweeps import Row, Rows, by_field, sweep_line

ZERO = 3  # where the logarithmic axis shows "no pretraining"


def sweep_panels(rows: Rows) -> list[Panel]:
    """Ratio and merged accuracy against the pretraining steps, and the ratio against the distance.

    rows: (settings, seed) -> metrics of finished runs. Drawn are those that differ in nothing but pretraining steps
    (the settings of which most lengths are there), and the independent networks of the same settings as a level.
    """
    groups = by_field(rows, "pretrain_steps")
    swept = max(groups, key=lambda config: (len(groups[config]), config.shared_init))
    apart = groups.get(swept.replace(shared_init=False), {}).get(0, [])
    steps = Axis(f"pretraining steps (0 is drawn at {ZERO})", log=True)
    error, share = Axis("ratio ctl/base", log=True), Axis("merged accuracy", range=(0, 1))
    start = "one start" if swept.shared_init else "independent networks"
    points = [metrics for found in groups[swept].values() for metrics in found]
    return [
        *(
            Panel(
                title,
                steps,
                axis,
                [
                    sweep_line(start, groups[swept], name, color, least=ZERO),
                    Level("independent networks", y=float(np.median(_column(apart, name))) if apart else np.nan),
                ],
            )
            for title, axis, name, color in (
                ("Linearity by length of pretraining", error, "ratio", MEASURED),
                ("Merging by length of pretraining", share, "merged_acc", RED),
            )
        ),
        Panel("Ratio against distance", Axis("distance", log=True), error, _against_distance(points)),
    ]


def _against_distance(points: Sequence[Row]) -> list[Mark]:
    """All runs, and the line of slope 1 through their middle."""
    x, y = _column(points, "distance"), _column(points, "ratio")
    known = (x > 0) & (y > 0)
    x, y = x[known], y[known]
    ends = np.array([x.min(), x.max()]) if len(x) else np.empty(0)
    scale = np.exp(np.mean(np.log(y / x))) if len(x) else np.nan
    return [
        Line("runs", x, y, MEASURED, markers="points"),
        Line("slope 1", ends, scale * ends, GREY, dash=True),
    ]


def _column(found: Sequence[Row], name: str) -> Array:
    return np.array([metrics[name] for metrics in found], dtype=float)
