"""Frames and the history that they add up to."""

import dataclasses
import json
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dyntoolkit.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray

MEMORY = 100_000_000  # bytes that a history may take before its pictures are thinned
PICTURE = 256  # numbers per run and moment from which on a quantity is a picture
_TAKING = threading.Lock()  # held while a frame goes in; of all histories: one with its own could not be pickled


@dataclass(frozen=True)
class Frame:
    """What one moment of a simulation shows.

    step: updates done so far; total: updates of the whole simulation.
    values: name -> array with leading run axis (R, ...). Empty: a heartbeat, work went on but nothing was measured.
    diverged: (R,) the step at which a run stopped being finite, -1 for a healthy run.
    asks: whoever pulls the frames may now act, by `send` with the name of an action in place of `next`.
    engine: what did the updates so far, "xla", "recorded" or "eager"; "" where none was done, or by none of these.
    weights: name -> (R, ...) what has been trained, at the end of a phase; {} before it.
    """

    step: int
    total: int
    values: Mapping[str, Array]
    diverged: Array
    asks: bool = False
    engine: str = ""
    weights: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Live:
    """What a reader changed in the middle of a run of what is watched, not trained: field -> value, of all such fields.

    It is sent into a simulation in place of `next`, at any frame.
    """

    values: Mapping[str, Any]


