"""When a recorded quantity first passes a level, what another one is then, and delays as ratios of such times.

Strict, without smoothing or interpolation, and the quantity need not stay there. Recorded steps (T,), values (T, R).
"""

import numpy as np

Array = np.ndarray


def first_value(values: Array, reached: Array) -> Array:
    """values (T, R) at the first row where reached (T, R) is true, (R,); NaN for never."""
    if not len(reached):
        return np.full(reached.shape[1], np.nan)
    rows = reached.argmax(0)  # (R,)
    return np.where(reached.any(0), np.take_along_axis(values, rows[None], 0)[0], np.nan)


def first_step(steps: Array, reached: Array) -> Array:
    """The first of the steps (T,) at which reached (T, R) is true, (R,) float64; NaN for never."""
    return first_value(np.broadcast_to(np.asarray(steps, dtype=np.float64)[:, None], reached.shape), reached)


def first_above(steps: Array, values: Array, level: float) -> Array:
    """The first of the steps (T,) at which values (T, R) exceed `level`, (R,); NaN for never."""
    return first_step(steps, values > level)


def first_below(steps: Array, values: Array, level: float) -> Array:
    """As `first_above`, for values that fall below `level`."""
    return first_step(steps, values < level)


def delay(late: Array, early: Array) -> Array:
    """The ratio of two times, (R,); NaN where one is never, or the second is step 0."""
    return np.asarray(np.divide(late, early, out=np.full(len(late), np.nan), where=early > 0))


def value_at(steps: Array, values: Array, times: Array) -> Array:
    """values (T, R) at each run's own recorded step `times` (R,); NaN where that is never."""
    known = np.isfinite(times)
    rows = np.searchsorted(steps, np.where(known, times, steps[0]))  # (R,)
    return np.where(known, np.take_along_axis(values, rows[None], 0)[0], np.nan)
