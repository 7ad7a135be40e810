"""Panels drawn by plotly: one panel as a plain dict for the live Board, and a whole figure for scripts and export."""

import functools
import re
import textwrap
from collections.abc import Sequence
from html import unescape
from typing import Any

import numpy as np

from dyntoolkit.figure.panels import GREY, Array, Axis, Bars, Border, Heat, Level, Line, Mark, Panel, Spans

Dict = dict[str, Any]
GRID = "rgba(128, 128, 128, 0.25)"  # seen on white and on black
CONFIG: Dict = {"displaylogo": False, "displayModeBar": "hover", "responsive": False, "showSendToCloud": False}
CLEAR = "rgba(0, 0, 0, 0)"
ROW = 340  # pixels of a row of panels
UPRIGHT, ACROSS = 22, 30  # characters of a line beside and within the smallest panel
_GAP = np.array([np.nan])  # stands for "no data yet": plotly drops a trace without points from the legend


def panel_to_dict(panel: Panel) -> Dict:
    """One panel as plotly's {"data": [...], "layout": {...}}, in about 0.1 ms and unchecked.

    What changes from frame to frame (arrays, levels, colour ranges) is a numpy value, all the rest is plain Python;
    so the Board can tell the frame's numbers from the figure's structure.
    """
    bands: list[Dict] = []
    behind: list[Dict] = []
    lines: list[Dict] = []
    theory: list[Dict] = []
    shapes: list[Dict] = []
    for rank, mark in enumerate(panel.marks, 1000):  # bands are drawn first and theory last; the legend keeps the order
        match mark:
            case Line():
                if mark.low is not None and mark.high is not None:
                    bands.append(_band(mark, mark.low, mark.high, panel.y.log))
                (theory if mark.dash else behind if mark.behind else lines).append(_line(mark) | {"legendrank": rank})
            case Bars():
                lines.append(_bars(mark) | {"legendrank": rank})
            case Level():
                shapes.append(_level(mark, panel) | {"legendrank": rank})
            case Spans():
                bands.append(_spans(mark, panel.y) | {"legendrank": rank})
            case Heat():
                bands.append(_heat(mark))
            case Border():
                shapes += [shape | {"legendrank": rank} for shape in _border(mark)]
    return {"data": [*bands, *behind, *lines, *theory], "layout": _layout(panel, shapes)}


