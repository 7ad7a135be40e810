"""One batch of a sweep: runs that share a loop, trained wherever an executor puts them, as the bytes of a file."""

import functools
import io
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]

from dyntoolkit.catalog.course import course, course_label
from dyntoolkit.catalog.parcel import Parcel, unpack
from dyntoolkit.catalog.source_hash import source_hash, versions
from dyntoolkit.engine.choice import asking, check_asked
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.own_state import one_thread
from dyntoolkit.errors import InputError, problem_words
from dyntoolkit.experiment import Experiment, run_metrics, to_the_end
from dyntoolkit.experiment.judging import DIVERGED

Variable = tuple[tuple[str, ...], np.ndarray]  # names of its dimensions, and values

COPIES = 4  # of its curves that a process holds while it writes them


@dataclass(frozen=True)
class Batch:
    """What a process needs to know to train a batch.

    settings, seeds, cells: of each run; a cell is its place in the grid. dimensions: of the grid. curves: whether to
    keep them beside the metrics. engine: that trains, None for the best one. source:
    the hash that the experiment must have there, "" if it is sent along.
    """

    parcel: Parcel
    source: str
    versions: Mapping[str, str]
    settings: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...]
    cells: tuple[int, ...]
    dimensions: tuple[str, ...]
    curves: bool
    engine: str | None


@dataclass(frozen=True)
class Trained:
    """What became of a batch. content: the netCDF file, b"" if it failed, and `error` says why.

    memory: bytes that the process takes. nbytes: those that a run needs beside. seconds: of a run among these.
    """

    content: bytes = b""
    error: str = ""
    memory: int = 0
    nbytes: int = 0
    seconds: float = 0.0


def train_batch(batch: Batch) -> Trained:
    """Train a batch. Whatever the experiment raises is the error of what became of it.

    Raises InputError where nothing can be trained: the experiment or the engine is not there, or is another one.
    """
    experiment, asked = _experiment(batch), check_asked(batch.engine)
    try:
        with one_thread(), asking(asked):
            return _trained(experiment, batch)
    except Exception as problem:  # of anybody's code
        return Trained(error=problem_words(problem))


def _experiment(batch: Batch) -> Experiment:
    """The experiment; InputError if this process would do something else than the one that asks."""
    here = versions()
    for name, wanted in batch.versions.items():
        if here[name] != wanted:
            has = f"has {name} {here[name]}" if here[name] else f"has no {name}"
            raise InputError(
                f"the worker on {socket.gethostname()} {has}, and the sweep needs {wanted or 'none'}.", name
            )
    experiment = unpack(batch.parcel)
    if batch.source and _source(batch.parcel) != batch.source:
        raise InputError(f"the worker on {socket.gethostname()} has another source of {experiment.name}.", "experiment")
    return experiment


@functools.lru_cache(maxsize=8)
def _source(parcel: Parcel) -> str:
    return source_hash(unpack(parcel))


class _Clock:
    """How long a run takes, by a share of its steps: the first frames wait for a program to be compiled."""

    def __init__(self) -> None:
        self.begin = self.end = time.perf_counter()
        self.first, self.last, self.total = 0, 0, 1

    def watch(self, frame: Frame) -> None:
        """See a frame."""
        self.end = time.perf_counter()
        self.last, self.total = frame.step, frame.total
        if not self.first:
            self.begin, self.first = self.end, frame.step

    @property
    def seconds(self) -> float:
        """Of the whole training."""
        return (self.end - self.begin) * self.total / max(1, self.last - self.first)


def _trained(experiment: Experiment, batch: Batch) -> Trained:
    configs = [experiment.config(**settings) for settings in batch.settings]
    begin, clock = time.perf_counter(), _Clock()
    history = to_the_end(*experiment.start(configs, batch.seeds), clock.watch)
    found = run_metrics(experiment, history)
    nbytes = history.nbytes * (COPIES if batch.curves else 1) // len(configs)
    content = _file(history, found, batch)
    seconds = min(clock.seconds, time.perf_counter() - begin) / len(configs)
    return Trained(content, "", psutil.Process().memory_info().rss, nbytes, seconds)


def _file(history: History, found: Mapping[str, np.ndarray], batch: Batch) -> bytes:
    """The metrics and, if asked for, the curves of a batch as the bytes of a netCDF file.

    A curve has dimensions and steps of its own: in the whole sweep they may be others.
    """
    import h5netcdf  # by itself: within a worker of Dask, xarray asks the scheduler for a lock to write with

    names = [name for name in found if name != DIVERGED]
    values = np.array([found[name] for name in names], dtype=np.float64).reshape(len(names), len(batch.cells))
    variables: dict[str, Variable] = {
        "cell": (("run",), np.array(batch.cells)),
        "metrics": (("run", "metric"), values.T),
        "diverged_at": (("run",), np.asarray(found[DIVERGED], dtype=np.float64)),
    }
    curves = [course_label(name, batch.dimensions) for name in history.names()] if batch.curves else []
    for label, name in zip(curves, history.names(), strict=False):
        steps, rows = course(history, name)
        along = (f"steps of {label}", *(f"axis {k} of {label}" for k in range(rows.ndim - 2)))
        variables[along[0]] = (along[:1], steps)
        variables[label] = (("run", *along), np.moveaxis(rows if rows.dtype.kind == "f" else rows.astype(float), 1, 0))
    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        for name, (dimensions, data) in variables.items():
            for dimension, size in zip(dimensions, data.shape, strict=True):
                if dimension not in file.dimensions:
                    file.dimensions[dimension] = size
            file.create_variable(name, dimensions, data.dtype, data=data)
        file.attrs["metrics"], file.attrs["curves"] = json.dumps(names), json.dumps(curves)
        file.attrs["engine"] = history.engine
    return content.getvalue()
