"""When a recorded quantity first passes a level, and delays as ratios of such times."""

import numpy as np

from dyntoolkit.engine.history import Array


def first_above(steps: Array, values: Array, level: float) -> Array:
    """The first of the recorded steps (T,) at which values (T, R) exceed `level`, (R,) float64; NaN for never.

    Strict, without smoothing or interpolation, and the values need not stay there.
    """
    if not len(steps):
        return np.full(values.shape[1], np.nan)
    above = values > level  # (T, R)
    return np.where(above.any(0), np.asarray(steps, dtype=np.float64)[above.argmax(0)], np.nan)


def first_below(steps: Array, values: Array, level: float) -> Array:
    """As `first_above`, for values that fall below `level`."""
    return first_above(steps, -values, -level)


def delay(late: Array, early: Array) -> Array:
    """The ratio of two times, (R,); NaN where one is never, or the second is step 0."""
    return np.asarray(np.divide(late, early, out=np.full(len(late), np.nan), where=early > 0))


def value_at(steps: Array, values: Array, times: Array) -> Array:
    """values (T, R) at each run's own recorded step `times` (R,); NaN where that is never."""
    known = np.isfinite(times)
    rows = np.searchsorted(steps, np.where(known, times, steps[0]))  # (R,)
    return np.where(known, np.take_along_axis(values, rows[None], 0)[0], np.nan)
