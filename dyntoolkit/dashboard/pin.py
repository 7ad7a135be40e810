"""Curves of an earlier run, kept thin and grey behind those of the next ones."""

from collections.abc import Sequence
from dataclasses import replace

from dyntoolkit.figure.panels import GREY, Line, Mark, Panel


def behind(panels: Sequence[Panel], pinned: Sequence[Panel]) -> list[Panel]:
    """The panels with the measured curves of `pinned` behind their own, panel by panel of the same title."""
    kept = {panel.title: _faint(panel) for panel in pinned}
    return [replace(panel, marks=[*kept.get(panel.title, []), *panel.marks]) for panel in panels]


def _faint(panel: Panel) -> list[Mark]:
    """Its curves without bands; theory and reference lines are left out. One entry in the legend stands for all."""
    lines = [mark for mark in panel.marks if isinstance(mark, Line) and not mark.dash]
    return [
        replace(line, name="pinned", color=GREY, width=1.0, low=None, high=None, legend=number == 0)
        for number, line in enumerate(lines)
    ]
