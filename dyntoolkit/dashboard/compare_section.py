"""Below the figure, folded away: one slider over many values at once, and a map over any two."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets

from dyntoolkit.dashboard.board import Board
from dyntoolkit.dashboard.fold import fold
from dyntoolkit.dashboard.layout import close_all
from dyntoolkit.dashboard.slider_map import number_fields
from dyntoolkit.dashboard.spread import FEWEST, MOST, Spread
from dyntoolkit.dashboard.trained_map import TrainedMap
from dyntoolkit.experiment.config import Config

CURVES = "curves"
REST = 3  # times as long as its drawing takes a figure of many runs rests: they are to be trained


class CompareSection:
    """The fold with its controls and two figures, which are made when it is first opened.

    spread(field, values in words), trace(x, y, of): called for the buttons. choose(settings): for a click into a
    figure. quantities(): what a map can show, as far as that is known. box: the widget.
    """

    def __init__(
        self,
        spread: Callable[[str, str], None],
        trace: Callable[[str, str, str], None],
        choose: Callable[[Mapping[str, Any]], None],
        quantities: Callable[[], Sequence[str]],
    ) -> None:
        self._spread, self._trace, self._choose = spread, trace, choose
        self._quantities = quantities
        self._config: Config | None = None
        self._shown: Spread | None = None
        self._map: TrainedMap | None = None
        self._rests = 0.0  # until when a drawing may wait
        self._drawing = threading.Lock()  # guards what the figures show
        self.button, self._inside = fold("Spread a slider, map two", [])
        self.button.on_click(lambda _: self.make())
        self.box = widgets.VBox([self.button, self._inside]).add_class("dyn-compare")

    def offer(self, config: Config) -> None:
        """Offer the sliders of these settings."""
        if type(config) is not type(self._config):
            self._remove()
        self._config = config
        self.box.layout.display = "flex" if number_fields(config) else "none"

    def renew(self) -> None:
        """Offer what a map can show now."""
        if self._inside.children and (now := tuple(self._quantities())) != self.of.options:
            self.of.options = now

    def make(self) -> None:
        """The controls, if they are not there yet."""
        if self._inside.children or self._config is None:
            return
        sliders = self._config.sliders()
        fields = [(sliders[name].label, name) for name in number_fields(self._config)]
        second = fields[min(1, len(fields) - 1)][1]
        self.field = widgets.Dropdown(options=fields, description="Slider")
        self.values = widgets.Text(
            "8", description="How many, or which", tooltip=f"{FEWEST} to {MOST}, or 0.1, 0.2, 0.5"
        )
        self.run = widgets.Button(description="Spread").add_class("dyn-spread-run")
        self.view = widgets.Dropdown(options=[CURVES], description="Show", disabled=True)
        self.title = widgets.Label().add_class("dyn-compare-title")
        self.board = Board("The spread slider", self._pick_value).add_class("dyn-sweep")
        self.x = widgets.Dropdown(options=fields, description="Across")
        self.y = widgets.Dropdown(options=fields, value=second, description="Up")
        self.of = widgets.Dropdown(options=tuple(self._quantities()), description="Of")
        self.map_run = widgets.Button(description="Map").add_class("dyn-slider-map-run")
        self.map_board = Board("The map of two sliders", self._pick_cell).add_class("dyn-sweep")
        for board in (self.board, self.map_board):
            board.layout.display = "none"
        self.run.on_click(lambda _: self._spread(self.field.value, self.values.value))
        self.map_run.on_click(lambda _: self._trace(self.x.value, self.y.value, self.of.value or ""))
        self.view.observe(lambda _: self._draw(), "value")
        first = widgets.HBox([self.field, self.values, self.run, self.view]).add_class("dyn-compare-row")
        second_row = widgets.HBox([self.x, self.y, self.of, self.map_run]).add_class("dyn-compare-row")
        self._inside.children = [first, self.title, self.board, second_row, self.map_board]

    def show_spread(self, spread: Spread, *, last: bool) -> None:
        """Draw this spread as far as it is trained; soon after another drawing only the `last` one of a loop."""
        began = time.monotonic()
        if began < self._rests and spread is self._shown and not last:
            return
        with self._drawing:
            self._shown = spread
        options = (CURVES, *spread.metrics)
        if self.view.options != options:
            kept = self.view.value if self.view.value in options else CURVES
            self.view.options = options
            self.view.value, self.view.disabled = kept, len(options) == 1
        self.title.value = spread.title
        self._draw()
        self._rests = time.monotonic() + REST * (time.monotonic() - began)

    def show_map(self, trained: TrainedMap) -> None:
        """Draw this map as far as it is trained."""
        with self._drawing:
            self._map = trained
            self.map_board.show([trained.panel()])
            self.map_board.layout.display = "block"

    def disable(self) -> None:
        """Make its buttons insensitive, for good."""
        for widget in (self.run, self.map_run) if self._inside.children else ():
            widget.disabled = True
        self.button.disabled = True

    def _draw(self) -> None:
        with self._drawing:
            if self._shown is None:
                return
            metric = self.view.value
            panels = self._shown.family() if metric == CURVES else [self._shown.against(metric)]
            self.board.show(panels)
            self.board.layout.display = "block"

    def _pick_value(self, name: str, x: Any, _y: Any) -> None:
        if (spread := self._shown) is None:
            return
        named = dict(zip(spread.names, spread.values, strict=True))
        if name in named:  # a curve is called after its value; else it is a point over its value
            self._choose({spread.field: named[name]})
        else:
            self._choose({spread.field: min(spread.values, key=lambda value: abs(value - x))})

    def _pick_cell(self, _name: str, x: str, y: str) -> None:
        if self._map is not None:
            self._choose(self._map.settings(x, y))

    def _remove(self) -> None:
        """Let go of the controls of other settings; they are made anew when they are wanted."""
        if self._inside.children and self._inside.layout.display != "none":
            self.button.click()
        parts, self._inside.children = self._inside.children, ()
        self._shown, self._map = None, None
        for part in parts:
            close_all(part)
