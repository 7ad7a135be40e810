"""The runs behind a map of an experiment over two settings, and the panel that fills in while they train."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment, Map
from dyntoolkit.experiment.claims import Array
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.training import Start, loops
from dyntoolkit.figure.panels import Axis, Heat, Panel


class TrainedMap:
    """All pairs of values of a map's two fields on top of `config`, row by row side by side, as stages for the runner.

    A pair that the Config refuses stays empty, as does a run that diverged. seed: of every run.
    """

    def __init__(self, experiment: Experiment, config: Config, seed: int) -> None:
        assert experiment.map is not None, f"{experiment.name} has no map"
        self.map: Map = experiment.map
        self._z: Array = np.full((len(self.map.ys), len(self.map.xs)), np.nan)
        self._cells: dict[Config, list[tuple[int, int]]] = {}
        changed = [f"{name} {value}" for name, value in config.asdict().items() if _differs(config, name, self.map)]
        self._title = ", ".join([f"{self.map.title} (seed {seed}", *changed]) + ")"
        self._labels = [f"{config.sliders()[field].label} ({field})" for field in (self.map.x, self.map.y)]
        self._histories: list[History] = []
        self.stages: list[Start] = []
        for row, y in enumerate(self.map.ys):
            configs = [cell for column, x in enumerate(self.map.xs) for cell in self._cell(config, row, column, x, y)]
            for group in loops((settings, seed) for settings in configs):
                self.stages.append(partial(self._start, experiment, [settings for settings, _ in group], seed))

    def fill(self, history: History) -> bool:
        """Take over what the runs of one stage show so far; False for a history that is none of the stages'."""
        if not any(history is own for own in self._histories):
            return False
        with np.errstate(all="ignore"):  # of a diverged run, whose value is dropped
            values = np.where(history.diverged < 0, self.map.value(history), np.nan)
        for config, value in zip(history.configs, values, strict=True):
            for cell in self._cells[config]:
                self._z[cell] = value
        return True

    def panel(self) -> Panel:
        """The map as far as it is known."""
        x, y = ([f"{value:g}" for value in values] for values in (self.map.xs, self.map.ys))
        x_axis, y_axis = (Axis(label) for label in self._labels)
        return Panel(self._title, x_axis, y_axis, [Heat(self.map.label, x, y, self._z.copy())])

    def _cell(self, config: Config, row: int, column: int, x: Any, y: Any) -> Iterator[Config]:
        """The settings of a cell; none where they are refused."""
        try:
            settings = config.replace(**{self.map.x: x, self.map.y: y})
        except InputError:
            return
        self._cells.setdefault(settings, []).append((row, column))
        yield settings

    def _start(self, experiment: Experiment, configs: Sequence[Config], seed: int) -> tuple[History, Iterator[Frame]]:
        history, frames = replace(experiment, simulate=self.map.simulate).start(configs, [seed] * len(configs))
        self._histories.append(history)
        return history, frames


def _differs(config: Config, name: str, over: Map) -> bool:
    """Whether this field has another value than by default, and is none of the map's own."""
    return name not in (over.x, over.y) and getattr(config, name) != getattr(type(config)(), name)
