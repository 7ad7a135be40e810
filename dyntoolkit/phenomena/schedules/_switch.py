"""Three schedules that see the same samples: a small batch, a large one, and a switch from one to the other."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from dyntoolkit.engine.history import Array, History
from dyntoolkit.errors import InputError
from dyntoolkit.figure.panels import BLUE, GREEN, ORANGE

Tensor = torch.Tensor

SCHEDULES = ("small", "large", "switched")
COLORS = (ORANGE, BLUE, GREEN)


class Switching(Protocol):
    """Settings with both batches and the first step with the large one."""

    @property
    def small_batch(self) -> int: ...
    @property
    def large_batch(self) -> int: ...
    @property
    def switch_step(self) -> int: ...


def check_batches(small: int, large: int) -> None:
    """InputError unless the large batch is at least twice as large."""
    if large < 2 * small:
        raise InputError(f"large_batch must be at least 2 small_batch = {2 * small}, got {large}.", "large_batch")


def weights(configs: Sequence[Switching], k0: int, k1: int) -> Tensor:
    """1/batch for each sample of a large batch that is in the batch of a schedule, else 0, in steps k0..k1-1.

    The small batch is the first part of the large one. Returns float32 (k1 - k0, R, 3, B).
    """
    b, B = configs[0].small_batch, configs[0].large_batch
    large = torch.full((B,), 1 / B, dtype=torch.float32)
    small = (torch.arange(B, dtype=torch.int64) < b).float() / b  # (B,)
    switch = torch.tensor([c.switch_step for c in configs], dtype=torch.int64)  # (R,)
    switched = torch.arange(k0, k1, dtype=torch.int64)[:, None, None] >= switch[:, None]  # (K, R, 1)
    third = torch.where(switched, large, small)  # (K, R, B)
    return torch.stack([small.expand_as(third), large.expand_as(third), third], 2)


def why_no_gap(history: History) -> str:
    """What to say where the gap to the large batch is to be seen from the switch on, and is not; "" where it is."""
    if (history.diverged >= 0).all():
        return "The run diverged: there is nothing to compare."
    return "" if history.step > history.config.switch_step else "It begins at the switch."


def apart(config: Switching, steps: Array) -> tuple[Array, Array, Array]:
    """At which of the steps (T,) the curve of each schedule is drawn: that of switched from the switch on, (T,) each.

    Before, it is that of small.
    """
    always = np.ones(len(steps), dtype=bool)
    return always, always, steps >= config.switch_step


def window(steps: Array, losses: Array, first: Array, last: Array) -> Array:
    """Mean over the frames in (first, last], steps (R,) of each run. steps: (T,). losses: (T, R, 3).

    Returns (R, 3), NaN where there is no such frame.
    """
    inside = (steps[:, None] > first) & (steps[:, None] <= last)  # (T, R)
    count = inside.sum(0)[:, None]  # (R, 1)
    total = np.where(inside[:, :, None], losses, 0).sum(0)  # (R, 3)
    return np.where(count, total / np.maximum(count, 1), np.nan)
