import io

import numpy as np
import pytest
from PIL import Image

from dyntoolkit.figure.panels import BLUE, GREY, RED, Axis, Bars, Border, Heat, Level, Line, Panel, Spans, median_line
from dyntoolkit.figure.still import _edges, _plain, card_png, still_png

X = np.arange(1.0, 6.0)


def pixels(panels: list[Panel]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(still_png(panels))).convert("RGB"))


def has_color(image: np.ndarray, color: str) -> bool:
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(image.astype(int) - wanted).sum(-1) < 12).any())


def test_every_mark_is_drawn_in_its_colour():
    marks = {
        BLUE: Line("loss", X, X**2, BLUE),
        GREY: Level("limit", y=2.0),
        "#D55E00": Bars("base", ["a", "b"], np.array([1.0, 2.0]), "#D55E00"),
    }
    for color, mark in marks.items():
        assert color == GREY or not has_color(pixels([Panel("t", Axis("x"), Axis("y"))]), color)
        assert has_color(pixels([Panel("t", Axis("x"), Axis("y"), [mark])]), color)


def test_a_border_crosses_its_map():
    heat = Heat("w", ["a", "b", "c"], ["1", "2"], np.zeros((2, 3)))
    border = Border("half", np.array([np.nan, 0.0, 2.0]), np.array([np.nan, 0.5, 0.5]))
    without, over = (pixels([Panel("t", Axis("x"), Axis("y"), marks)]) for marks in ([heat], [heat, border]))
    filled = [(np.abs(each.astype(int) - [0x21, 0x91, 0x8C]).sum(-1) < 12).sum(0) for each in (without, over)]
    crossed = (filled[1] < filled[0]).sum()  # columns in which the line hides some of the map
    assert crossed > 0.6 * (filled[0] > 0).sum()  # from the middle of the first cell to that of the last


def test_two_columns_and_as_many_rows_as_needed():
    panel = Panel("t", Axis("x"), Axis("y", log=True), [median_line("w", X, np.outer(X, [1, 2, 3]), BLUE)])
    one, three = pixels([panel]), pixels([panel] * 3)
    assert three.shape[1] == 2 * one.shape[1]
    assert three.shape[0] > 1.8 * one.shape[0]


def test_a_card_is_one_panel_of_its_size_and_few_bytes():
    panel = Panel("t", Axis("x"), Axis("y"), [Line("loss", X, X**2, BLUE)])
    image = Image.open(io.BytesIO(card_png(panel)))
    assert image.size == (480, 300)
    assert has_color(np.asarray(image.convert("RGB")), BLUE)
    assert len(card_png(panel)) < 25_000


def test_on_a_card_no_bar_lies_under_the_legend():
    def blue_rows(*names: str) -> np.ndarray:
        bars = [Bars(name, list("abcdef"), np.ones(6), BLUE) for name in names]
        picture = Image.open(io.BytesIO(card_png(Panel("t", Axis("x"), Axis("y"), bars)))).convert("RGB")
        blue = np.abs(np.asarray(picture).astype(int) - [0x00, 0x72, 0xB2]).sum(-1) < 12
        return blue.sum(1)

    rows = blue_rows("of everything", "of nothing")
    bars = rows[rows > rows.max() / 2]
    assert bars.min() > 0.95 * bars.max()  # each row of pixels crosses all bars


def test_a_map_has_its_colour_range():
    panel = Panel("t", Axis("x"), Axis("y"), [Heat("z", X, X, np.full((5, 5), 1.0), low=0, high=1)])
    assert has_color(pixels([panel]), "#FDE725")  # the top of viridis


def test_the_cells_of_a_map_meet_halfway_on_their_axis():
    assert _edges(np.array([1.0, 2.0, 4.0]), log=False).tolist() == [0.5, 1.5, 3.0, 5.0]
    assert _edges(np.array([1.0, 4.0, 16.0]), log=True) == pytest.approx([0.5, 2, 8, 32])
    assert _edges(np.array([3.0]), log=False).tolist() == [2.5, 3.5]
    assert _edges(["a", "b"], log=False).tolist() == [-0.5, 0.5, 1.5]


def test_stretches_are_shaded_where_they_are():
    axes = Axis("x", range=(0, 10)), Axis("y", range=(0, 1))
    shades = [Spans("stage", np.array([0.0, 4.0]), np.array([1.0, 6.0]), RED), Spans("none", X[:0], X[:0], BLUE)]
    bare, shaded = pixels([Panel("t", *axes)]), pixels([Panel("t", *axes, shades)])
    changed = (np.abs(bare.astype(int) - shaded).max(2) > 20).mean(0) > 0.6  # columns of pixels
    assert np.abs(np.diff(changed.astype(int))).sum() == 4
    assert 0.2 < changed.mean() < 0.4


def test_a_note_is_written():
    assert (
        pixels([Panel("t", Axis("x"), Axis("y"), note="Nothing.")]) != pixels([Panel("t", Axis("x"), Axis("y"))])
    ).any()


def test_html_in_labels_becomes_plain_text():
    assert _plain("10<sup>-2</sup> |W|<sub>2</sub> <i>x</i>") == "10⁻² |W|₂ x"


def test_a_growing_history_with_nan_is_drawn():
    assert (
        still_png([Panel("t", Axis("x"), Axis("y", log=True), [Line("a", X, np.full(5, np.nan), BLUE)])])[:4]
        == b"\x89PNG"
    )


def test_colour_scales_are_named_as_plotly_names_them():
    for colors in ("Viridis", "RdBu", "Greys"):
        assert pixels([Panel("t", Axis("x"), Axis("y"), [Heat("z", X, X, np.eye(5), colors=colors)])]).size > 0


def test_points_are_not_joined():
    x = np.array([0.0, 1.0])
    inked = {
        markers: (pixels([Panel("t", Axis("x"), Axis("y"), [Line("", x, x, RED, markers=markers)])]) < 200).sum()
        for markers in ("points", "both")
    }
    assert inked["points"] < inked["both"]
