"""What an experiment's theory says of its metrics along one setting, and where its borders cross a map of two."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator

from dyntoolkit.engine.history import Array
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.record import Theory
from dyntoolkit.figure.panels import GREY, Border, Line

POINTS = 101  # of a curve
SIDE = 33  # places along each side of a map at which a border is asked for


def theory_lines(experiment: Experiment, config: Config, field: str, values: Sequence[Any], metric: str) -> list[Line]:
    """What theory says of a metric along a number field, densely from the first of these values to the last.

    config: all other settings. values: ascending. [] where it says nothing.
    """
    theory = experiment.predictions.get(metric)
    if theory is None:
        return []
    _, x = _between(config, field, values, POINTS)
    y = np.array([_value(theory, config, {field: each}) for each in x])
    return [Line("theory", np.array(x, dtype=np.float64), y, GREY, dash=True)] if np.isfinite(y).any() else []


def border_lines(
    experiment: Experiment, config: Config, x: str, y: str, xs: Sequence[Any], ys: Sequence[Any]
) -> list[Border]:
    """The borders that cross the map of the number fields x and y at the values xs and ys, each with all its parts."""
    if not experiment.borders or min(len(xs), len(ys)) < 2:
        return []
    columns, rows = _between(config, x, xs, SIDE), _between(config, y, ys, SIDE)
    lines = []
    for name, side in experiment.borders.items():
        z = [[_value(side, config, {x: across, y: up}) for across in columns[1]] for up in rows[1]]
        parts = contour_generator(columns[0], rows[0], np.ma.masked_invalid(z)).lines(0.0)
        if parts:
            gap = np.full((1, 2), np.nan)
            whole = np.concatenate([piece for part in parts for piece in (gap, part)])  # (N, 2)
            lines.append(Border(name, whole[:, 0], whole[:, 1]))
    return lines


def _between(config: Config, field: str, values: Sequence[Any], count: int) -> tuple[Array, list[Any]]:
    """Up to `count` places among these values, counted from 0, and the field's value at each: spaced as its slider is.

    Between whole numbers there are only whole numbers.
    """
    slider, found, known = config.sliders()[field], np.asarray(values, dtype=np.float64), np.arange(len(values))
    at = np.linspace(0, len(values) - 1, count)
    if slider.near_one:
        return at, (1 - np.exp(np.interp(at, known, np.log(1 - found)))).tolist()
    log = slider.log and found.min() > 0
    between = np.exp(np.interp(at, known, np.log(found))) if log else np.interp(at, known, found)
    if not isinstance(getattr(config, field), int):
        return at, between.tolist()
    whole = np.unique(between.round())
    places = np.interp(np.log(whole), np.log(found), known) if log else np.interp(whole, found, known)
    return np.asarray(places), [int(each) for each in whole]


def _value(theory: Theory, config: Config, changes: dict[str, Any]) -> float:
    """What theory says at these settings; NaN where they are refused."""
    try:
        return float(theory(config.replace(**changes)))
    except InputError:
        return float("nan")
