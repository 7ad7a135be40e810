"""A long curve keeps its ends, its extremes and its gaps."""

from dataclasses import replace

import numpy as np

from dyntoolkit.figure.panels import BLUE, Line
from dyntoolkit.figure.thinned import STRETCHES, thinned, thinned_as

X = np.arange(5003.0)


def test_the_extremes_the_ends_and_the_gaps_are_kept():
    y = np.sin(X / 300)
    y[1234], y[4321], y[2000:2100] = 9, -9, np.nan
    line = thinned(Line("loss", X, y, BLUE, low=y, high=y))
    assert len(line.x) <= 2 * STRETCHES + 1
    assert (line.x[0], line.x[-1]) == (0, 5002)
    assert (np.diff(line.x) > 0).all()
    assert {9, -9} <= set(line.y)
    assert np.isnan(line.y).any()
    assert (line.low, line.high, line.name) == (None, None, "loss")


def test_each_point_is_one_of_the_curve():
    y = np.random.default_rng(0).normal(size=len(X))
    line = thinned(Line("loss", X, y, BLUE))
    np.testing.assert_array_equal(line.y, y[line.x.astype(int)])


def test_a_short_curve_stays_as_it_is():
    line = Line("loss", X[:900], X[:900], BLUE)
    assert thinned(line) is line


def test_the_beginning_of_a_curve_is_the_beginning_of_the_thinned_curve():
    x = np.arange(5000.0)
    whole = Line("loss", x, np.sin(x / 30) + np.cos(x), "#0072B2")
    beginning = thinned_as(replace(whole, x=whole.x[:1700], y=whole.y[:1700]), whole)
    shown = thinned(whole)
    assert len(beginning.x) > 100
    assert (beginning.x == shown.x[: len(beginning.x)]).all()
    assert (beginning.y == shown.y[: len(beginning.y)]).all()
    assert shown.x[len(beginning.x)] >= 1700


def test_a_curve_that_is_no_beginning_is_thinned_by_itself():
    x = np.arange(5000.0)
    whole = Line("loss", x, np.sin(x / 30), "#0072B2")
    other = replace(whole, y=np.cos(x / 30))
    assert (thinned_as(other, whole).y == thinned(other).y).all()
    short = replace(other, x=x[:10], y=other.y[:10])
    assert len(thinned_as(replace(whole, x=x[:1], y=whole.y[:1]), whole).x) == 1
    assert thinned_as(short, whole) is short
