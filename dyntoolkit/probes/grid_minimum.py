"""Where between the points of a grid a curve has its minimum."""

import numpy as np

Array = np.ndarray


def grid_minimum(values: Array) -> Array:
    """The place of the smallest value, counted in points from 0 and between them: (..., G) -> (...), G >= 3.

    It is the vertex of the parabola through the smallest value and its two neighbours; at an end of the grid, that end.
    values: finite.
    """
    k = values.argmin(-1)  # (...)
    inner = np.clip(k, 1, values.shape[-1] - 2)
    before, at, after = (np.take_along_axis(values, (inner + i)[..., None], -1)[..., 0] for i in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=bend > 0)
    return np.asarray(np.where(k == inner, inner + shift, k))
