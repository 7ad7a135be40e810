"""Recorded quantities by step, ready to be drawn; also those of which nothing is known yet."""

import numpy as np

from dyntoolkit.claims import Array
from dyntoolkit.engine.history import History
from dyntoolkit.panels import Axis, Line, median_line


def log_steps(history: History) -> Axis:
    """The logarithmic axis of a run's steps, from step 1 on: it has no place for step 0."""
    return Axis("step", log=True, range=(1, history.config.steps))


def course(history: History, name: str, start: int = 0) -> tuple[Array, Array]:
    """Steps (T,) from `start` on and values (T, R, ...) there of a recorded quantity; (0,) and (0, R) before it is."""
    if name not in history:
        return np.empty(0), np.empty((0, len(history.seeds)))
    steps = history.at(name)
    first = int(np.searchsorted(steps, start))
    return steps[first:], history[name][first:]


def course_line(
    history: History, name: str, label: str, color: str, *, start: int = 0, column: int | None = None, markers: str = ""
) -> Line:
    """The median over the runs with a band from the smallest to the largest; of (T, R, k) values one `column`."""
    steps, values = course(history, name, start)
    if column is not None and values.ndim > 2:
        values = values[:, :, column]
    return median_line(label, steps, values, color, markers=markers)
