"""Spikes of a loss curve and the alarms before them, in one run; causal, so no step looks at a later one.

Index i = 0, 1, ... counts the recorded losses; everything is numpy over i, (N,). The definitions follow "Adaptive
preconditioners trigger loss spikes in Adam" (Bai et al. 2025, arXiv 2506.04805), made precise where the paper is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dyntoolkit.engine.history import Array

WINDOW = 100  # losses whose median a spike must exceed
RISE = 60  # steps before a peak in which its loss has risen
SKIP = 300  # steps at the start in which neither spikes nor alarms count
JOIN_SPIKES, JOIN_ALARMS = 50, 20  # steps: closer ones are one spike, one group of alarms
TINY = 1e-300  # losses below it have no logarithm
TEN, THREE = 1.0, 0.5  # decades of excess: a "10x spike" and a "3x spike"

Group = tuple[int, int]  # first and last index of a group of alarms


@dataclass(frozen=True)
class Spike:
    """onset: the minimum of the loss before the peak. peak: where the excess is largest. height: that excess."""

    onset: int
    peak: int
    height: float


def excess(loss: Array) -> Array:
    """Decades by which each loss lies above the (lower) median of the 100 losses before it; 0 for the first 100."""
    logs = np.log10(np.maximum(loss, TINY))
    above = np.zeros(len(logs))
    if len(logs) > WINDOW:
        before = sliding_window_view(logs, WINDOW)[:-1]  # (N - 100, 100)
        middle = (WINDOW - 1) // 2
        # s_i = log10 L_i - median(log10 L_{i-100}, ..., log10 L_{i-1})
        above[WINDOW:] = logs[WINDOW:] - np.partition(before, middle, axis=1)[:, middle]
    return above


def usual(losses: Array) -> float:
    """The lower median of the log10 of some losses (N,)."""
    logs = np.sort(np.log10(np.maximum(losses, TINY)))
    return float(logs[(len(logs) - 1) // 2])


def height(losses: Array, level: Array | float) -> Array:
    """Decades by which the largest of losses (..., N) lies above a level (log10); NaN where a loss is NaN."""
    return np.asarray(np.log10(np.maximum(losses.max(-1), TINY)) - level)


def find_spikes(loss: Array, least: float = TEN, skip: int = SKIP) -> list[Spike]:
    """The spikes of more than `least` decades from index `skip` on."""
    above = excess(loss)
    found = []
    for steps in _groups(np.flatnonzero((above > least) & (np.arange(len(above)) >= skip)), JOIN_SPIKES):
        inside = slice(steps[0], steps[-1] + 1)
        peak = steps[0] + int(np.argmax(above[inside]))
        first = max(0, peak - RISE)
        found.append(Spike(first + int(np.argmin(loss[first : peak + 1])), peak, float(above[peak])))
    return found


def alarm_state(curvature: Array, lr: float) -> Array:
    """Whether the curvature has been above 2/lr at this index and the two before it, (N,) bool."""
    over = curvature > 2 / lr
    state = np.zeros(len(over), dtype=bool)
    state[2:] = over[2:] & over[1:-1] & over[:-2]
    return state


def alarm_groups(state: Array, skip: int = SKIP) -> list[Group]:
    """First and last index of each group of alarms from `skip` on."""
    steps = np.flatnonzero(state)
    return [(group[0], group[-1]) for group in _groups(steps[steps >= skip], JOIN_ALARMS)]


def recall(spikes: Sequence[Spike], state: Array) -> float:
    """The share of spikes with an alarm in the 30 steps up to their peak; NaN without spikes."""
    caught = [bool(state[max(0, spike.peak - 30) : spike.peak + 1].any()) for spike in spikes]
    return float(np.mean(caught)) if caught else np.nan


def chance(state: Array) -> float:
    """The recall of arbitrary moments: of indices 1000, 1007, ..., the share with an alarm in the 30 steps before."""
    caught = [bool(state[i - 30 : i + 1].any()) for i in range(1000, len(state), 7)]
    return float(np.mean(caught)) if caught else np.nan


def precision(groups: Sequence[Group], above: Array, least: float) -> float:
    """The share of alarm groups followed by an excess of more than `least` within 29 steps; NaN without groups."""
    right = [bool(above[first : last + 30].max() > least) for first, last in groups]
    return float(np.mean(right)) if right else np.nan


def leads(spikes: Sequence[Spike], groups: Sequence[Group]) -> Array:
    """(n, 2): peak - first alarm and onset - first alarm of every spike that has an alarm group."""
    starts = [(spike, _alarm_before(spike, groups)) for spike in spikes]
    rows = [(spike.peak - first, spike.onset - first) for spike, first in starts if first is not None]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def stages(loss: Array, root: Array, spikes: Sequence[Spike], groups: Sequence[Group]) -> dict[str, Array]:
    """What happens around each spike that has an alarm: name -> (n, 2), first and last index of the stage.

    onset: from the alarm on, sqrt(v) still falls while the loss rises. growth: sqrt(v) rises, to its largest value.
    recovery: until the loss is back at its median before. Elsewhere the loss falls while v decays, or early, decreases.
    root: mean sqrt(v) at each index. After the five stages of Bai et al. 2025 (arXiv 2506.04805).
    """
    found: dict[str, list[Group]] = {"onset": [], "growth": [], "recovery": []}
    rising = np.append(np.diff(root) > 0, False)
    calm = excess(loss) <= 0
    for spike in spikes:
        alarm = _alarm_before(spike, groups)
        if alarm is None:
            continue
        turn = alarm + int(np.argmax(rising[alarm : spike.peak + 1]))
        top = turn + int(np.argmax(root[turn : spike.peak + WINDOW]))
        later = calm[max(top, spike.peak) :]
        end = max(top, spike.peak) + (int(np.argmax(later)) if later.any() else len(later) - 1)
        for name, pair in zip(found, ((alarm, turn), (turn, top), (top, end)), strict=True):
            found[name].append(pair)
    return {name: np.array(pairs, dtype=np.float64).reshape(-1, 2) for name, pairs in found.items()}


def rises(loss: Array, curvature: Array, lr: float, skip: int = SKIP) -> tuple[float, float]:
    """How often the loss is higher five steps later, where the curvature is above 2/lr and where it is not."""
    up = (loss[5:] > loss[:-5])[skip:]
    over = (curvature[:-5] > 2 / lr)[skip:]
    shares = [float(up[chosen].mean()) if chosen.any() else np.nan for chosen in (over, ~over)]
    return shares[0], shares[1]


def _alarm_before(spike: Spike, groups: Sequence[Group]) -> int | None:
    """The first index of the last alarm group that begins before the peak and ends at most 60 steps before it."""
    before = [first for first, last in groups if first <= spike.peak and last >= spike.peak - RISE]
    return before[-1] if before else None


def _groups(steps: Array, join: int) -> list[Array]:
    """Increasing steps split where the gap is wider than `join`."""
    return np.split(steps, np.flatnonzero(np.diff(steps) > join) + 1) if len(steps) else []
