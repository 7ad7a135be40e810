"""A long curve with few points that looks the same."""

from dataclasses import replace

import numpy as np

from dyntoolkit.figure.panels import Line

STRETCHES = 250  # of a curve that is thinned


def thinned(line: Line) -> Line:
    """A long curve by the lowest and the highest point of every stretch: what a small panel can show of it.

    Its band, if it has one, is left out.

    >>> len(thinned(Line("loss", np.arange(5000), np.zeros(5000), "#0072B2")).x) < 1000
    True
    """
    if len(line.x) <= 4 * STRETCHES:
        return line
    kept = _extremes(line)
    return replace(line, x=np.asarray(line.x)[kept], y=np.asarray(line.y)[kept], low=None, high=None)


def thinned_as(line: Line, whole: Line) -> Line:
    """A curve by those of its points that are left of the thinned `whole`, of which it is the beginning.

    So it is the beginning of the thinned one, too. Any other curve is thinned by itself.
    """
    count = len(line.x)
    is_start = all(
        np.array_equal(part, np.asarray(all_of_it)[:count], equal_nan=True)
        for part, all_of_it in ((line.x, whole.x), (line.y, whole.y))
    )
    if len(whole.x) <= 4 * STRETCHES or not 0 < count <= len(whole.x) or not is_start:
        return thinned(line)
    kept = _extremes(whole)
    kept = kept[kept < count] if kept[0] < count else np.array([count - 1])
    return replace(line, x=np.asarray(line.x)[kept], y=np.asarray(line.y)[kept], low=None, high=None)


def _extremes(line: Line) -> np.ndarray:
    """Which points of a long curve are left when it is thinned, ascending."""
    ends = np.linspace(0, len(line.x), STRETCHES + 1).astype(int)
    starts, lengths = ends[:-1, None], np.diff(ends)[:, None]
    at = np.minimum(np.arange(lengths.max()), lengths - 1) + starts  # (stretches, points)
    y = np.asarray(line.y, dtype=np.float64)[at]
    extremes = [np.where(np.isnan(y), fill, y) for fill in (np.inf, -np.inf)]
    chosen = np.sort([extremes[0].argmin(axis=1), extremes[1].argmax(axis=1)], axis=0).T + starts
    return np.unique([*chosen.ravel(), len(line.x) - 1])
