"""Runs, the loops they share, and training them to the end."""

from collections.abc import Callable, Iterable, Iterator

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.experiment.config import Config

Run = tuple[Config, int]  # settings and seed
Start = Callable[[], tuple[History, Iterator[Frame]]]  # an empty history and the frames to append to it


def to_the_end(history: History, frames: Iterable[Frame], watch: Callable[[Frame], None] | None = None) -> History:
    """Append all frames to the history and return it; `watch` sees each one once it is in."""
    for frame in frames:
        history.append(frame)
        if watch is not None:
            watch(frame)
    return history


def loops(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs grouped into those that can share one training loop: they agree on all structural fields."""
    groups: dict[tuple[object, ...], list[Run]] = {}
    for config, seed in runs:
        structural = [name for name, slider in config.sliders().items() if slider.structural]
        key = (type(config), *[getattr(config, name) for name in structural])
        groups.setdefault(key, []).append((config, seed))
    return list(groups.values())
