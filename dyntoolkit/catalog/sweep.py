"""`sweep`: a grid of settings and seeds in batches, over many processes, in a directory that survives them."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from tqdm import tqdm

from dyntoolkit.catalog.batch import Batch, Trained, train_batch
from dyntoolkit.catalog.batches import batches
from dyntoolkit.catalog.grid import Grid, grid_of, is_list
from dyntoolkit.catalog.local_workers import local_workers
from dyntoolkit.catalog.open_sweep import open_sweep
from dyntoolkit.catalog.parcel import Parcel, pack
from dyntoolkit.catalog.source_hash import source_hash, versions
from dyntoolkit.catalog.sweep_store import SweepStore
from dyntoolkit.engine.choice import check_asked
from dyntoolkit.errors import InputError, as_number, problem_words, unknown
from dyntoolkit.experiment import Experiment, loops
from dyntoolkit.experiment.training import Run

MOST_RUNS = 100_000
MEMORY = 1e9  # bytes of the records of a batch
FIRST = 8  # runs of the first batch, by which the others are measured
TOGETHER = 32  # runs of a batch at most: more of them are hardly faster, and leave other processors with nothing to do


@dataclass(frozen=True)
class Estimate:
    """What is left of a sweep once its first batch has been trained.

    runs: those that are left. seconds: that they take one after the other. memory: bytes of each process.
    """

    runs: int
    seconds: float
    memory: float


def sweep(
    experiment: str | Experiment,
    grid: Mapping[str, Sequence[Any]],
    seeds: Any = 1,
    *,
    out: str | Path,
    executor: Executor | None = None,
    metrics: Sequence[str] | None = None,
    curves: bool = False,
    memory: float = MEMORY,
    engine: str | None = None,
    preset: str | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Train every combination of the values of a grid for every seed, in batches, and keep each in a directory.

    experiment: its name, a file such as "my_file.py", or the object. grid: field -> its values. seeds: how many
    (0, 1, ...), or a list of them. out: the directory, empty or yet to be made; if it holds this very sweep,
    interrupted, what is left of it is trained. executor: any concurrent.futures.Executor, such as that of a Dask
    client (`client.get_executor()`); default: a process for each processor, of one thread. metrics: the names of those
    to return (default: all). curves: whether to keep what was recorded, too. memory: bytes that the records of a
    batch may take. engine: "xla", "recorded" or "eager" (default: the best that the step allows). preset,
    settings: all other settings.

    Returns what `open_sweep` does. Runs of a batch that fails are NaN, and a warning says why.

    Raises InputError for wrong input, and for a directory that holds anything else; KeyboardInterrupt, or
    BrokenExecutor if the workers have gone, with a note on how to go on.

    >>> import tempfile
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as executor:
    ...     grid = {"noise_std": [0.0, 2.0], "width": [16, 32]}
    ...     runs = sweep("label_noise.linear", grid, seeds=3, steps=500, out=folder, executor=executor)
    >>> dict(runs["metrics"].sel(metric="w2_ratio").sizes)
    {'noise_std': 2, 'width': 2, 'seed': 3}
    """
    given: Any = executor  # of anybody's code
    if executor is not None and not isinstance(given, Executor):
        raise InputError(f"executor takes a concurrent.futures.Executor, got {given!r}.", "executor")
    planned = Sweep(pack(experiment), grid, seeds, out, curves, memory, engine, preset, settings)
    with local_workers() if executor is None else nullcontext(executor) as pool:
        planned.train(pool, metrics)
    if failures := planned.failures():
        warnings.warn(failures, RuntimeWarning, stacklevel=2)
    return planned.found(metrics)


