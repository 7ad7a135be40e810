"""The static picture of a figure: what a notebook stores and a headless run shows."""

import io
import textwrap
from collections.abc import Sequence
from html import unescape
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from dyntoolkit.figure.panels import GREY, Axis, Bars, Border, Heat, Level, Line, Panel, Spans

FRAME = "#BDBDBD"  # of a card's panel


def still_png(panels: Sequence[Panel], title: str = "", *, dpi: int = 75) -> bytes:
    """The panels as one PNG, two side by side; drawn by matplotlib, so that no browser is needed."""
    return small_png(_drawn(_still(panels, title, 2), format="png", dpi=dpi))


def still_svg(panels: Sequence[Panel], title: str = "", *, columns: int = 2) -> bytes:
    """The same as SVG, `columns` side by side. Its words are outlines, so that they look the same everywhere; maps are
    pictures within it.
    """
    return _drawn(_still(panels, title, columns), format="svg", dpi=150, metadata={"Date": None})


def _drawn(figure: Figure, **options: Any) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, **options)
    return drawn.getvalue()


def _still(panels: Sequence[Panel], title: str, columns: int) -> Figure:
    columns = max(1, min(columns, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(5.4 * columns, 3.3 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, panel in zip(axes, panels, strict=False):
        _draw(ax, panel)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def card_png(panel: Panel) -> bytes:
    """One panel as a PNG of 480 x 300 pixels, legible at half that size."""
    figure = Figure(figsize=(3.6, 2.25), layout="constrained")
    ax = figure.subplots()
    _draw(ax, panel)
    legend = ax.get_legend()
    if legend and any(isinstance(mark, Bars) for mark in panel.marks):  # they leave no corner for it
        legend.remove()
        figure.legend(loc="outside upper center", ncols=2, fontsize=7.5, frameon=False)
    elif legend:  # curves leave little room for it, so that it may lie on some
        legend.set_frame_on(True)
        legend.get_frame().set(alpha=0.7, linewidth=0)
    ax.tick_params(color=FRAME, labelsize=9)
    for edge in ax.spines.values():
        edge.set(color=FRAME, linewidth=0.6)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=480 / 3.6)
    return small_png(drawn.getvalue())


def small_png(png: bytes) -> bytes:
    """The same picture on white, in 128 colours: of a figure it is a third of the bytes, and looks the same."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    small = io.BytesIO()
    few = paper.convert("RGB").quantize(128, method=Image.Quantize.FASTOCTREE)
    few.save(small, format="png", optimize=True)
    return small.getvalue()


def _draw(ax: Any, panel: Panel) -> None:
    ax.set_title(_plain(panel.title), fontsize=10)
    _set_axis(ax, "x", panel.x)
    _set_axis(ax, "y", panel.y)
    bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
    for mark in panel.marks:
        match mark:
            case Line():
                _draw_line(ax, mark)
            case Bars():
                width = 0.8 / len(bars)
                left = np.arange(len(mark.x)) + (bars.index(mark) - (len(bars) - 1) / 2) * width
                ax.bar(left, mark.y, width, color=mark.color, label=_label(mark.name))
                ax.set_xticks(range(len(mark.x)), [_plain(name) for name in mark.x])
            case Level(y=None):
                ax.axvline(mark.x, color=mark.color, ls="--", lw=1.2, label=_label(mark.name))
            case Level():
                ax.axhline(mark.y, color=mark.color, ls="--", lw=1.2, label=_label(mark.name))
            case Spans():
                for k, (low, high) in enumerate(zip(mark.low, mark.high, strict=True)):
                    ax.axvspan(low, high, color=mark.color, alpha=0.2, lw=0, label="" if k else _label(mark.name))
            case Heat():
                _draw_heat(ax, mark, panel)
            case Border():
                light = [withStroke(linewidth=4, foreground="white")]  # on any colour one of the two is seen
                (line,) = ax.plot(mark.x, mark.y, ls="--", color=GREY, lw=2, label=_label(mark.name))
                line.set_path_effects(light)
    if ax.get_legend_handles_labels()[0]:
        on_a_map = any(isinstance(mark, Heat) for mark in panel.marks)  # where no words can be read
        ax.legend(fontsize=7.5, frameon=on_a_map, framealpha=0.8)
    ax.grid(alpha=0.25)
    ax.text(0.5, 0.5, textwrap.fill(_plain(panel.note), 40), transform=ax.transAxes, ha="center", va="center")


def _draw_heat(ax: Any, heat: Heat, panel: Panel) -> None:
    x, y = _edges(heat.x, panel.x.log), _edges(heat.y, panel.y.log)
    colors = heat.colors if heat.colors in colormaps else heat.colors.lower()
    mesh = ax.pcolormesh(x, y, heat.z, vmin=heat.low, vmax=heat.high, cmap=colors, shading="flat", rasterized=True)
    ax.figure.colorbar(mesh, ax=ax, label=_plain(heat.name))
    for which, ends in (("x", heat.x), ("y", heat.y)):
        if not isinstance(ends, np.ndarray):
            getattr(ax, f"set_{which}ticks")(range(len(ends)), [_plain(name) for name in ends])


def _edges(centres: np.ndarray | Sequence[str], log: bool) -> np.ndarray:
    """The borders of cells with these centres, halfway between them on their axis; of cells with names, of width 1."""
    if not isinstance(centres, np.ndarray):
        return np.arange(len(centres) + 1) - 0.5
    at = np.log(centres) if log else centres.astype(np.float64)
    half = np.diff(at) / 2 if len(at) > 1 else np.full(1, 0.5)
    edges = np.concatenate([at[:1] - half[:1], at[:-1] + half[: len(at) - 1], at[-1:] + half[-1:]])
    return np.asarray(np.exp(edges)) if log else edges


def _draw_line(ax: Any, line: Line) -> None:
    style = "--" if line.dash else "none" if line.markers == "points" else "-"
    marker = "o" if line.markers else ""
    label = _label(line.name) if line.legend else None
    ax.plot(line.x, line.y, ls=style, color=line.color, lw=0.75 * line.width, marker=marker, ms=3.5, label=label)
    if line.low is not None and line.high is not None:
        ax.fill_between(line.x, line.low, line.high, color=line.color, alpha=0.2, lw=0)


def _set_axis(ax: Any, which: str, axis: Axis) -> None:
    getattr(ax, f"set_{which}label")(_plain(axis.label))
    if axis.log:
        getattr(ax, f"set_{which}scale")("log")
    if axis.range is not None:
        getattr(ax, f"set_{which}lim")(*axis.range)


def _plain(text: str) -> str:
    """A panel's text, which is HTML, for matplotlib: it knows no tags, and takes what is between $ for a formula."""
    superscripts = str.maketrans("0123456789+-T", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀ")
    subscripts = str.maketrans("0123456789ijk", "₀₁₂₃₄₅₆₇₈₉ᵢⱼₖ")
    for tag, table in (("sup", superscripts), ("sub", subscripts)):
        while f"<{tag}>" in text:
            before, rest = text.split(f"<{tag}>", 1)
            inside, after = rest.split(f"</{tag}>", 1)
            text = before + inside.translate(table) + after
    plain = text.replace("<br>", " ").replace("<b>", "").replace("</b>", "").replace("<i>", "").replace("</i>", "")
    return unescape(plain).replace("$", r"\$")


def _label(name: str) -> str:
    """The same in a legend, from which matplotlib leaves out names that begin with _."""
    plain = _plain(name)
    return f" {plain}" if plain.startswith("_") else plain