class History:
    """All measured values of R runs, growing frame by frame.

    `history[name]` is (T, R, ...), measured at the steps `history.at(name)` (T,). A quantity that is measured only in
    a phase, or only at the end, has fewer rows. A figure, the metrics and the claims are pure functions of a History.

    weights: name -> (R, ...) what has been trained, {} until a phase has ended. asked, device: the engine that was
    asked for (None: the best one), and where. sent: what was sent into the simulation, each with the step of that;
    first_configs: the settings before.

    Memory: a quantity of PICTURE or more numbers per run (a map, a point cloud) is a picture. Once all rows take more
    than MEMORY bytes, every second row of the largest picture is let go of, again and again; its first and its newest
    row stay. So metrics may rest on the whole course of any smaller quantity, and on a picture's first and last row.

    >>> history = find("label_noise").run(seeds=(3, 4))
    >>> history["w2"].shape == (len(history.at("w2")), 2)
    True
    """

    def __init__(self, experiment: str, configs: Sequence[Any], seeds: Sequence[int]) -> None:
        self.experiment = experiment
        self.configs = tuple(configs)
        self.seeds = tuple(seeds)
        self.step = 0
        self.total = 0
        self.diverged: Array = np.full(len(self.seeds), -1)
        self.engines: tuple[str, ...] = ()
        self.weights: Mapping[str, Array] = {}
        self.asked: str | None = None
        self.device = "cpu"
        self.sent: tuple[tuple[int, str | Live], ...] = ()
        self.first_configs = self.configs
        self._rows: dict[str, list[Array]] = {}
        self._steps: dict[str, list[int]] = {}
        self._bytes = 0  # of all rows
        self._every: dict[str, int] = {}  # of a thinned picture, each so-manyth row is kept
        self._taken: dict[str, int] = {}  # rows of it so far, with those not kept
        self._let_go: set[int] = set()  # steps at which a row is missing

    def __repr__(self) -> str:
        """What was trained, how far it is, and what was measured, on one screen."""
        seeds = f"seed {self.seeds[0]}" if len(self.seeds) == 1 else f"{len(self.seeds)} runs"
        lines = [f"History of {self.experiment}: {seeds}, step {self.step:,} of {self.total:,}"]
        if lost := int((np.asarray(self.diverged) >= 0).sum()):
            lines[0] += f", {lost} diverged"
        for name, rows in list(self._rows.items()):
            lines.append(f"  {name}: {len(rows)} rows of {' x '.join(map(str, np.shape(rows[0])))}")
        return "\n".join(lines)

    @property
    def config(self) -> Any:
        """The settings of the first run (of all runs, unless this is a sweep)."""
        return self.configs[0]

    @property
    def done(self) -> bool:
        """Whether the last frame of the simulation is in."""
        return self.total > 0 and self.step >= self.total

    @property
    def engine(self) -> str:
        """What trained: "xla", "recorded" or "eager"; several, joined by commas, where phases differ.

        "eager" too where a simulation has a loop of its own.
        """
        return ", ".join(self.engines) or "eager"

    @property
    def nbytes(self) -> int:
        """Bytes that all rows take."""
        return self._bytes

    @property
    def steps(self) -> list[int]:
        """The steps at which something was measured and nothing has been let go of, in order, without repetition."""
        with _TAKING:
            return sorted(set().union(*self._steps.values()) - self._let_go)

    def append(self, frame: Frame) -> None:
        """Take over a frame's values; InputError for what is no frame, or has no number for each run."""
        given: Any = frame  # of anybody's code
        if not isinstance(given, Frame):
            got = type(given).__name__
            raise InputError(f"{self.experiment} must yield frames, as `train` does; got {got}.", "simulate")
        values: Any = given.values
        if not isinstance(values, Mapping):
            got = type(values).__name__
            raise InputError(f"{self.experiment} must measure a dict, name -> (R, ...); got {got}.", "simulate")
        rows = {name: self._row(name, frame.step, value) for name, value in values.items()}
        with _TAKING:
            self.step, self.total, self.diverged = frame.step, frame.total, frame.diverged
            if frame.engine and frame.engine not in self.engines:
                self.engines += (frame.engine,)
            if frame.weights and all(len(value) == len(self.seeds) for value in frame.weights.values()):
                self.weights = frame.weights  # others are those of a training beside it
            for name, row in rows.items():
                self._take(name, frame.step, row)
        self.keep_within(MEMORY)

    def keep_within(self, size: int) -> None:
        """Thin its pictures, for as long as all rows take more than so many bytes and a picture has rows to spare."""
        with _TAKING:
            while self._bytes > size and self._thin_largest():
                pass

    def note(self, sent: str | Live) -> None:
        """This is sent into the simulation now. If something else is watched from here on, the settings say so."""
        self.sent += ((self.step, sent),)
        if isinstance(sent, Live):
            self.configs = tuple(dataclasses.replace(config, **sent.values) for config in self.configs)

    def _row(self, name: str, step: int, value: Any) -> Array:
        """A measured value as an array with the leading run axis."""
        row = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        if row.shape[:1] != (len(self.seeds),):
            runs = f"the first axis must be that of the runs, here ({len(self.seeds)}, ...)"
            raise InputError(f"{name!r} of {self.experiment} has the shape {row.shape} at step {step}: {runs}.", name)
        if row.dtype.kind not in "biuf" or not isinstance(name, str):
            got = f"{row.dtype} under {name!r}"
            raise InputError(f"{self.experiment} must measure real numbers, each under a text; got {got}.", str(name))
        return row

    def _take(self, name: str, step: int, row: Array) -> None:
        rows, steps = self._rows.setdefault(name, []), self._steps.setdefault(name, [])
        if name in self._every:
            if (self._taken[name] - 1) % self._every[name]:
                self._let_go.add(steps.pop())  # it was kept only as the newest
                self._bytes -= rows.pop().nbytes
            self._taken[name] += 1
        rows.append(row)
        steps.append(step)
        self._bytes += row.nbytes

    def _thin_largest(self) -> bool:
        """Let go of every second row of the picture that takes most; False where no picture has a row to spare."""
        pictures = [name for name, rows in self._rows.items() if len(rows) > 2 and rows[0][0].size >= PICTURE]
        if not pictures:
            return False
        name = max(pictures, key=lambda name: len(self._rows[name]) * self._rows[name][0].nbytes)
        rows, steps = self._rows[name], self._steps[name]
        self._taken.setdefault(name, len(rows))
        self._every[name] = 2 * self._every.get(name, 1)
        kept = [*range(0, len(rows) - 1, 2), len(rows) - 1]
        self._let_go |= set(steps) - {steps[k] for k in kept}
        self._bytes -= sum(row.nbytes for row in rows) - sum(rows[k].nbytes for k in kept)
        self._rows[name], self._steps[name] = [rows[k] for k in kept], [steps[k] for k in kept]
        return True

    def until(self, step: int) -> "History":
        """What was known after `step`: a history cut there, with the same arrays. It is done only at the very end.

        May be called from another thread while this history grows; the cut one grows no more.
        """
        cut = History(self.experiment, self.configs, self.seeds)
        with _TAKING:
            cut._began_as(self)
            cut.step, cut.total = min(step, self.step), self.total
            cut.sent = tuple(each for each in self.sent if each[0] <= step)
            cut.weights = self.weights if step >= self.step else {}
            cut.diverged = np.where(self.diverged > step, -1, self.diverged)
            for name, steps in self._steps.items():
                if known := bisect_right(steps, step):
                    cut._rows[name], cut._steps[name] = self._rows[name][:known], steps[:known]
            cut._let_go = {missing for missing in self._let_go if missing <= step}
        cut._bytes = sum(row.nbytes for rows in cut._rows.values() for row in rows)
        return cut

    def _began_as(self, other: "History") -> None:
        """What trains it, as in another history."""
        self.engines, self.asked, self.device = other.engines, other.asked, other.device
        self.first_configs, self.sent = other.first_configs, other.sent

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
        return self.runs(range(r, r + 1))

    def runs(self, which: range) -> "History":
        """These neighbouring runs, with the same arrays. May be called from another thread while this history grows."""
        part = slice(which.start, which.stop)
        some = History(self.experiment, self.configs[part], self.seeds[part])
        with _TAKING:
            some._began_as(self)
            some.step, some.total, some.diverged = self.step, self.total, self.diverged[part]
            some.first_configs = self.first_configs[part]
            some.weights = {name: value[part] for name, value in self.weights.items()}
            some._rows = {name: [row[part] for row in rows] for name, rows in self._rows.items()}
            some._steps = {name: list(steps) for name, steps in self._steps.items()}
            some._let_go = set(self._let_go)
        some._bytes = sum(row.nbytes for rows in some._rows.values() for row in rows)
        return some

    def to_xarray(self) -> "xr.Dataset":
        """All quantities with dims (step, run, ...); NaN where a quantity was not measured at a step.

        Where two phases meet, both measure the same step: the value of the later one is kept.
        """
        import xarray as xr  # takes a while to load, and only this needs it

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
        dataset.attrs["engine"] = self.engine
        dataset.attrs["finished"] = int(self.done)
        return dataset
