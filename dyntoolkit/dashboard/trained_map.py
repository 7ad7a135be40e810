"""The runs behind a map of an experiment over two settings, and the panel that fills in while they train."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np

from dyntoolkit.dashboard.theory import border_lines
from dyntoolkit.engine.history import History
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment, Map
from dyntoolkit.experiment.claims import Array
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.training import Start, loops
from dyntoolkit.experiment.words import changed_words, value_names
from dyntoolkit.figure.literal import literal
from dyntoolkit.figure.panels import Axis, Border, Heat, Panel

Cell = tuple[int, int]  # row and column
SHARE = 0.1  # of the map's range: where a square's corners differ by more, it is refined
NOWHERE = "No cell has a value: refused, diverged, never, or not expected here."
NOT_YET = "No cell has a value yet."  # also where the map is given up for another run
MOST = 121  # cells of a map that is refined


class TrainedMap:
    """All pairs of values of a map's two fields on top of `config`, a few side by side, as stages for the runner.

    A pair that the Config refuses stays empty, as does a run that diverged. seed: of every run. grids: how many rows
    and columns are trained at first, and then, in the squares between them where the value changes; the list of stages
    grows by these once all before are filled in. Default: all at once.
    """

    def __init__(self, experiment: Experiment, config: Config, seed: int, grids: Sequence[int] = ()) -> None:
        assert experiment.map is not None, f"{experiment.name} has no map"
        self.map: Map = experiment.map
        self._experiment = replace(experiment, simulate=self.map.simulate)
        self._config, self._seed = config, seed
        self._z: Array = np.full((len(self.map.ys), len(self.map.xs)), np.nan)
        self._tried = np.zeros(self._z.shape, dtype=bool)
        self._cells: dict[Config, list[Cell]] = {}
        changed = changed_words(config, self.map.x, self.map.y)
        with_what = literal(", ".join([*([f"seed {seed}"] if self.map.random else []), *changed]))
        self._title = f"{self.map.title} ({with_what})" if with_what else self.map.title
        self._labels = [f"{config.sliders()[field].label} ({field})" for field in (self.map.x, self.map.y)]
        sizes = [len(self.map.ys), len(self.map.xs)]
        self._grids = [[_evenly(size, count) for size in sizes] for count in grids] or [
            [list(range(size)) for size in sizes]
        ]
        self._width = len(self._grids[0][1])
        self._left = 0  # runs that are not finished
        self._ended = 0  # stages, among those in the list
        self.stages: list[Start] = []
        rows, columns = self._grids[0]
        self._add([(row, column) for row in rows for column in columns])

    def left(self) -> list[Start]:
        """The stages that are not trained to their end, in the list that grows; those broken off begin anew."""
        del self.stages[: self._ended]
        self._ended = 0
        return self.stages

    def fill(self, history: History) -> None:
        """Take over what the runs of one stage show so far."""
        with np.errstate(all="ignore"):  # of a diverged run, whose value is dropped
            values = np.where(history.diverged < 0, self.map.value(history), np.nan)
        for config, value in zip(history.configs, values, strict=True):
            for cell in self._cells[config]:
                self._z[cell] = value
        if history.done:
            self._finish(history)

    def panel(self) -> Panel:
        """The map as far as it is known; in one that is refined, a cell not trained has the value of the nearest."""
        x, y = value_names(self.map.xs), value_names(self.map.ys)
        empty = NOT_YET if self._left else NOWHERE
        note = "" if np.isfinite(self._z).any() else empty
        x_axis, y_axis = (Axis(label) for label in self._labels)
        runs = len(self._cells)
        title = f"{self._title}; {runs - self._left} of {runs} runs finished" if self._left else self._title
        return Panel(title, x_axis, y_axis, [Heat(self.map.label, x, y, self._nearest()), *self._borders], note)

    @cached_property
    def _borders(self) -> list[Border]:
        over = self.map
        return border_lines(self._experiment, self._config, over.x, over.y, over.xs, over.ys)

    def settings(self, x: str, y: str) -> dict[str, Any]:
        """The values of the two fields in the cell of these names."""
        named = [dict(zip(value_names(each), each, strict=True)) for each in (self.map.xs, self.map.ys)]
        return {self.map.x: named[0][x], self.map.y: named[1][y]}

    def _add(self, cells: Sequence[Cell]) -> None:
        """Stages for these cells."""
        configs = dict.fromkeys(config for cell in cells for config in self._configs(cell))
        self._left = len(configs)
        for group in loops((config, self._seed) for config in configs):
            for first in range(0, len(group), self._width):
                part = [config for config, _ in group[first : first + self._width]]
                self.stages.append(partial(self._experiment.start, part, [self._seed] * len(part)))

    def _configs(self, cell: Cell) -> Iterator[Config]:
        """The settings of a cell; none where they are refused."""
        row, column = cell
        self._tried[cell] = True
        try:
            settings = self._config.replace(**{self.map.x: self.map.xs[column], self.map.y: self.map.ys[row]})
        except InputError:
            return
        self._cells.setdefault(settings, []).append(cell)
        yield settings

    def _finish(self, history: History) -> None:
        """Let go of what the map does not show; if nothing is left to train, go on to a finer grid."""
        self._ended += 1
        history.keep_within(0)
        self._left -= len(history.configs)
        while not self._left and len(self._grids) > 1:
            coarse, fine = self._grids[:2]
            del self._grids[0]
            self._add(self._changing(coarse, fine))

    def _changing(self, coarse: Sequence[Sequence[int]], fine: Sequence[Sequence[int]]) -> list[Cell]:
        """The untrained cells of the fine grid in squares of the coarse one whose corners differ, the most first."""
        z = self._nearest()
        span = np.nanmax(z, initial=-np.inf) - np.nanmin(z, initial=np.inf)
        change: dict[Cell, float] = {}
        for top, bottom in pairwise(coarse[0]):
            for left, right in pairwise(coarse[1]):
                corners = z[[top, top, bottom, bottom], [left, right, left, right]]
                gone = np.isnan(corners)
                difference = np.inf if gone.any() and not gone.all() else np.ptp(corners)
                if difference > SHARE * span:
                    inside = [
                        (row, column)
                        for row in fine[0]
                        for column in fine[1]
                        if top <= row <= bottom and left <= column <= right
                    ]
                    change |= {cell: max(difference, change.get(cell, 0)) for cell in inside if not self._tried[cell]}
        most = sorted(change, key=lambda cell: -change[cell])[: max(0, MOST - int(self._tried.sum()))]
        return sorted(most)

    def _nearest(self) -> Array:
        """The map, with the value of the nearest trained cell in cells between that are not meant to be trained."""
        if self._tried.all():
            return self._z.copy()
        known = np.argwhere(self._tried)  # (K, 2)
        cells = np.argwhere(np.ones_like(self._tried))  # (rows * columns, 2)
        nearest = np.abs(cells[:, None] - known).max(axis=2).argmin(axis=1)
        return np.asarray(self._z[tuple(known[nearest].T)].reshape(self._z.shape))


def _evenly(size: int, count: int) -> list[int]:
    """So many of the numbers 0 to size - 1, evenly; those of (count + 1) / 2 are among them."""
    return list(dict.fromkeys(round(at) for at in np.linspace(0, size - 1, count)))
