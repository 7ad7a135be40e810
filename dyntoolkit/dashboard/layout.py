"""How the widgets of a dashboard are put together, and taken from the page again."""

from collections.abc import Iterable, Sequence
from typing import Any

import ipywidgets as widgets

from dyntoolkit.dashboard.board import Board
from dyntoolkit.dashboard.monitor import Monitor
from dyntoolkit.dashboard.time_lapse import TimeLapse


def lay_out(parts: Sequence[Any]) -> Any:
    """View, settings, claims in one box; the style sheet puts the settings beside the view where there is room."""
    return widgets.Box(list(parts)).add_class("dyn-grid")


def view_box(
    buttons: Iterable[Any], monitor: Monitor, board: Board, actions: Sequence[Any], when: str, lapse: TimeLapse
) -> Any:
    """Buttons, progress, status, figure, what may be done in the middle of a run (and when), time-lapse."""
    row = widgets.HBox(list(buttons)).add_class("dyn-buttons")
    top = widgets.Box([row, monitor.progress]).add_class("dyn-top")
    shown = [top, monitor.status, board.add_class("dyn-board")]
    if actions:
        shown.append(widgets.HBox([widgets.Label(f"{when}:"), *actions]).add_class("dyn-actions"))
    return widgets.VBox([*shown, lapse.box]).add_class("dyn-view")


def claims_box(verdicts: Any, button: Any, sweep_board: Board) -> Any:
    """The verdicts, the button for the negative controls, and the figure of all those runs."""
    parts = [widgets.HTML("<h3>Claims</h3>"), verdicts, button, sweep_board.add_class("dyn-sweep")]
    return widgets.VBox(parts).add_class("dyn-claims-box")


def close_all(widget: Any) -> None:
    """Close a widget and all that it contains.

    None may be left that refers to a closed one: a page that is opened later would wait for it, and show nothing.
    """
    for child in getattr(widget, "children", ()):
        close_all(child)
    for part in (getattr(widget, "style", None), widget.layout):
        if isinstance(part, widgets.Widget):
            part.close()
    widget.close()


def fill(box: Any, part: Any) -> None:
    """Put a widget into a box, in place of what holds its place there."""
    waiting = box.children
    with box.hold_sync():
        box.children = [part]
        box.remove_class("dyn-placeholder")
    for placeholder in waiting:
        close_all(placeholder)
