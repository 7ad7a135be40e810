"""One figure of many runs that differ in one setting: each measured curve as a family of curves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dyntoolkit.figure.panels import FAMILY, Axis, Line, Panel
from dyntoolkit.figure.thinned import thinned

Place = tuple[str, int]  # a panel's title, and which of its measured curves


def family(members: Mapping[str, Sequence[Panel]]) -> list[Panel]:
    """A panel for every measured curve that the members' panels have, with that curve of each member.

    members: name -> panels, in the order of the setting's values: the colours are sequential. Bands, theory, and curves
    that the legend leaves out are not shown.

    >>> curve = Line("train", np.arange(2), np.arange(2), "#0072B2")
    >>> (panel,) = family({"0.1": [Panel("Loss", Axis("step"), Axis("loss"), [curve])]})
    >>> panel.title, panel.marks[0].name
    ('Loss', '0.1')
    """
    found: dict[Place, list[tuple[Panel, Line]]] = {}
    for (name, panels), color in zip(members.items(), sequential(len(members)), strict=True):
        for panel in panels:
            curves = _curves(panel)
            for k, curve in enumerate(curves):
                title = f"{panel.title}: {curve.name}" if len(curves) > 1 else panel.title
                own = replace(thinned(curve), name=name, color=color, low=None, high=None, width=1.6)
                found.setdefault((panel.title, k), []).append((replace(panel, title=title), own))
    return [_together([panel for panel, _ in each], [line for _, line in each]) for each in found.values()]


def sequential(count: int) -> list[str]:
    """So many colours from dark to light, told apart by the colour-blind, and seen on white and on black.

    >>> sequential(2)
    ['#3b528b', '#5ec962']
    """
    stops = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in FAMILY])
    at = np.linspace(0, len(stops) - 1, count)
    channels = [np.interp(at, range(len(stops)), channel).round().astype(int) for channel in stops.T]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in zip(*channels, strict=True)]


def _curves(panel: Panel) -> list[Line]:
    """What the panel measures: its curves or, where it has none, its points."""
    lines = [mark for mark in panel.marks if isinstance(mark, Line) and mark.legend and not mark.dash]
    return [line for line in lines if line.markers != "points"] or lines


def _together(panels: Sequence[Panel], lines: Sequence[Line]) -> Panel:
    first = panels[0]
    x, y = _axis([panel.x for panel in panels]), _axis([panel.y for panel in panels])
    return Panel(first.title, x, y, list(lines))


def _axis(axes: Sequence[Axis]) -> Axis:
    """One that suits all: logarithmic if each is, and as long as the longest."""
    ranges = [axis.range for axis in axes if axis.range is not None]
    whole = (min(low for low, _ in ranges), max(high for _, high in ranges)) if len(ranges) == len(axes) else None
    return Axis(axes[0].label, all(axis.log for axis in axes), whole)
