"""Pinned curves lie behind the new ones."""

import numpy as np

from dyntoolkit.dashboard.pin import behind
from dyntoolkit.figure.panels import BLUE, GREY, Axis, Level, Line, Panel

X = np.arange(3.0)


def panel(title, *marks):
    return Panel(title, Axis("x"), Axis("y"), list(marks))


def test_measured_curves_of_the_same_panel_are_kept_thin_and_grey():
    curve = Line("loss", X, X, BLUE, low=X - 1, high=X + 1)
    theory = Line("flow", X, X, GREY, dash=True)
    old = [panel("A", curve, theory, Level("end", y=0)), panel("gone", curve)]
    new = [panel("A", Line("loss", X, 2 * X, BLUE)), panel("B", curve)]
    first, second = behind(new, old)
    pinned, own = first.marks
    assert (pinned.name, pinned.color, pinned.width, pinned.low) == ("pinned", GREY, 1.0, None)
    assert pinned.y is curve.y
    assert own is new[0].marks[0]
    assert second.marks == new[1].marks


def test_the_legend_names_them_once():
    curves = [Line(name, X, X, BLUE) for name in ("a", "b", "c")]
    (shown,) = behind([panel("A")], [panel("A", *curves)])
    assert [mark.legend for mark in shown.marks] == [True, False, False]


def test_nothing_pinned_changes_nothing():
    shown = [panel("A", Line("loss", X, X, BLUE))]
    assert behind(shown, []) == shown
