"""Finished runs grouped by one of their settings, ready to be drawn against it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dyntoolkit.figure.panels import Line, median_line

Row = Mapping[str, float]  # the metrics of one finished run
Rows = Mapping[tuple[Any, int], Row]  # (settings, seed) -> its metrics
Groups = dict[Any, dict[Any, list[Row]]]


def by_field(rows: Rows, field: str) -> Groups:
    """Runs that differ in nothing but `field`: settings with that at its default -> value -> metrics of each run.

    Values ascend.
    """
    groups: Groups = defaultdict(lambda: defaultdict(list))
    for (config, _), metrics in rows.items():
        rest = config.replace(**{field: getattr(type(config)(), field)})
        groups[rest][getattr(config, field)].append(metrics)
    return {rest: dict(sorted(runs.items())) for rest, runs in groups.items()}


def sweep_line(
    name: str, runs: Mapping[Any, Sequence[Row]], metric: str, color: str, *, least: float = -np.inf
) -> Line:
    """The median of a metric over the seeds, with a band, at each value of the field.

    least: where the axis shows smaller values; a logarithmic one has no place for 0.
    """
    y = np.full((len(runs), max(map(len, runs.values()), default=1)), np.nan)  # (values, seeds)
    for row, found in zip(y, runs.values(), strict=True):
        row[: len(found)] = [metrics[metric] for metrics in found]
    return median_line(name, np.maximum(np.array(list(runs), dtype=float), least), y, color, markers="both")
