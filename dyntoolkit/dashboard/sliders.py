"""The sliders, switches and lists of an experiment, made from its Config."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from dyntoolkit.dashboard.fold import fold
from dyntoolkit.experiment.config import Config, Slider, doublings, value_words

ABOVE_0 = 1e-6  # where a logarithmic slider for fractions goes on after 0, as a share of its end
STOPS = 100  # positions of a slider, about; whole numbers of a smaller range get one each


class SliderPanel:
    """One widget per field of a Config: the main ones in the box `main`, what is watched folded away below them; the
    others folded away in the box `more`.

    What is shown is what is run, exactly. (ipywidgets' sliders for floats are not used: in the browser they round a
    value to their grid as soon as they are drawn, and send the rounded one back.)
    """

    def __init__(self, config: Config) -> None:
        self._sliders = config.sliders()
        defaults = {field.name: field.default for field in dataclasses.fields(config)}
        self._widgets = {name: _widget(slider, defaults[name]) for name, slider in self._sliders.items()}
        self._quiet = False
        self._callback: Callable[[], None] = lambda: None
        for name, widget in self._widgets.items():
            widget.add_class("dyn-field").add_class(f"dyn-field-{name}")
            widget.observe(self._moved, "value")
        main = [self._widgets[name] for name, slider in self._sliders.items() if slider.main]
        watched = self._others("Measurements", True)
        folds = [widgets.VBox(watched).add_class("dyn-more")] if watched else []
        self.main = widgets.VBox([*main, *folds]).add_class("dyn-fields")
        self.more = widgets.VBox(self._others("More settings", False)).add_class("dyn-more")
        self.set(config)

    def _others(self, title: str, live: bool) -> Sequence[Any]:
        """The fields that are not main, folded away: what is watched, or all else."""
        chosen = [name for name, slider in self._sliders.items() if slider.live is live and not slider.main]
        return fold(title, [self._widgets[name] for name in chosen]) if chosen else ()

    def values(self) -> dict[str, Any]:
        """Field name -> value."""
        return {name: widget.value for name, widget in self._widgets.items()}

    def set(self, config: Config) -> bool:
        """Show these settings; one change in all, however many fields differ. Whether there was one."""
        before, self._quiet = self.values(), True
        try:
            for name, value in config.asdict().items():
                self._show(name, value)
        finally:
            self._quiet = False
        changed = self.values() != before
        if changed:
            self._callback()
        return changed

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback()` after every change of the values."""
        self._callback = callback

    def widget(self, name: str) -> Any:
        """The widget of field `name`."""
        return self._widgets[name]

    def disable(self) -> None:
        """Make all widgets insensitive, for good."""
        for widget in self._widgets.values():
            widget.disabled = True

    def _show(self, name: str, value: Any) -> None:
        widget = self._widgets[name]
        with widget.hold_sync():  # new stops and the place among them must reach the browser together
            if isinstance(widget, widgets.SelectionSlider) and value not in [stop for _, stop in widget.options]:
                widget.options = _labelled([*_stops(self._sliders[name], value), value])
            widget.value = value

    def _moved(self, _change: object) -> None:
        if not self._quiet:
            self._callback()


def _widget(slider: Slider, default: Any) -> Any:
    """The kind of widget that fits a field."""
    common: dict[str, Any] = {
        "description": slider.title,
        "tooltip": slider.help,
        "style": {"description_width": "initial"},
    }
    if isinstance(default, bool):
        return widgets.Checkbox(default, indent=False, **common)
    if isinstance(default, str):
        return widgets.Dropdown(options=slider.options, value=default, **common)
    if isinstance(default, int) and not slider.log and slider.high - slider.low <= 2 * STOPS:
        return widgets.IntSlider(default, min=int(slider.low), max=int(slider.high), **common)
    stops = _labelled([*_stops(slider, default), default])
    return widgets.SelectionSlider(options=stops, value=default, **common).add_class("dyn-list")


def _stops(slider: Slider, like: float) -> list[float]:
    """Round numbers over the range, its ends among them; whole ones if `like` is an int."""
    low, high = slider.low, slider.high
    if slider.doubling:
        return [*doublings(slider)]
    if slider.log:
        least = 1 if isinstance(like, int) else high * ABOVE_0
        first = math.log10(low or least)
        exponents = [first + (math.log10(high) - first) * k / STOPS for k in range(STOPS)]
        inner = [float(f"{10**exponent:.2g}") for exponent in exponents]
    elif slider.near_one:
        first, last = math.log10(1 - low), math.log10(1 - high)
        exponents = [first + (last - first) * k / STOPS for k in range(STOPS)]
        inner = [1 - float(f"{10**exponent:.2g}") for exponent in exponents]
    else:
        step = _nice(high - low)
        inner = [low + step * k for k in range(math.ceil((high - low) / step))]
    stops = [low, *[stop for stop in inner if low < stop < high], high]
    return [round(stop) if isinstance(like, int) else float(f"{stop:.9g}") for stop in stops]


def _nice(span: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that cuts `span` into at least STOPS steps."""
    rough = span / STOPS * (1 + 1e-9)
    power = 10.0 ** math.floor(math.log10(rough))
    return max(digit * power for digit in (1, 2, 5) if digit * power <= rough)


def _labelled(stops: Sequence[float]) -> list[tuple[str, float]]:
    """Each number once, in order, with as many digits as it takes."""
    return [(value_words(stop), stop) for stop in sorted(set(stops))]