def plotly_figure(panels: Sequence[Panel]) -> Any:
    """The panels as one plotly.graph_objects.Figure in two columns, with one legend per panel."""
    import plotly.graph_objects as go  # slow to load, and only needed here

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    pixel = 1 / (ROW * rows)  # plotly places by fractions of the whole; space for text is counted in pixels
    margin = {"l": 60, "r": 20, "t": 10, "b": 10}
    layout: Dict = {"height": ROW * rows + 20, "margin": margin, "font": {"size": 12}, "uirevision": "keep"}
    layout |= {"paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR, "barmode": "group", "shapes": [], "annotations": []}
    data: list[Dict] = []
    for k, panel in enumerate(panels):
        row, column = divmod(k, columns)
        left, top = column * 0.545, 1 - row / rows
        colorbar = any(isinstance(mark, Heat) for mark in panel.marks)
        right = left + (0.455 if columns == 2 else 1.0) - (0.1 if colorbar else 0.0)
        part = _placed(panel_to_dict(panel), k + 1, (left, right, top - (ROW - 60) * pixel, top - 64 * pixel))
        data += part["data"]
        for kind in ("shapes", "annotations"):
            layout[kind] += part["layout"].pop(kind)
        title = {"text": f"<b>{panel.title}</b>", "x": left, "y": top, "xref": "paper", "yref": "paper"}
        layout["annotations"].append(title | {"xanchor": "left", "yanchor": "top", "showarrow": False})
        layout |= part["layout"]
    return go.Figure({"data": data, "layout": layout})


def _placed(figure: Dict, k: int, box: tuple[float, float, float, float]) -> Dict:
    """The figure of panel k = 1, 2, ... moved into `box` (x0, x1, y0, y1), on axes and legend of its own."""
    x0, x1, y0, y1 = box
    number = "" if k == 1 else str(k)
    layout = figure["layout"]
    colorbar = {"x": x1 + 0.01, "y": y0, "yanchor": "bottom", "len": y1 - y0}
    for trace in figure["data"]:
        trace |= {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        if trace["type"] == "heatmap":
            trace["colorbar"] |= colorbar
        else:
            trace["legend"] = f"legend{number}"
    for placed in (*layout["shapes"], *layout["annotations"]):
        for axis in "xy":
            placed[f"{axis}ref"] = placed[f"{axis}ref"].replace(axis, axis + number, 1)
    for shape in layout["shapes"]:
        shape["legend"] = f"legend{number}"
    return {
        "data": figure["data"],
        "layout": {
            f"xaxis{number}": layout["xaxis"] | {"domain": [x0, x1], "anchor": f"y{number}"},
            f"yaxis{number}": layout["yaxis"] | {"domain": [y0, y1], "anchor": f"x{number}"},
            f"legend{number}": layout["legend"] | {"x": x0, "y": y1},
            "shapes": layout["shapes"],
            "annotations": layout["annotations"],
        },
    }


def _lines(text: str, length: int) -> str:
    """The text, if it is longer than that, on several lines."""
    if len(_words(text)) <= length:
        return text
    return "<br>".join(textwrap.wrap(text, length, break_long_words=False, break_on_hyphens=False))


def _words(text: str) -> str:
    """HTML as one reads it."""
    return unescape(re.sub(r"<[^>]*>", "", text))


def describe(panel: Panel) -> str:
    """The panel in words, for readers who do not see it."""
    axes = f"{panel.y.label}{_scale(panel.y)} against {panel.x.label}{_scale(panel.x)}"
    names = ", ".join(mark.name for mark in panel.marks if not (isinstance(mark, Line) and not mark.legend))
    return _words(f"{panel.title}. {axes}. Shown: {names}. {panel.note}".rstrip())


def _scale(axis: Axis) -> str:
    return " (logarithmic)" if axis.log else ""


def _line(line: Line) -> Dict:
    style = {"color": line.color, "width": line.width, "dash": "dash" if line.dash else "solid"}
    trace: Dict = {"type": "scatter", "name": line.name, "line": style, "showlegend": line.legend}
    trace["mode"] = {"": "lines", "points": "markers", "both": "lines+markers"}[line.markers]
    if line.markers:
        trace["marker"] = {"color": line.color, "size": 5}
    trace["x"], trace["y"] = (np.asarray(line.x), np.asarray(line.y)) if len(line.x) else (_GAP, _GAP)
    return trace


def _band(line: Line, low: Array, high: Array, log: bool) -> Dict:
    """The area between low and high: one polygon there and back, over the points where both are known."""
    x = np.asarray(line.x)
    known = np.isfinite(low) & np.isfinite(high)
    if not known.all():
        x, low, high = x[known], low[known], high[known]
    if log and len(low) and low.min() <= 0:  # no logarithm: the band ends at the smallest value that has one
        positive = np.concatenate([low, high])
        low = np.where(low > 0, low, np.min(positive, where=positive > 0, initial=np.inf))
    trace: Dict = {"type": "scatter", "mode": "lines", "fill": "toself", "fillcolor": _faint(line.color)}
    trace |= {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "name": line.name}
    trace["x"] = np.concatenate([x, x[::-1]]) if len(x) else _GAP
    trace["y"] = np.concatenate([high, low[::-1]]) if len(x) else _GAP
    return trace


def _spans(spans: Spans, y: Axis) -> Dict:
    """All stretches as one trace: a rectangle after the other, with gaps between them."""
    assert y.range is not None, f"the panel with {spans.name!r} has no fixed range"
    bottom, top = y.range
    n, gap = len(spans.low), np.full(len(spans.low), np.nan)
    trace: Dict = {"type": "scatter", "mode": "lines", "fill": "toself", "fillcolor": _faint(spans.color)}
    trace |= {"line": {"width": 0, "color": spans.color}, "hoverinfo": "skip", "showlegend": True, "name": spans.name}
    trace["x"] = np.stack([spans.low, spans.low, spans.high, spans.high, gap], axis=1).ravel() if n else _GAP
    trace["y"] = np.tile([bottom, top, top, bottom, np.nan], n) if n else _GAP
    return trace


def _bars(bars: Bars) -> Dict:
    heights = np.asarray(bars.y)
    return {"type": "bar", "name": bars.name, "x": list(bars.x), "y": heights, "marker": {"color": bars.color}}


def _level(level: Level, panel: Panel) -> Dict:
    """A shape across the panel. It sets the range of its own axis like data do, and leaves the other one alone."""
    on_y = level.y is not None
    value = level.y if level.y is not None else level.x
    assert value is not None, f"the level {level.name!r} has neither x nor y"
    across, along = ("x", "y") if on_y else ("y", "x")
    shape: Dict = {"type": "line", "name": level.name, "showlegend": True, "layer": "above"}
    shape |= {"line": {"color": level.color, "width": 1.5, "dash": "dash"}}
    shape |= {f"{across}ref": f"{across} domain", f"{across}0": 0, f"{across}1": 1, f"{along}ref": along}
    shape |= {f"{along}0": np.float64(value), f"{along}1": np.float64(value)}
    axis = panel.y if on_y else panel.x
    if not np.isfinite(value) or (axis.log and value <= 0):
        shape |= {"visible": False, f"{along}0": 1, f"{along}1": 1}
    return shape


def _border(border: Border) -> list[Dict]:
    """A dashed shape, with a light one under it: on any colour one of the two is seen. Empty where there is none."""
    path, pen = "", "M"
    for x, y in zip(border.x.tolist(), border.y.tolist(), strict=True):
        gap = np.isnan(x) or np.isnan(y)
        path += "" if gap else f"{pen}{x:.4g},{y:.4g}"
        pen = "M" if gap else "L"
    shape: Dict = {"type": "path", "name": border.name, "layer": "above", "xref": "x", "yref": "y", "path": path}
    dashed = {"color": GREY, "width": 2, "dash": "dash"}
    under = {"color": "white", "width": 4, "dash": "solid"}
    both = [shape | {"showlegend": False, "line": under}, shape | {"showlegend": True, "line": dashed}]
    return both if path else []


def _heat(heat: Heat) -> Dict:
    title = {"text": heat.name, "side": "right"}
    trace: Dict = {"type": "heatmap", "name": heat.name, "z": np.asarray(heat.z)}
    trace |= {
        axis: ends if isinstance(ends, np.ndarray) else list(ends) for axis, ends in (("x", heat.x), ("y", heat.y))
    }
    trace["colorbar"] = {"title": title, "thickness": 12, "outlinewidth": 0}
    trace["colorscale"] = _colors(heat.colors)
    if heat.low is not None:
        trace["zmin"] = np.float64(heat.low)
    if heat.high is not None:
        trace["zmax"] = np.float64(heat.high)
    return trace


@functools.cache
def _colors(name: str) -> list[list[Any]]:
    """The colour scale as numbers: plotly.js knows only some of the names, and turns a few of the scales round."""
    from plotly.colors import get_colorscale

    scale: list[list[Any]] = get_colorscale(name)
    return scale


@functools.cache
def _faint(color: str) -> str:
    """#rrggbb at the opacity of a band."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.2)"


def _layout(panel: Panel, shapes: list[Dict]) -> Dict:
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "font": {"size": 11}}
    legend |= {"bgcolor": CLEAR, "tracegroupgap": 0}
    layout: Dict = {"autosize": True, "uirevision": panel.title, "hovermode": "closest", "barmode": "group"}
    layout |= {"paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR, "dragmode": "zoom"}
    layout |= {"margin": {"l": 8, "r": 18, "t": 8, "b": 8}, "font": {"size": 12}, "showlegend": True}
    named = [_names(mark) for mark in panel.marks]
    layout |= {"xaxis": _axis(panel.x, any(x for x, _ in named)), "yaxis": _axis(panel.y, any(y for _, y in named))}
    layout["yaxis"]["title"]["text"] = _lines(panel.y.label, UPRIGHT)
    if any(isinstance(mark, Bars) for mark in panel.marks):
        layout["yaxis"]["rangemode"] = "tozero"  # also where all bars are empty
    return layout | {"legend": legend, "shapes": shapes, "annotations": [_note(panel.note)] if panel.note else []}


def _note(text: str) -> Dict:
    """Words in the middle of the panel."""
    note: Dict = {
        "text": _lines(text, ACROSS),
        "showarrow": False,
        "x": 0.5,
        "y": 0.5,
        "xref": "x domain",
        "yref": "y domain",
    }
    return note | {"font": {"size": 13}}


def _names(mark: Mark) -> tuple[bool, bool]:
    """Whether the mark has names, in place of numbers, on the x and on the y axis."""
    if isinstance(mark, Heat):
        return not isinstance(mark.x, np.ndarray), not isinstance(mark.y, np.ndarray)
    return isinstance(mark, Bars), False


def _axis(axis: Axis, categories: bool = False) -> Dict:
    drawn: Dict = {"title": {"text": axis.label, "standoff": 6}, "automargin": True, "showline": True}
    drawn |= {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "ticks": "outside", "ticklen": 4}
    drawn |= {"type": "log" if axis.log else "category" if categories else "linear", "tickcolor": GRID}
    if axis.log:
        drawn |= {"exponentformat": "power", "nticks": 5, "tickfont": {"size": 10}}  # powers are set larger
    elif not categories:
        drawn |= {"exponentformat": "SI", "nticks": 7}  # 30k
    if axis.range is not None:
        drawn["range"] = [float(np.log10(end)) if axis.log else float(end) for end in axis.range]
    return drawn
