"""The figure of several runs of `cross_task_linearity.digits`: what the length of the pretraining changes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from dyntoolkit.engine.history import Array
from dyntoolkit.panels import GREY, MEASURED, RED, Axis, Level, Line, Mark, Panel, median_line
from dyntoolkit.phenomena.cross_task_linearity.digits_config import Config

Metrics = Mapping[str, float]
ZERO = 3  # where the logarithmic axis shows "no pretraining"


def sweep_panels(rows: Mapping[tuple[Config, int], Metrics]) -> list[Panel]:
    """Ratio and merged accuracy against the pretraining steps, and the ratio against the distance.

    rows: (settings, seed) -> metrics of finished runs. Drawn are those that differ in nothing but pretraining steps
    (the settings of which most lengths are there), and the independent networks of the same settings as a level.
    """
    groups: dict[Config, dict[int, list[Metrics]]] = defaultdict(lambda: defaultdict(list))
    for (config, _), metrics in rows.items():
        groups[config.replace(pretrain_steps=0)][config.pretrain_steps].append(metrics)
    swept = max(groups, key=lambda config: (len(groups[config]), config.shared_init))
    runs = dict(sorted(groups[swept].items()))
    apart = groups.get(swept.replace(shared_init=False), {}).get(0, [])
    steps = Axis(f"pretraining steps (0 is drawn at {ZERO})", log=True)
    error, share = Axis("ratio ctl/base", log=True), Axis("merged accuracy", range=(0, 1))
    points = [metrics for found in runs.values() for metrics in found]
    return [
        Panel("Linearity by length of pretraining", steps, error, _against_steps(runs, apart, "ratio", MEASURED)),
        Panel("Merging by length of pretraining", steps, share, _against_steps(runs, apart, "merged_acc", RED)),
        Panel("Ratio against distance", Axis("distance", log=True), error, _against_distance(points)),
    ]


def _against_steps(
    runs: Mapping[int, Sequence[Metrics]], apart: Sequence[Metrics], name: str, color: str
) -> list[Mark]:
    """Median and band over the seeds at each length, and the level of independent networks."""
    x = np.maximum(np.array(list(runs), dtype=float), ZERO)
    most = max(len(found) for found in runs.values())
    y = np.full((len(runs), most), np.nan)
    for row, found in zip(y, runs.values(), strict=True):
        row[: len(found)] = _column(found, name)
    level = float(np.median(_column(apart, name))) if apart else np.nan
    return [median_line("one start", x, y, color, markers="both"), Level("independent networks", y=level)]


def _against_distance(points: Sequence[Metrics]) -> list[Mark]:
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


def _column(found: Sequence[Metrics], name: str) -> Array:
    return np.array([metrics[name] for metrics in found], dtype=float)
