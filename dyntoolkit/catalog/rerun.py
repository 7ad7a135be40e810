"""Training a run again from what one of its files says, and how far its numbers are from those in the file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dyntoolkit.catalog.provenance import Provenance
from dyntoolkit.catalog.registry import experiments, find, load
from dyntoolkit.engine.choice import asking, check_asked
from dyntoolkit.engine.history import Array, Frame, History, Live
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment

OTHER_SHAPE = "another number of them"
MISSING, NEW = "missing in the new run", "missing in the file"
Difference = float | str  # the largest one between two arrays, or why there is none


def experiment_of(made: Provenance, own: Path | None = None) -> Experiment:
    """The experiment that made a run. own: the Python file that defines it, if it is not known by its name.

    Raises InputError where it is not known.
    """
    name = made.experiment
    if own is None:
        if name not in [known.name for known in experiments()]:
            cure = "give the Python file that defines it with --file"
            raise InputError(f"the run is of the experiment {name[:100]!r}, which is not known here: {cure}.", "file")
        return find(name)
    named = {experiment.name: experiment for experiment in load(str(own))}
    if name not in named:
        raise InputError(f"the run is of the experiment {name[:100]!r}, and {own} defines {', '.join(named)}.", "file")
    return named[name]


def warnings(made: Provenance, now: Provenance) -> list[str]:
    """Sentences about what is another here than where the run was made, and may change its numbers."""
    found = []
    others = [
        f"{name} {was or 'none'}, here {now.versions.get(name) or 'none'}"
        for name, was in made.versions.items()
        if now.versions.get(name) != was
    ]
    if others:
        found.append(f"the run was made with {'; '.join(others)}: numbers may differ.")
    if made.source != now.source:
        found.append(f"the source of {made.experiment} is another than when the run was made: numbers may differ.")
    if made.engine != now.engine:
        found.append(f"the run was trained by {made.engine}, here by {now.engine}: numbers may differ.")
    return found


def train_again(experiment: Experiment, made: Provenance, watch: Callable[[Frame], None]) -> History:
    """The run, trained as far as it was; watch(frame): called for each frame.

    Raises InputError for settings that the experiment does not take.
    """
    configs = [experiment.config().replace(**settings) for settings in made.settings]
    waiting = [(step, Live(each) if isinstance(each, Mapping) else each) for step, each in made.sent]
    with asking(check_asked(made.asked, made.device)):
        history, frames = experiment.start(configs, made.seeds)
        frame: Frame | None = next(frames)
        while frame is not None and (made.finished or frame.step <= made.step):
            history.append(frame)
            watch(frame)
            due = bool(waiting) and waiting[0][0] <= frame.step and (frame.asks or isinstance(waiting[0][1], Live))
            frame = _next(history, frames, waiting.pop(0)[1] if due else None)
    return history if made.finished else history.until(made.step)


def _next(history: History, frames: Any, sent: str | Live | None) -> Frame | None:
    """The next frame, None at the end."""
    try:
        if sent is None:
            return next(frames)  # type: ignore[no-any-return]
        history.note(sent)
        return frames.send(sent)  # type: ignore[no-any-return]
    except StopIteration:
        return None


def differences(then: Mapping[str, Array], now: Mapping[str, Array]) -> dict[str, Difference]:
    """Name -> the largest absolute difference, 0 where every number is the same (NaN is the same as NaN)."""
    found: dict[str, Difference] = {
        name: _difference(then[name], now[name]) if name in now else MISSING for name in then
    }
    return found | {name: NEW for name in now if name not in then}


def _difference(then: Array, now: Array) -> Difference:
    if then.shape != now.shape:
        return OTHER_SHAPE
    same = (then == now) | (np.isnan(then) & np.isnan(now))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(then - now))
    return float(np.where(np.isnan(apart), np.inf, apart).max(initial=0.0))
