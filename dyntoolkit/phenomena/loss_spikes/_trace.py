"""Quantities that are measured at every step, carried block by block in frames that come every 50 steps."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from dyntoolkit.engine.batches import Batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train

State = TypeVar("State", bound=tuple[Any, ...])
Moment = TypeVar("Moment")
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
    moment: Callable[[State, State], Moment],
    probe: Callable[[Sequence[Moment], int], dict[str, torch.Tensor]],
    *,
    total: int | None = None,
) -> Iterator[Frame]:
    """Train, and every BLOCK steps let the probe measure all of them at once.

    moment(before, after): what the probe needs of one update. probe(moments, index of the first): name -> (T, R).
    total: updates of the whole simulation, where this is not all of it.
    """
    moments: list[Moment] = []
    before = state

    def measure(k: int, state: State) -> dict[str, Array]:
        nonlocal before
        if k > 0:
            moments.append(moment(before, state))
        before = state
        if not moments or (k % BLOCK and k < steps):
            return {}
        measured = probe(moments, k - len(moments))
        moments.clear()
        return {name: padded(values) for name, values in measured.items()}

    return train(state, step, batches, range(steps + 1), measure, total=total)
