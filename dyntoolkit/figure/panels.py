"""What a figure shows, as plain data: panels of lines, bars, bands and maps. Renderers draw it (plotly, matplotlib).

A phenomenon describes its figure once, as a function of the history; the live Board, the interactive plotly figure and
the static picture in a stored notebook all draw that description, with one palette for the whole house.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray

# Okabe and Ito's colour-blind-safe palette. One thing has one colour in every notebook.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY = "#8A8A8A"  # theory and reference lines: readable on white and on black
LAYER1, LAYER2 = BLUE, ORANGE  # weights of the first and the second layer
TRAIN, TEST = BLUE, RED  # loss or accuracy on training and on test data
MEASURED, BASELINE = BLUE, ORANGE  # a measured quantity and what it must be compared with
KERNEL, ALIGNMENT = PURPLE, GREEN  # change of the tangent kernel; alignment with the truth
# Lighter ones for pinned runs, of Tol's light scheme: told apart by the colour-blind, and seen on white and on black.
PINNED = ("#77AADD", "#EE8866", "#44BB99", "#FFAABB", "#AAAA00", "#A6A6A6")
FAMILY = ("#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962")  # the middle of viridis, for values in order
SERIES = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)  # things without a colour of their own, in order


@dataclass(frozen=True)
class Axis:
    """Name with unit, logarithmic or not, and a fixed range (data values) where the data do not set it.

    >>> Axis("loss", log=True)
    Axis(label='loss', log=True, range=None)
    """

    label: str
    log: bool = False
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Line:
    """A curve through (x, y), both (N,). NaN breaks it. dash: theory or reference. low, high (N,): a band around it.

    markers: points only ("points"), points joined by lines ("both"), or a bare line ("").
    legend: False keeps a curve (one of many alike) out of the legend. behind: drawn behind all others, wherever it
    stands among them.

    >>> Line("theory", np.arange(3), np.exp(-np.arange(3)), "#8A8A8A", dash=True).dash
    True
    """

    name: str
    x: Array
    y: Array
    color: str
    dash: bool = False
    markers: str = ""
    low: Array | None = None
    high: Array | None = None
    width: float = 2.0
    legend: bool = True
    behind: bool = False


@dataclass(frozen=True)
class Bars:
    """Bars of heights y (N,) over the category names x, side by side with the panel's other Bars."""

    name: str
    x: Sequence[str]
    y: Array
    color: str


@dataclass(frozen=True)
class Level:
    """A dashed straight line across the panel, at height `y` or at position `x`, with a short label in the legend.

    >>> Level("2 / learning rate", y=20.0).y
    20.0
    """

    name: str
    y: float | None = None
    x: float | None = None
    color: str = GREY


@dataclass(frozen=True)
class Spans:
    """Shaded stretches of the x axis, from low to high (N,), as tall as the panel; its y axis has a fixed range."""

    name: str
    low: Array
    high: Array
    color: str


@dataclass(frozen=True)
class Heat:
    """A map of z (len(y), len(x)) with a named colour bar; low, high: colour range.

    x, y: the cells' centres, or their names (cells of one size, whatever the numbers in the names are).
    """

    name: str
    x: Array | Sequence[str]
    y: Array | Sequence[str]
    z: Array
    low: float | None = None
    high: float | None = None
    colors: str = "Viridis"


@dataclass(frozen=True)
class Border:
    """A dashed line across a map whose cells have names.

    x, y: its places (N,), counted in cells from 0; NaN breaks it.
    """

    name: str
    x: Array
    y: Array


Mark = Line | Bars | Level | Spans | Heat | Border


@dataclass(frozen=True)
class Panel:
    """One subplot: title, axes and marks. The list of marks keeps its length and order while a run goes on.

    note: a sentence in its middle, where there is nothing to draw and the reader wants to know why.

    >>> Panel("Training loss", Axis("step"), Axis("loss", log=True), [Level("noise", y=0.1)]).title
    'Training loss'
    """

    title: str
    x: Axis
    y: Axis
    marks: list[Mark] = field(default_factory=list)
    note: str = ""


def median_line(
    name: str, x: Array, runs: Array, color: str, *, dash: bool = False, markers: str = "", width: float = 2.0
) -> Line:
    """The median over runs (N, R) with a band from the smallest to the largest; a bare line for one run.

    A run that is NaN at a point does not count there; where all are, the line has a gap.

    >>> median_line("loss", np.arange(2), np.array([[1.0, 2.0, 6.0], [0.5, 1.0, 3.0]]), "#0072B2").y
    array([2., 1.])
    """
    if runs.shape[1] == 1:
        return Line(name, x, runs[:, 0], color, dash=dash, markers=markers, width=width)
    low, high = np.fmin.reduce(runs, axis=1), np.fmax.reduce(runs, axis=1)
    return Line(name, x, medians(runs), color, dash, markers, low, high, width)


def positive(values: Array) -> Array:
    """What a logarithmic axis has a place for: the values, of any shape, with NaN for those that are not above 0.

    >>> positive(np.array([2.0, 0.0, -1.0]))
    array([ 2., nan, nan])
    """
    return np.where(values > 0, values, np.nan)


def medians(runs: Array) -> Array:
    """The median over the last axis of what is known, (..., R) -> (...); NaN where nothing is.

    >>> medians(np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]]))
    array([ 2., nan])
    """
    found = np.full(runs.shape[:-1], np.nan, dtype=runs.dtype if runs.dtype.kind == "f" else np.float64)
    known = ~np.isnan(runs).all(axis=-1)  # nanmedian warns about rows without a number
    found[known] = np.nanmedian(runs[known], axis=-1)
    return found
