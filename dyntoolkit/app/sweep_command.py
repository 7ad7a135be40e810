"""`dyntoolkit sweep`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyntoolkit.app.data_file import with_file
from dyntoolkit.app.setting_options import setting_options
from dyntoolkit.errors import InputError, whole_number

if TYPE_CHECKING:  # these import torch: only where something is trained
    from dyntoolkit.catalog.sweep import Estimate

FAILED, STOPPED = 3, 130
HOUR = 3600.0  # seconds that a sweep may take without --yes
ANSWER = 10  # seconds within which a scheduler must answer
MOST_WORKERS = 1000


def sweep_options(sweep: argparse.ArgumentParser) -> None:
    """The options of `dyntoolkit sweep`."""
    sweep.add_argument("name", metavar="NAME", help="experiment, or my_file.py, or package.module:NAME, as for `run`")
    sweep.add_argument(
        "--grid",
        action="append",
        required=True,
        metavar="FIELD=VALUES",
        help="a dimension: 0.9,0.99 or 0:1:5 (5 values from 0 to 1) or 0.001:0.1:log8 (8 logarithmic ones)",
    )
    sweep.add_argument("--seeds", metavar="N", default="1", help="the seeds 0 to N-1 of each setting (default: 1)")
    sweep.add_argument("--out", metavar="DIR", required=True, help="directory of the sweep; the same command goes on")
    setting_options(sweep)
    sweep.add_argument("--metric", nargs="+", action="extend", metavar="M", help="print these metrics (default: all)")
    sweep.add_argument("--curves", action="store_true", help="keep what was recorded, too")
    sweep.add_argument("--workers", metavar="N", help="processes (default: one for each processor)")
    sweep.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="train on the workers of this Dask scheduler")
    sweep.add_argument("--yes", action="store_true", help="train even if that takes more than an hour")


def sweep_command(options: argparse.Namespace, settings: dict[str, str]) -> int:
    """`dyntoolkit sweep`: train in batches, keep, print. settings: of --set."""
    from tqdm import tqdm

    from dyntoolkit.app.sweep_table import sweep_text
    from dyntoolkit.catalog.parcel import pack
    from dyntoolkit.catalog.sweep import MEMORY, Sweep

    if options.workers and options.scheduler:
        raise InputError("--workers are processes here, and --scheduler has its own: give one of the two.", "workers")
    packed = pack(options.name)
    if options.file is not None:
        packed = pack(with_file(packed[0], Path(options.file)))
    grid = _grid(options.grid, packed[0].config)
    sweep = Sweep(
        packed, grid, options.seeds, options.out, options.curves, MEMORY, options.engine, options.preset, settings
    )

    def agree(estimate: "Estimate") -> None:
        seconds = estimate.seconds / workers
        if estimate.runs:
            size = f"{estimate.memory / 1e9:.1f} GB each, workers: {workers}"
            tqdm.write(f"dyntoolkit: {estimate.runs} runs are left: about {_time(seconds)}, {size}.", file=sys.stderr)
        if seconds > HOUR and not options.yes:
            raise InputError(f"the sweep takes about {_time(seconds)}: add --yes, if that is meant.", "yes")

    try:
        with _dask(options.scheduler) if options.scheduler else _local(options.workers) as (executor, workers):
            sweep.train(executor, options.metric, agree)
    except (KeyboardInterrupt, BrokenExecutor) as end:
        stopped = isinstance(end, KeyboardInterrupt)
        words = "stopped" if stopped else str(end).rstrip(".")
        print(f"dyntoolkit: {'; '.join([words, *getattr(end, '__notes__', ())])}", file=sys.stderr)
        return STOPPED if stopped else FAILED
    runs = sweep.found(options.metric)
    print(sweep_text(runs))
    if failures := sweep.failures():
        print(f"dyntoolkit: {failures}", file=sys.stderr)
    return FAILED if failures else 0


def _grid(texts: Sequence[str], config: Any) -> dict[str, list[Any]]:
    from dyntoolkit.app.grid_axis import grid_axis

    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, values = grid_axis(text, config)
        if name in grid:
            raise InputError(f"--grid {name} is given more than once.", name)
        grid[name] = values
    return grid


@contextmanager
def _local(count: str | None) -> Iterator[tuple[Executor, int]]:
    """Processes of this machine, and how many there are."""
    from dyntoolkit.catalog.local_workers import cores, local_workers

    workers = cores() if count is None else whole_number("--workers", count, 1, MOST_WORKERS)
    with local_workers(workers) as executor:
        yield executor, workers


@contextmanager
def _dask(address: str) -> Iterator[tuple[Executor, int]]:
    """The workers of a Dask scheduler, and how many there are just now."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError('--scheduler needs Dask: pip install "dyntoolkit[dask]".', "scheduler") from None
    try:
        client = Client(address, timeout=ANSWER)
    except (OSError, ValueError) as problem:
        sentence = f"--scheduler: no Dask scheduler answers at {address} within {ANSWER} s."
        raise InputError(sentence, "scheduler") from problem
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            print("dyntoolkit: note: the scheduler has no workers yet; the sweep waits for them.", file=sys.stderr)
        yield client.get_executor(pure=False), max(1, threads)


def _time(seconds: float) -> str:
    """A duration in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 1.5 * HOUR else f"{seconds / HOUR:.1f} h"
