"""The course of a quantity: its values, each step once."""

from collections.abc import Iterable

import numpy as np

from dyntoolkit.engine.history import Array, History

Course = tuple[Array, Array]  # steps (T,) and values (T, ...) of one quantity
OWN_NAMES = ("step", "metric", "metrics", "diverged_at", "trained")  # of every data set of several runs


def course(history: History, name: str) -> Course:
    """Steps (T,) and values (T, R, ...) of a quantity; where two phases meet, the later one's value."""
    steps, values = history.at(name), history[name]
    last = np.append(np.diff(steps) > 0, True)
    return steps[last], values[last]


def course_label(name: str, dimensions: Iterable[str]) -> str:
    """What a quantity is called in a data set that has these dimensions, and metrics."""
    return f"{name}_recorded" if name in (*dimensions, *OWN_NAMES) else name
