"""What a figure shows, as plain data, and who draws it: plotly on a page, matplotlib in a stored notebook."""

from dyntoolkit.figure.panels import Axis, Bars, Border, Heat, Level, Line, Mark, Panel, Spans, median_line
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line, recorded_panels
from dyntoolkit.figure.sweeps import Row, Rows, by_field, sweep_line

__all__ = [
    "Axis",
    "Bars",
    "Border",
    "Heat",
    "Level",
    "Line",
    "Mark",
    "Panel",
    "Row",
    "Rows",
    "Spans",
    "by_field",
    "log_steps",
    "median_line",
    "recorded",
    "recorded_line",
    "recorded_panels",
    "sweep_line",
]