class Sweep:
    """A sweep that is about to be trained. packed: its experiment, by `pack`; the others are those of `sweep`."""

    def __init__(
        self,
        packed: tuple[Experiment, Parcel],
        grid: Mapping[str, Sequence[Any]],
        seeds: Any,
        out: str | Path,
        curves: bool,
        memory: float,
        engine: str | None,
        preset: str | None,
        settings: Mapping[str, Any],
    ) -> None:
        self.memory, self.curves, self.engine = _bytes(memory), curves, check_asked(engine).engine
        self.experiment, self._parcel = packed
        self.grid = _grid(self.experiment, preset, grid, settings, seeds)
        self.store = SweepStore(out)
        self.finished: set[int] = set()  # numbers of batches
        self._source, self._versions = source_hash(self.experiment), versions()
        self._cells = {run: cell for cell, run in enumerate(self.grid.runs)}
        self._batches: list[Sequence[Run]] = [_by_loop(self.grid)[0][:FIRST]]  # to begin with

    def train(
        self,
        executor: Executor,
        metrics: Sequence[str] | None = None,
        agree: Callable[[Estimate], None] = lambda estimate: None,
    ) -> None:
        """Train what is left. agree: sees an estimate of it after the first batch, and may raise InputError."""
        with self.store.begun(self._manifest()):
            self.finished = set(self.store.finished())
            self._pack()
            total, done = len(self._cells), self.runs_finished
            with tqdm(total=total, initial=done, desc=self.experiment.name, unit="run", disable=None) as bar:
                try:
                    self._train(executor, {0} - self.finished, bar)
                    if metrics is not None:
                        self.found(metrics)  # refuses a metric that there is not
                    self._pack()
                    agree(self._estimate())
                    self._train(executor, set(range(1, len(self._batches))) - self.finished, bar)
                except (KeyboardInterrupt, BrokenExecutor) as end:
                    kept = f"{self.runs_finished} of {total} runs are finished and stay in {self.store.folder}"
                    end.add_note(f"{kept}; the same sweep, begun again, goes on from there.")
                    raise

    @property
    def runs_finished(self) -> int:
        """How many runs are in files."""
        return sum(len(self._batches[number]) for number in self.finished)

    def failures(self) -> str:
        """How many batches failed, and why the first of them did; "" where none did."""
        failed = [each["error"] for each in self.store.failed().values()]
        return f"{len(failed)} of {len(self._batches)} batches failed, the first one by {failed[0]}" if failed else ""

    def found(self, metrics: Sequence[str] | None) -> xr.Dataset:
        """What there is, with these metrics only (default: all); InputError for a metric that no run has."""
        found = open_sweep(self.store.folder)
        if metrics is not None and not is_list(metrics):
            raise InputError(f"metrics takes a list of names, got {metrics!r}.", "metrics")
        known = found["metric"].values.tolist()
        if metrics is None or not known:
            return found
        for name in metrics:
            if name not in known:
                raise unknown("metric", name, known)
        return found.sel(metric=list(metrics))

    def _manifest(self) -> dict[str, Any]:
        sliders = self.experiment.config.sliders()
        return {
            "experiment": self.experiment.name,
            "grid": {
                name: {"values": list(values), "label": sliders[name].label, "unit": sliders[name].unit}
                for name, values in self.grid.listed.items()
            },
            "seeds": list(self.grid.seeds),
            "config": self.grid.shared,
            "curves": self.curves,
            "memory": self.memory,
            "engine": self.engine,
            "versions": self._versions,
            "source": self._source,
        }

    def _pack(self) -> None:
        """Put the other runs into batches as well, if the first one has shown how many go together."""
        measured = self.store.manifest().get("measured")
        if measured is not None:
            largest, *groups = _by_loop(self.grid)
            rest = [group for group in (largest[FIRST:], *groups) if group]
            self._batches = [
                largest[:FIRST],
                *(each for group in rest for each in batches(group, measured["together"])),
            ]

    def _train(self, executor: Executor, numbers: set[int], bar: "tqdm[Any]") -> None:
        """Train the batches of these numbers, and keep each as soon as it is there."""
        try:
            futures = {executor.submit(train_batch, self._batch(number)): number for number in sorted(numbers)}
        except BrokenExecutor:
            raise
        except RuntimeError as closed:
            raise InputError(f"executor takes no work: {closed}.", "executor") from closed
        try:
            for future in as_completed(futures):
                number = futures.pop(future)  # and with it what it holds
                self._keep(number, _outcome(future, first=number == 0))
                bar.update(len(self._batches[number]))
        finally:
            for future in futures:
                future.cancel()

    def _batch(self, number: int) -> Batch:
        runs = self._batches[number]
        return Batch(
            parcel=self._parcel,
            source=self._source if self._parcel.target else "",
            versions=self._versions,
            settings=tuple(config.asdict() for config, _ in runs),
            seeds=tuple(seed for _, seed in runs),
            cells=tuple(self._cells[run] for run in runs),
            dimensions=(*self.grid.listed, "seed"),
            curves=self.curves,
            engine=self.engine,
        )

    def _keep(self, number: int, trained: Trained) -> None:
        """Put what became of a batch into the directory."""
        if number == 0 and "measured" not in self.store.manifest():
            # before the batch is there: if the sweep is interrupted, the others must stay what they are
            together = FIRST if trained.error else min(TOGETHER, max(1, int(self.memory // max(1, trained.nbytes))))
            memory = trained.memory + trained.nbytes * together
            self.store.measure(together=together, seconds=trained.seconds, memory=memory)
        if trained.error:
            self.store.fail(number, [self._cells[run] for run in self._batches[number]], trained.error)
        else:
            self.store.keep(number, trained.content)
            self.finished.add(number)

    def _estimate(self) -> Estimate:
        measured = self.store.manifest()["measured"]
        left = len(self._cells) - self.runs_finished
        return Estimate(left, left * measured["seconds"], measured["memory"])


def _bytes(memory: float) -> float:
    found = as_number(memory)
    if found is None or not 0 < found < math.inf:
        raise InputError(f"memory takes a number of bytes above 0, got {memory!r}.", "memory")
    return found


def _grid(
    experiment: Experiment, preset: str | None, listed: Mapping[str, Any], single: Mapping[str, Any], seeds: Any
) -> Grid:
    """The grid; InputError for what is none."""
    given: Any = listed  # of anybody's code
    if not isinstance(given, Mapping):
        raise InputError(f"grid takes a dict, field -> its values; got {given!r}.", "grid")
    for name, values in listed.items():
        if not isinstance(name, str):
            raise unknown("field", name, experiment.config.sliders())
        if not is_list(values):
            raise InputError(f"{name}: a grid takes a list of values, got {values!r}.", name)
        if name in single:
            raise InputError(f"{name} is a dimension of the grid, and cannot be set as well.", name)
    return grid_of(experiment, preset, listed, single, seeds, MOST_RUNS)


def _by_loop(grid: Grid) -> list[list[Run]]:
    """The runs that may share a loop; first those with the largest sizes and step counts, which take most memory."""

    def size(group: Sequence[Run]) -> tuple[float, ...]:
        config, _ = group[0]
        values = [getattr(config, name) for name, slider in config.sliders().items() if slider.structural]
        return tuple(value for value in values if isinstance(value, int | float))

    return sorted(loops(grid.runs), key=size, reverse=True)


def _outcome(future: "Future[Trained]", *, first: bool) -> Trained:
    """What became of a batch; an exception where that concerns all of them."""
    try:
        return future.result()
    except (InputError, BrokenExecutor):
        raise
    except CancelledError as end:
        raise BrokenExecutor("the workers do not answer any more.") from end
    except Exception as problem:  # of the executor, such as of one whose worker has died of it several times
        if first:
            raise InputError(f"no worker can train a batch: {problem_words(problem)}", "executor") from problem
        return Trained(error=problem_words(problem))
