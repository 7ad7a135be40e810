"""Quantities that are measured at every step, carried block by block in frames that come every 50 steps."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch

from dyntoolkit.engine.batches import Batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train

State = TypeVar("State", bound=tuple[Any, ...])
BLOCK = 50  # steps between two frames


def padded(values: torch.Tensor) -> Array:
    """Values (T, R) of T <= BLOCK steps as (R, BLOCK), filled up with NaN."""
    block = np.full((values.shape[1], BLOCK), np.nan)
    block[:, : len(values)] = values.T.numpy()
    return block


def trace(history: History, name: str) -> Array:
    """The value at every step so far, (N, R): index i belongs to the weights before update i + 1. (0, R) before any."""
    if name not in history:
        return np.empty((0, len(history.seeds)))
    blocks = history[name]  # (T, R, BLOCK)
    runs = blocks.shape[1]
    return blocks.transpose(0, 2, 1).reshape(-1, runs)[: history.at(name)[-1]]


def traced(
    state: State,
    step: Callable[[State, Batch], State],
    batches: Callable[[int, int], Batch],
    steps: int,
    probe: Callable[[State, State, int], dict[str, torch.Tensor]],
    *,
    total: int | None = None,
) -> Iterator[Frame]:
    """Train, and every BLOCK steps let the probe measure all of them at once.

    probe(before, after, index of the first): name -> (T, R) for T updates, with the states before and after each of
    them, leaves (T, R, ...). total: updates of the whole simulation, where this is not all of it.
    """
    path: list[State] = []  # the states that have not been measured yet, and the last one that has
    only_seen = False  # whether the next frame is that of a step that was looked at, with nothing to show yet

    def measure(k: int, state: State) -> dict[str, Array]:
        nonlocal only_seen
        path.append(state)
        if k == 0 or (k % BLOCK and k < steps):
            only_seen = k > 0
            return {}
        leaves = [torch.stack(list(column)) for column in zip(*path, strict=True)]  # (T + 1, R, ...) each
        before, after = type(state)(*(leaf[:-1] for leaf in leaves)), type(state)(*(leaf[1:] for leaf in leaves))
        del path[:-1]
        measured = probe(before, after, k - len(before[0]))
        return {name: padded(values) for name, values in measured.items()}

    for frame in train(state, step, batches, range(steps + 1), measure, total=total):
        if not only_seen:
            yield frame
        only_seen = False
