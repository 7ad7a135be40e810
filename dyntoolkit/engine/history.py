"""Frames and the history that they add up to."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

Array = np.ndarray


@dataclass(frozen=True)
class Frame:
    """What one moment of a simulation shows.

    step: updates done so far; total: updates of the whole simulation.
    values: name -> array with leading run axis (R, ...). Empty: a heartbeat, work went on but nothing was measured.
    diverged: (R,) the step at which a run stopped being finite, -1 for a healthy run.
    """

    step: int
    total: int
    values: Mapping[str, Array]
    diverged: Array


class History:
    """All measured values of R runs, growing frame by frame.

    `history[name]` is (T, R, ...), measured at the steps `history.at(name)` (T,). A quantity that is measured only in
    a phase, or only at the end, has fewer rows. A figure, the metrics and the claims are pure functions of a History.
    """

    def __init__(self, experiment: str, configs: Sequence[Any], seeds: Sequence[int]) -> None:
        self.experiment = experiment
        self.configs = tuple(configs)
        self.seeds = tuple(seeds)
        self.step = 0
        self.total = 0
        self.diverged: Array = np.full(len(self.seeds), -1)
        self._rows: dict[str, list[Array]] = {}
        self._steps: dict[str, list[int]] = {}

    @property
    def config(self) -> Any:
        """The settings of the first run (of all runs, unless this is a sweep)."""
        return self.configs[0]

    @property
    def done(self) -> bool:
        """Whether the last frame of the simulation is in."""
        return self.total > 0 and self.step >= self.total

    def append(self, frame: Frame) -> None:
        """Take over a frame's values."""
        self.step, self.total, self.diverged = frame.step, frame.total, frame.diverged
        for name, value in frame.values.items():
            self._rows.setdefault(name, []).append(np.asarray(value))
            self._steps.setdefault(name, []).append(frame.step)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def names(self) -> list[str]:
        """Names of all measured quantities so far."""
        return list(self._rows)

    def __getitem__(self, name: str) -> Array:
        return np.stack(self._rows[name])  # (T, R, ...)

    def at(self, name: str) -> Array:
        """Steps at which `name` was measured, (T,)."""
        return np.array(self._steps[name])

    def last(self, name: str) -> Array:
        """The newest value of `name`, (R, ...)."""
        return self._rows[name][-1]

    def run(self, r: int) -> "History":
        """Run r alone; IndexError where there is no such run."""
        r = range(len(self.seeds))[r]
        alone = History(self.experiment, self.configs[r : r + 1], self.seeds[r : r + 1])
        alone.step, alone.total, alone.diverged = self.step, self.total, self.diverged[r : r + 1]
        alone._rows = {name: [row[r : r + 1] for row in rows] for name, rows in self._rows.items()}
        alone._steps = {name: list(steps) for name, steps in self._steps.items()}
        return alone

    def to_xarray(self) -> xr.Dataset:
        """All quantities with dims (step, run, ...); NaN where a quantity was not measured at a step.

        Where two phases meet, both measure the same step: the value of the later one is kept.
        """
        arrays = {}
        for name, rows in self._rows.items():
            newest = dict(zip(self._steps[name], rows, strict=True))
            data = np.stack(list(newest.values())).astype(np.float64)  # (T, R, ...)
            extra = [f"{name}_{axis}" for axis in range(data.ndim - 2)]
            arrays[name] = xr.DataArray(data, dims=["step", "run", *extra], coords={"step": list(newest)})
        dataset = xr.Dataset(arrays)
        dataset = dataset.assign_coords(seed=("run", np.array(self.seeds, dtype=np.int64)))
        dataset["diverged_at"] = ("run", np.array(self.diverged, dtype=np.int64))
        dataset.attrs["experiment"] = self.experiment
        dataset.attrs["configs"] = json.dumps([dataclasses.asdict(config) for config in self.configs])
        dataset.attrs["finished"] = int(self.done)
        return dataset
