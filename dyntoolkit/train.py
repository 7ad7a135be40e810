"""Training from a script: pull a simulation to its end, and train many (settings, seed) pairs side by side."""

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import numpy as np

from dyntoolkit.claims import Array
from dyntoolkit.config import Config
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.experiment import Experiment
from dyntoolkit.judge import more_seeds, run_metrics

Job = tuple[Config, int]  # settings and seed of one run
Watch = Callable[[str, Frame], None]  # called with what is trained (in words) and every frame


def pull(history: History, frames: Iterable[Frame], watch: Callable[[Frame], None]) -> None:
    """Append all frames to the history; KeyboardInterrupt after a whole frame, so what is there is consistent."""
    with _interrupts() as asked:
        for frame in frames:
            history.append(frame)
            watch(frame)
            if asked:
                raise KeyboardInterrupt


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of raising; the second one raises KeyboardInterrupt at once."""
    asked: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def loops(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs grouped into those that can share one training loop: they agree on all structural fields."""
    groups: dict[tuple[object, ...], list[Job]] = {}
    for config, seed in jobs:
        structural = [name for name, control in config.controls().items() if control.structural]
        key = (type(config), *[getattr(config, name) for name in structural])
        groups.setdefault(key, []).append((config, seed))
    return list(groups.values())


def train(experiment: Experiment, jobs: Sequence[Job], watch: Watch) -> dict[Job, dict[str, float]]:
    """The metrics of every job (name -> number, NaN for a diverged run), trained with as few loops as possible."""
    done: dict[Job, dict[str, float]] = {}
    groups = loops(jobs)
    for i, group in enumerate(groups, 1):
        label = f"runs for the claims, loop {i}/{len(groups)}"
        history, frames = experiment.start([config for config, _ in group], [seed for _, seed in group])
        pull(history, frames, lambda frame, label=label: watch(label, frame))  # type: ignore[misc]
        metrics = run_metrics(experiment, history)
        for r, job in enumerate(group):
            done[job] = {name: float(array[r]) for name, array in metrics.items()}
    return done


def train_needed(
    experiment: Experiment, plan: Mapping[Config, int], history: History, watch: Watch
) -> dict[Config, dict[str, Array]]:
    """Train what a plan (see `judge.needs`) asks for beyond a finished history; settings -> metrics, name -> (R,).

    The first runs of every entry are those of the history's seeds, as `judge.judge` wants them.
    """
    seeds = {config: more_seeds(history.seeds, least) for config, least in plan.items()}
    own = run_metrics(experiment, history)
    known = {
        (history.config, seed): {name: float(array[r]) for name, array in own.items()}
        for r, seed in enumerate(history.seeds)
    }
    jobs = [(config, seed) for config in plan for seed in seeds[config] if (config, seed) not in known]
    rows = {**known, **train(experiment, jobs, watch)}
    return {config: _columns([rows[config, seed] for seed in seeds[config]]) for config in plan}


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, Array]:
    """The metrics of runs of the same settings, name -> (R,); other settings may have other metrics."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
