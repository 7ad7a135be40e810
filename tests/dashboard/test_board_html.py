"""Figures on a page of their own; tests/browser/test_take_away.py opens one in a browser."""

import base64
import json
import re

import numpy as np

from dyntoolkit import plotly_js
from dyntoolkit.dashboard.board_html import board_html, script_json, stored_frame
from dyntoolkit.figure.panels import BLUE, Axis, Level, Line, Panel

X = np.arange(3.0)
PANEL = Panel("Loss", Axis("step"), Axis("loss"), [Line("measured", X, X**2, BLUE), Level("floor", y=0.5)])


def held(page, name):
    (text,) = re.findall(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    return text


def test_a_page_holds_its_frame_and_plotly_js():
    page = board_html([PANEL], "A <b>title</b>", "What is seen & why")
    assert base64.b64decode(held(page, "dyntoolkit-plotly")) == plotly_js.gzipped()
    assert json.loads(held(page, "frame")) == stored_frame([PANEL])
    assert "<h1>A &lt;b&gt;title&lt;/b&gt;</h1>" in page
    assert "What is seen &amp; why" in page
    assert not re.findall(r"<(?:script|link|img)[^>]* (?:src|href)=", page)


def test_a_frame_holds_the_numbers_of_the_panels():
    frame = stored_frame([PANEL])
    numbers = np.frombuffer(base64.b64decode(frame["numbers"]), "<f4")
    assert sorted(numbers.tolist()) == sorted([*X.tolist(), *(X**2).tolist(), 0.5, 0.5])
    assert sum(int(np.prod(size)) for size in frame["sizes"]) == len(numbers)


def test_nothing_in_a_page_ends_a_script_too_early():
    page = board_html([Panel("</script><script>alert(1)</script>", Axis("x"), Axis("y"))], "Title")
    assert "</script><script>alert" not in page
    assert json.loads(script_json(["</script>", 1.5])) == ["</script>", 1.5]
