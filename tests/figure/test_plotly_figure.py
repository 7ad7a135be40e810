import numpy as np
import plotly.graph_objects as go
import pytest

from dyntoolkit.figure.panels import (
    BLUE,
    GREY,
    ORANGE,
    Axis,
    Bars,
    Border,
    Heat,
    Level,
    Line,
    Panel,
    Spans,
    median_line,
)
from dyntoolkit.figure.plotly_figure import describe, panel_to_dict, plotly_figure

X = np.arange(1.0, 6.0)
RUNS = np.outer(X, [1.0, 2.0, 3.0])
LOSS = Panel(
    "Loss",
    Axis("step"),
    Axis("loss", log=True, range=(1e-3, 10)),
    [
        Line("theory", X, X, GREY, dash=True),
        median_line("train", X, RUNS, BLUE),
        Line("one of many", X, X, ORANGE, legend=False),
        Level("floor", y=0.5),
        Level("switch", x=3.0),
    ],
)
NORMS = Panel("Norms", Axis("layer"), Axis("norm"), [Bars("before", ["1", "2"], X[:2], BLUE)])
MAP = Panel("Map", Axis("i"), Axis("j"), [Heat("w", X, X[:3], np.outer(X[:3], X), low=0, colors="RdBu")])
POINTS = Panel("Points", Axis("x", log=True), Axis("y"), [Line("p", X, X, BLUE, markers="points")])
STAGES = Panel("Stages", Axis("x"), Axis("y", log=True, range=(0.1, 10)), [Spans("late", X[:2], X[:2] + 0.5, BLUE)])
NOTE = Panel("Note", Axis("x"), Axis("y"), note="Nothing happened.")
ALL = [LOSS, NORMS, MAP, POINTS, STAGES, NOTE]


@pytest.mark.parametrize("panel", ALL, ids=lambda panel: panel.title)
def test_plotly_accepts_every_panel(panel):
    figure = panel_to_dict(panel)
    assert len(go.Figure(figure).data) == len(figure["data"])


def test_bands_lie_under_the_lines_and_theory_on_top_in_the_order_of_the_legend():
    data = panel_to_dict(LOSS)["data"]
    assert [(trace["name"], "fill" in trace) for trace in data] == [
        ("train", True),
        ("train", False),
        ("one of many", False),
        ("theory", False),
    ]
    assert data[-1]["line"]["dash"] == "dash"
    named = [trace for trace in data if trace["showlegend"]]
    assert [trace["name"] for trace in sorted(named, key=lambda trace: trace["legendrank"])] == ["theory", "train"]


def test_a_line_that_is_behind_is_drawn_first_and_named_in_its_place():
    marks = [Line("now", X, X, BLUE), Line("before", X, X, BLUE, behind=True)]
    data = panel_to_dict(Panel("t", Axis("x"), Axis("y"), marks))["data"]
    assert [trace["name"] for trace in data] == ["before", "now"]
    assert data[1]["legendrank"] < data[0]["legendrank"]


def test_a_band_is_the_area_between_the_smallest_and_the_largest():
    band = panel_to_dict(LOSS)["data"][0]
    assert band["fill"] == "toself"
    np.testing.assert_array_equal(band["x"], [*X, *X[::-1]])
    np.testing.assert_array_equal(band["y"], [*RUNS.max(1), *RUNS.min(1)[::-1]])


def test_a_band_skips_what_is_unknown_and_what_has_no_logarithm():
    low, high = np.array([np.nan, 0.0, 1.0, 2.0]), np.array([5.0, 5.0, 5.0, np.inf])
    marks = [Line("a", np.arange(4.0), high, BLUE, low=low, high=high)]
    band = panel_to_dict(Panel("t", Axis("x"), Axis("y", log=True), marks))["data"][0]
    np.testing.assert_array_equal(band["x"], [1, 2, 2, 1])
    np.testing.assert_array_equal(band["y"], [5, 5, 1, 1])


def test_a_note_stands_in_the_middle_of_its_panel_and_in_its_description():
    (note,) = panel_to_dict(NOTE)["layout"]["annotations"]
    assert (note["text"], note["xref"], note["yref"]) == ("Nothing happened.", "x domain", "y domain")
    assert describe(NOTE).endswith("Nothing happened.")
    placed = plotly_figure([LOSS, NOTE]).layout.annotations
    assert [(a.text, a.xref) for a in placed if a.text == "Nothing happened."] == [("Nothing happened.", "x2 domain")]
    assert panel_to_dict(LOSS)["layout"]["annotations"] == []


def test_stretches_are_rectangles_as_tall_as_the_panel_with_gaps_between_them():
    (trace,) = panel_to_dict(STAGES)["data"]
    assert trace["fill"] == "toself"
    np.testing.assert_array_equal(trace["x"], [1, 1, 1.5, 1.5, np.nan, 2, 2, 2.5, 2.5, np.nan])
    np.testing.assert_array_equal(trace["y"], [0.1, 10, 10, 0.1, np.nan] * 2)


