"""What a sweep costs: many settings against one, several processes against one, batches that do nothing, memory.

The parts: settings (256 learning rates of loss_spikes.mlp against one run, in one process), processes (16 batches of
label_noise.linear on two processes against one, and the same through Dask), empty (what a batch costs that trains
nothing), memory (1,024 and 4,096 runs with curves). Name some of them to measure only these.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from _spread import machine, spread

import dyntoolkit as dt
from dyntoolkit.catalog.local_workers import local_workers
from dyntoolkit.catalog.registry import find
from dyntoolkit.catalog.sweep import FIRST, TOGETHER
from dyntoolkit.engine.history import Frame

RUNS = FIRST + 16 * TOGETHER  # of 16 batches, after the first one


class Idle(dt.Config):
    """What does a sweep cost that trains nothing?"""

    lr: float = dt.number(0.0, 0.0, 1.0)
    width: int = dt.number(1, 1, 1000, structural=True)
    frames: int = dt.number(2, 2, 10_000, structural=True)


def simulate(configs: Sequence[Idle], seeds: Sequence[int]) -> Iterator[Frame]:
    """Zeros, (R, width), at so many steps."""
    zeros = np.zeros((len(seeds), configs[0].width))
    for step in range(configs[0].frames):
        yield Frame(step, configs[0].frames - 1, {"x": zeros.copy()}, np.full(len(seeds), -1))


IDLE = dt.Experiment("idle", Idle, simulate)
HERE = f"{Path(__file__).resolve()}:IDLE"  # by which other processes find it


def swept(experiment: str, grid: Mapping[str, Sequence[float]], executor: Executor, **more: Any) -> float:
    """Seconds of a sweep into a new directory."""
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        dt.sweep(experiment, grid, out=out, executor=executor, **more)
        return time.perf_counter() - begin


@contextmanager
def dask_workers(count: int) -> Iterator[Executor]:
    """A scheduler and so many workers of Dask, each a process of this machine."""
    from distributed import Client

    with ExitStack() as closing, tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "scheduler.json"
        where = ("--scheduler-file", str(address))
        _run(closing, "scheduler", *where, "--host", "127.0.0.1", "--port", "0", "--no-show")
        while not address.exists():
            time.sleep(0.1)
        for _ in range(count):
            _run(closing, "worker", *where, "--no-nanny", "--nthreads", "1")
        client = closing.enter_context(Client(scheduler_file=str(address), timeout=60))
        client.wait_for_workers(count)
        yield client.get_executor(pure=False)


def _run(closing: ExitStack, *words: str) -> None:
    command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    closing.callback(process.wait)
    closing.callback(process.terminate)


def settings(repeats: int) -> None:
    """256 settings against one, in one process."""
    name, ratios, seconds = "loss_spikes.mlp", [], []
    slider = find(name).config.sliders()["lr"]
    rates = np.geomspace(slider.low, slider.high, 256).tolist()
    with local_workers(1) as executor:
        swept(name, {"lr": rates[:70]}, executor)  # compiles the programs of the first batch and of the others
        swept(name, {"lr": rates[:1]}, executor)
        for _ in range(repeats):
            one = swept(name, {"lr": rates[128:129]}, executor)
            seconds.append(swept(name, {"lr": rates}, executor))
            ratios.append(seconds[-1] / one)
    print(f"256 settings of {name} in one process: {spread(seconds, 's', 1)}")
    print(f"256 settings against one: {spread(ratios, 'times', 1)}   (to reach: 40)", flush=True)


def processes(repeats: int) -> None:
    """16 batches on two processes against one, in turns."""
    kinds = {"one process": local_workers(1), "two local processes": local_workers(2), "Dask": dask_workers(2)}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    name, more = "label_noise.linear", {"steps": 5000}
    values = np.linspace(0, 2, RUNS).tolist()
    with ExitStack() as running:
        executors = {kind: running.enter_context(workers) for kind, workers in kinds.items()}
        for executor in executors.values():
            swept(name, {"noise_std": values[: FIRST + 2 * TOGETHER]}, executor, **more)  # each loads what it needs
        for _ in range(repeats):
            for kind, executor in executors.items():
                seconds[kind].append(swept(name, {"noise_std": values}, executor, **more))
    for kind, taken in seconds.items():
        print(f"16 batches, {kind}: {spread(taken, 's', 1)}")
    for kind, reach in (("two local processes", 1.8), ("Dask", 1.7)):
        ratios = [one / two for one, two in zip(seconds["one process"], seconds[kind], strict=True)]
        print(f"{kind} against one: {spread(ratios, 'times', 2)}   (to reach: {reach})", flush=True)


def empty(repeats: int) -> None:
    """What a batch costs that trains nothing, of a hundred."""
    for kind, workers, reach in (("local", local_workers(1), 50), ("Dask", dask_workers(1), 100)):
        with workers as executor:
            swept(HERE, {"width": [1, 2]}, executor)
            grid = {"width": range(1, 101)}
            taken = [1000 * swept(HERE, grid, executor) / 100 for _ in range(repeats)]
        print(f"a batch that trains nothing, {kind}: {spread(taken, 'ms', 1)}   (to reach: {reach})", flush=True)


def memory(repeats: int) -> None:
    """The largest memory of all processes in a sweep with curves of 200 kB a run."""
    for runs in (1024, 4096):
        taken, grid = [], {"lr": np.linspace(0, 1, runs).tolist()}
        for _ in range(repeats):
            with local_workers(2) as executor, _watched() as peak:
                swept(HERE, grid, executor, curves=True, width=25, frames=1000)
            taken.append(peak[0] / 1e9)
        print(f"{runs:,} runs with curves: memory: {spread(taken, 'GB', 2)}   (to reach: 2, for 4,096)", flush=True)


@contextmanager
def _watched() -> Iterator[list[float]]:
    """The largest memory so far of this process and its children, in bytes; what they share is counted once."""
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]
            with suppress(psutil.NoSuchProcess):
                peak[0] = max(peak[0], sum(each.memory_full_info().pss for each in everyone))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peak
    finally:
        ended.set()
        watching.join()


PARTS = {part.__name__: part for part in (settings, processes, empty, memory)}


def main() -> None:
    """Print the figures of all parts, or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.parts or PARTS:
        print(machine())
        PARTS[name](options.repeats)


if __name__ == "__main__":
    main()
