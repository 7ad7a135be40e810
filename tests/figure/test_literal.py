import numpy as np
import pytest

from dyntoolkit.figure.literal import literal
from dyntoolkit.figure.panels import BLUE, Axis, Bars, Line, Panel
from dyntoolkit.figure.plotly_figure import describe
from dyntoolkit.figure.still import _label, _plain, still_png

NASTY = ["<b>price</b>", "<sub>", "a < b & c", "$x^2$", "5 $", "&lt;b&gt;", "x<sub>1</sub>", r"\$", "<br>", "_hidden"]


@pytest.mark.parametrize("name", NASTY)
def test_a_name_comes_out_as_it_went_in(name):
    text = literal(name)
    assert not set("<>$") & set(text)
    assert _plain(text).replace(r"\$", "$") == name
    assert _label(text).replace(r"\$", "$").removeprefix(" ") == name
    panel = Panel(text, Axis("x"), Axis("y"), [Line(text, [], [], BLUE)])
    assert describe(panel) == f"{name}. y against x. Shown: {name}."


def test_a_long_name_is_cut_before_it_is_written():
    assert literal("<" * 100) == "&lt;" * 29 + "…"


def test_what_is_no_formula_is_drawn():
    name = literal(r"$\oops{$")
    bars = Bars(name, [name], np.ones(1), BLUE)
    assert still_png([Panel(name, Axis(name), Axis(name), [bars], note=name)], r"target $\oops{$")