def test_a_border_is_a_dashed_shape_over_a_light_one_and_once_in_the_legend():
    x = np.array([np.nan, 0.0, 0.5, np.nan, 1.0, 2.0])
    marks = [Heat("w", ["a", "b", "c"], ["1", "2"], np.ones((2, 3))), Border("half", x, x / 2)]
    figure = panel_to_dict(Panel("t", Axis("x"), Axis("y"), marks))
    under, over = figure["layout"]["shapes"]
    assert under["path"] == over["path"] == "M0,0L0.5,0.25M1,0.5L2,1"
    assert (under["line"]["color"], under["showlegend"]) == ("white", False)
    assert (over["line"]["dash"], over["showlegend"], over["xref"]) == ("dash", True, "x")
    assert go.Figure(figure).layout.shapes[1].name == "half"
    assert panel_to_dict(Panel("t", Axis("x"), Axis("y"), [Border("none", x[:1], x[:1])]))["layout"]["shapes"] == []


def test_a_level_spans_the_panel_and_stands_in_the_legend():
    floor, switch = panel_to_dict(LOSS)["layout"]["shapes"]
    assert (floor["xref"], floor["x0"], floor["x1"], floor["y0"]) == ("x domain", 0, 1, 0.5)
    assert (switch["yref"], switch["y0"], switch["y1"], switch["x0"]) == ("y domain", 0, 1, 3.0)
    assert floor["name"] == "floor"
    assert floor["showlegend"]


@pytest.mark.parametrize(("value", "log"), [(0.0, True), (-1.0, True), (np.nan, True), (np.inf, False)])
def test_a_level_that_the_axis_cannot_show_is_left_out(value, log):
    (shape,) = panel_to_dict(Panel("t", Axis("x"), Axis("y", log=log), [Level("l", y=value)]))["layout"]["shapes"]
    assert shape["visible"] is False


def test_a_run_without_data_yet_is_in_the_legend():
    empty = np.zeros(0)
    marks = [median_line("a", empty, np.zeros((0, 3)), BLUE), Line("b", empty, empty, BLUE)]
    for trace in panel_to_dict(Panel("t", Axis("x"), Axis("y"), marks))["data"]:
        assert np.isnan(trace["x"]).all()
        assert len(trace["x"]) == 1


def test_axes_have_their_names_kinds_and_ranges():
    layout = panel_to_dict(LOSS)["layout"]
    assert layout["xaxis"]["title"]["text"] == "step"
    assert (layout["xaxis"]["type"], layout["yaxis"]["type"]) == ("linear", "log")
    np.testing.assert_allclose(layout["yaxis"]["range"], [-3, 1])
    assert panel_to_dict(NORMS)["layout"]["xaxis"]["type"] == "category"  # "1", "2" are names, not numbers


def test_a_map_has_a_named_colour_bar_and_its_range():
    (heat,) = panel_to_dict(MAP)["data"]
    assert heat["colorbar"]["title"]["text"] == "w"
    assert heat["zmin"] == 0
    assert "zmax" not in heat
    assert heat["colorscale"][0][1] == "rgb(103,0,31)"  # as in matplotlib: low is red


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_whole_figure_gives_each_panel_its_place_axes_and_legend(count):
    figure = plotly_figure(ALL[:count])
    domains = set()
    for k in range(1, count + 1):
        number = "" if k == 1 else str(k)
        x, y = figure.layout[f"xaxis{number}"], figure.layout[f"yaxis{number}"]
        assert (x.anchor, y.anchor) == (f"y{number}", f"x{number}")
        domains.add((x.domain, y.domain))
        assert figure.layout[f"legend{number}"].y == y.domain[1]
    assert len(domains) == count
    assert [note.text for note in figure.layout.annotations] == [f"<b>{panel.title}</b>" for panel in ALL[:count]]
    assert all(0 <= end <= 1 for pair in domains for domain in pair for end in domain)


def test_marks_of_a_whole_figure_go_to_their_own_panel():
    figure = plotly_figure([NORMS, LOSS])
    assert {(trace.xaxis, trace.legend) for trace in figure.data} == {("x", "legend"), ("x2", "legend2")}
    assert [(shape.xref, shape.yref) for shape in figure.layout.shapes] == [("x2 domain", "y2"), ("x2", "y2 domain")]


def test_a_figure_in_words_names_axes_and_curves_without_tags():
    panel = Panel("Norm of W<sub>1</sub>", Axis("step"), Axis("norm", log=True), LOSS.marks)
    assert describe(panel) == ("Norm of W1. norm (logarithmic) against step. Shown: theory, train, floor, switch.")


def test_what_is_too_long_for_a_small_panel_has_several_lines():
    label, note = "change of the tangent kernel", "The spectrum of functions of one input."
    layout = panel_to_dict(Panel("t", Axis(label), Axis(label), note=note))["layout"]
    assert layout["xaxis"]["title"]["text"] == label
    assert layout["yaxis"]["title"]["text"] == "change of the tangent<br>kernel"
    assert layout["annotations"][0]["text"] == "The spectrum of functions of<br>one input."
    short = "&lt;b&gt;<i>x</i><sub>1</sub>"
    assert panel_to_dict(Panel("t", Axis("x"), Axis(short)))["layout"]["yaxis"]["title"]["text"] == short
