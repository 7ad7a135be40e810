"""Recorded quantities by step, ready to be drawn; also those of which nothing is known yet."""

import numpy as np

from dyntoolkit.engine.history import Array, History
from dyntoolkit.figure.panels import MEASURED, Axis, Line, Panel, median_line


def log_steps(history: History) -> Axis:
    """The logarithmic axis of a run's steps, from step 1 on: it has no place for step 0."""
    return Axis("step", log=True, range=(1, history.config.steps))


def recorded(history: History, name: str, start: int = 0) -> tuple[Array, Array]:
    """Steps (T,) from `start` on and values (T, R, ...) there of a recorded quantity; (0,) and (0, R) before it is."""
    if name not in history:
        return np.empty(0), np.empty((0, len(history.seeds)))
    steps = history.at(name)
    first = int(np.searchsorted(steps, start))
    return steps[first:], history[name][first:]


def newest(history: History, name: str, *shape: int) -> Array:
    """The newest value of a recorded quantity, (R, *shape); NaN before it is measured."""
    return history.last(name) if name in history else np.full((len(history.seeds), *shape), np.nan)


def healthy(history: History, name: str) -> tuple[Array, Array]:
    """As `recorded`, with NaN after the step at which a run diverged: what a frozen run repeats means nothing."""
    steps, values = recorded(history, name)
    lost = (history.diverged >= 0) & (steps[:, None] > history.diverged)  # (T, R)
    return steps, np.where(lost.reshape(lost.shape + (1,) * (values.ndim - 2)), np.nan, values)


def recorded_line(
    history: History, name: str, label: str, color: str, *, start: int = 0, column: int | None = None, markers: str = ""
) -> Line:
    """The median over the runs with a band from the smallest to the largest; of (T, R, k) values one `column`."""
    steps, values = recorded(history, name, start)
    if column is not None and values.ndim > 2:
        values = values[:, :, column]
    return median_line(label, steps, values, color, markers=markers)


def recorded_panels(history: History) -> list[Panel]:
    """A panel for every recorded quantity that is one number per run: its course, with a band over several runs."""
    panels = []
    for name in history.names():
        if np.ndim(history.last(name)) == 1:
            values = history[name].astype(np.float64)  # (T, R)
            line = median_line("measured", history.at(name), values, MEASURED)
            panels.append(Panel(name.replace("_", " "), Axis("step"), Axis(name, log=is_logarithmic(values)), [line]))
    return panels


def is_logarithmic(values: Array) -> bool:
    """Whether an axis for these values is to be: all are positive and span more than two powers of ten."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() > 100 * known.min())
