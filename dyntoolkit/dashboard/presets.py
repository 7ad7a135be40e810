"""The preset buttons, each with its one-line reason."""

from collections.abc import Callable
from functools import partial

import ipywidgets as widgets

from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config


class Presets:
    """A button per preset with the reason beside it; the one that is set stands out."""

    def __init__(self, experiment: Experiment, choose: Callable[[str], None]) -> None:
        self.buttons: dict[str, widgets.Button] = {}
        self._configs: dict[str, Config] = {}
        entries = []
        for name, preset in experiment.presets.items():
            button = widgets.Button(description=name.replace("_", " "), tooltip=preset.reason)
            button.add_class(f"dyn-preset-{name}")
            button.on_click(partial(_clicked, choose, name))
            reason = widgets.Label(preset.reason).add_class("dyn-reason")
            entries.append(widgets.HBox([button, reason]).add_class("dyn-preset"))
            self.buttons[name] = button
            self._configs[name] = experiment.configure(name)
        self.box = widgets.VBox(entries).add_class("dyn-presets")

    def highlight(self, config: Config) -> None:
        """Mark the preset, if any, that has exactly these settings."""
        for name, button in self.buttons.items():
            if config == self._configs[name]:
                button.add_class("dyn-active")
            else:
                button.remove_class("dyn-active")


def _clicked(choose: Callable[[str], None], name: str, _button: widgets.Button) -> None:
    choose(name)
