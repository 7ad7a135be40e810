"""Maps of spectra by step, and the delay between two curves."""

import numpy as np

from dyntoolkit.engine.history import Array, History
from dyntoolkit.engine.loop import geometrically
from dyntoolkit.figure.panels import TEST, TRAIN, Heat, Level


def map_by_step(history: History, name: str, frames: int, rows: Array, label: str, high: float) -> Heat:
    """A quantity (T, R, len(rows)) of the first run by step, the future empty; colours from 0 to `high`.

    frames: points of the geometric grid of steps that the run records.
    """
    grid = np.array(geometrically(history.config.steps, frames)[1:], dtype=np.float64)
    z = np.full((len(rows), len(grid)), np.nan)
    if name in history:
        past = history[name][1:, 0]  # (T, len(rows))
        z[:, : len(past)] = past.T
    return Heat(label, grid, rows, z, 0.0, high)


def delay_marks(t_train: Array, t_test: Array, train: str, test: str) -> list[Level]:
    """Lines at the median times over the runs, (R,) each, with the times and the delay in words.

    A run that is not there yet (NaN) counts as later than all. train, test: what is reached then, as "training < 0.2".
    """
    early, late = _median(t_train), _median(t_test)
    words = f"step {late:,.0f}" if np.isfinite(late) else "not yet"
    if early > 0 and np.isfinite(late):
        words += f", {late / early:,.{0 if late >= 10 * early else 1}f} × as late"
    return [
        Level(f"{train}: " + (f"step {early:,.0f}" if np.isfinite(early) else "not yet"), x=early, color=TRAIN),
        Level(f"{test}: {words}", x=late, color=TEST),
    ]


def _median(times: Array) -> float:
    """The time that half of the runs have reached; NaN if fewer have."""
    reached = np.sort(np.where(np.isnan(times), np.inf, times))
    middle = float(reached[(len(reached) - 1) // 2])
    return middle if np.isfinite(middle) else np.nan
