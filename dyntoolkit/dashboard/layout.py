"""How the widgets of a dashboard are put together, and taken from the page again."""

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

if TYPE_CHECKING:
    from dyntoolkit.dashboard.dashboard import Dashboard


def lay_out(dashboard: "Dashboard") -> Any:
    """One box: the board first; the style sheet puts the sliders to its left where there is room."""
    parts = [_view(dashboard), _sliders(dashboard)]
    if dashboard.experiment.claims:
        parts.append(_claims(dashboard))
    grid = widgets.Box(parts).add_class("dyn-grid")
    name = dashboard.experiment.name.replace(".", "-")
    return widgets.Box([grid]).add_class("dyn-dashboard").add_class(f"dyn-experiment-{name}")


def _view(dashboard: "Dashboard") -> Any:
    """Buttons, progress, status, figure, what may be done in the middle of a run, time-lapse."""
    buttons = widgets.HBox(list(dashboard.buttons.values())).add_class("dyn-buttons")
    top = widgets.Box([buttons, dashboard.monitor.progress]).add_class("dyn-top")
    shown = [top, dashboard.monitor.status, dashboard.board.add_class("dyn-board")]
    if dashboard.experiment.actions is not None:
        when = widgets.Label(f"{dashboard.experiment.actions.when}:")
        shown.append(widgets.HBox([when, *dashboard.actions.values()]).add_class("dyn-actions"))
    return widgets.VBox([*shown, dashboard.lapse.box]).add_class("dyn-view")


def _sliders(dashboard: "Dashboard") -> Any:
    """The main settings, presets, seeds, and the other settings."""
    seeds = widgets.VBox([dashboard.seed, dashboard.n_seeds]).add_class("dyn-seeds")
    parts = [dashboard.sliders.main, dashboard.presets.box, seeds, dashboard.sliders.more]
    return widgets.VBox(parts).add_class("dyn-controls")


def _claims(dashboard: "Dashboard") -> Any:
    """The verdicts, the button for the negative controls, and the figure of all those runs."""
    title = widgets.HTML("<h3>Claims</h3>")
    sweep = dashboard.sweep_board.add_class("dyn-sweep")
    judged = [title, dashboard.claims_html, dashboard.controls_run, sweep]
    return widgets.VBox(judged).add_class("dyn-claims-box")


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
