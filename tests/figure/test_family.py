"""A family of curves: which curves it has, their colours, and its axes."""

import numpy as np

from dyntoolkit.figure.family import family, sequential
from dyntoolkit.figure.panels import BLUE, FAMILY, GREY, Axis, Heat, Level, Line, Panel

X = np.arange(3.0)


def curve(name, y=X, **more):
    return Line(name, X, y, BLUE, **more)


STEP, LOSS = Axis("step"), Axis("loss")


def panel(*marks, title="Loss", x=STEP, y=LOSS):
    return Panel(title, x, y, list(marks))


def test_each_measured_curve_has_a_panel_with_that_of_each_member():
    members = {
        name: [panel(curve("train", k * X, low=X, high=X), curve("test", -k * X), Level("end", y=0))]
        for k, name in enumerate(("0.1", "0.2", "0.4"))
    }
    train, test = family(members)
    assert (train.title, test.title) == ("Loss: train", "Loss: test")
    assert [line.name for line in train.marks] == ["0.1", "0.2", "0.4"]
    assert [line.y[-1] for line in test.marks] == [0, -2, -4]
    assert [line.color for line in train.marks] == sequential(3)
    assert all(line.low is None for line in train.marks)


def test_a_panel_with_one_curve_keeps_its_title():
    (shown,) = family({"1": [panel(curve("loss"))], "2": [panel(curve("loss"))]})
    assert shown.title == "Loss"


def test_long_curves_are_thinned():
    long = Line("loss", np.arange(5000.0), np.zeros(5000), BLUE)
    (shown,) = family({"1": [panel(long)]})
    assert len(shown.marks[0].x) < 1000


def test_theory_and_what_the_legend_leaves_out_are_not_shown():
    marks = curve("w"), curve("flow", dash=True), curve("w", legend=False)
    (shown,) = family({"1": [panel(*marks)]})
    assert shown.title == "Loss"
    assert len(shown.marks) == 1


def test_points_are_shown_only_where_there_is_no_curve():
    events, points = curve("alarm", markers="points"), panel(curve("p", markers="points"), title="Points")
    first, second = family({"1": [panel(curve("loss"), events), points]})
    assert [mark.name for mark in first.marks] == ["1"]
    assert (second.title, second.marks[0].markers) == ("Points", "points")


def test_panels_without_curves_are_left_out():
    heat = panel(Heat("w", X, X, np.outer(X, X)), title="Map")
    assert family({"1": [heat], "2": [heat]}) == []
    assert family({}) == []


def test_a_member_may_lack_a_panel():
    (shown, extra) = family({"1": [panel(curve("loss"))], "2": [panel(curve("loss")), panel(curve("a"), title="More")]})
    assert [line.name for line in shown.marks] == ["1", "2"]
    assert [line.name for line in extra.marks] == ["2"]
    assert extra.marks[0].color == shown.marks[1].color


def test_axes_suit_all_members():
    short = panel(curve("loss"), x=Axis("step", range=(1, 10)), y=Axis("loss", log=True))
    long = panel(curve("loss"), x=Axis("step", range=(0, 20)), y=Axis("loss"))
    (shown,) = family({"1": [short], "2": [long]})
    assert shown.x == Axis("step", range=(0, 20))
    assert not shown.y.log
    (shown,) = family({"1": [short], "2": [short]})
    assert shown.y.log


def test_colours_go_from_the_first_to_the_last_in_order():
    assert sequential(5) == list(FAMILY)
    assert len(set(sequential(16))) == 16
    assert sequential(1) == [FAMILY[0]]
    assert GREY not in sequential(16)
