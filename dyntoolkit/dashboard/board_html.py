"""The Board on a page without a kernel or a server: its script, its frames, and a whole page with one figure."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dyntoolkit import plotly_js
from dyntoolkit.dashboard.board import pack
from dyntoolkit.figure.panels import Panel
from dyntoolkit.figure.plotly_figure import CONFIG

HERE = Path(__file__).parent
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
)


def board_html(panels: Sequence[Panel], title: str, caption: str = "", head: str = "") -> str:
    """A page that shows the panels as a dashboard does; it needs no other file and no other host (about 2 MB).

    title, caption: text above the figure. head: HTML for the page's head.

    >>> "https://cdn" in board_html([], "Nothing")
    False
    """
    return TEMPLATES.get_template("figure.html").render(
        title=title,
        caption=caption,
        head=Markup(head),
        style=Markup(board_style()),
        script=Markup(board_script()),
        frame=Markup(script_json(stored_frame(panels))),
        plotly=base64.b64encode(plotly_js.gzipped()).decode(),
    )


def board_script() -> str:
    """JavaScript for a classic script: `show = dyntoolkitBoard(element, label)`, then `show(frame)` as often as wanted.

    plotly.js is the page's matter: a script that defines `Plotly`, or an element "dyntoolkit-plotly" that holds
    `plotly_js.gzipped()` in base64.
    """
    board = (HERE / "board.js").read_text(encoding="utf-8").replace("export default { render };", "")
    stored = (HERE / "stored_board.js").read_text(encoding="utf-8").replace("export default function", "function")
    begin = "globalThis.dyntoolkitBoard = (el, label) => storedBoard(render, el, label);"
    return f"(() => {{\n{board}\n{stored}\n{begin}\n}})();"


def board_style() -> str:
    """The style sheet of such a page: the Board's, and its colours, light or dark as the reader's screen is."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "board.css"))


def stored_frame(panels: Sequence[Panel]) -> dict[str, Any]:
    """What `show` draws, as plain data: the figure's structure, and its numbers as float32 in base64."""
    template, sizes, numbers = pack(list(panels))
    encoded = base64.b64encode(numbers.astype("<f4").tobytes()).decode()
    return {"step": 0, "panels": template, "config": CONFIG, "sizes": sizes, "numbers": encoded}


def script_json(value: Any) -> str:
    """A value as JSON that may stand within a <script> element: it holds no "<"."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
