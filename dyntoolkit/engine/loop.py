"""The training loop: a generator of frames, cut by step count and never by the clock."""

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch

from dyntoolkit.engine.batches import Batch, unbind
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.errors import InputError

State = TypeVar("State", bound=tuple[Any, ...])  # a NamedTuple of tensors, each with leading run axis R

HEARTBEAT = 8  # steps between two chances for the consumer to pause or stop
BLOCK = 250  # steps whose batches are drawn at once
CHECK = 50  # steps between two tests whether a run has settled


def train(
    state: State,
    step: Callable[[State, Batch], State],
    batches: Callable[[int, int], Batch],
    record: Sequence[int],
    measure: Callable[[int, State], Mapping[str, Array]],
    *,
    start: int = 0,
    total: int | None = None,
    diverged: Array | None = None,
    block: int = BLOCK,
    settled: Callable[[State], Array] | None = None,
    check_every: int = CHECK,
) -> Generator[Frame, None, tuple[State, Array]]:
    """Train R runs and yield a Frame at every step of `record`, with heartbeats (no values) in between.

    state: a NamedTuple of tensors, each with leading run axis R. step: pure, (state, batch) -> state.
    batches(k0, k1): the batches of updates k0..k1-1 at once, asked for in order: None (each step sees all data), a
    tensor (k1 - k0, ...), or a (named) tuple of such parts. A step gets the slices that are its own; which parts are
    None, their shapes and dtypes are the same in all steps. record: increasing steps, the first one is the step of
    the given state. measure(k, state): name -> (R, ...) arrays.
    start, total: where this phase begins in, and how long is, a simulation of several phases; record counts within
    the phase. diverged: (R,) from an earlier phase. block: most steps whose batches are held at once; no number depends
    on it.
    settled(state): (R,) whether a run has reached its goal, such as a tolerance; asked every check_every steps of the
    phase. Such a run is frozen there by itself. The measured values then have a further entry "settled_at": (R,) the
    step of that, -1 for a run that has not settled.
    Returns the end state and the divergence steps, so phases chain with `yield from`.

    A run that stops being finite is frozen at its last finite state and marked with the step at which it left; the
    others go on; once none is left to train, the remaining frames come without training. Checking every step would
    cost a third of a small network's speed, so a block of steps is checked at its end, and replayed step by step
    (same batches, same numbers) only if a run left it.

    >>> frames = train(
    ...     Sgd(torch.ones(2, 1)),
    ...     lambda state, _: sgd(state, state.theta, lr=0.5),
    ...     full_batch,
    ...     (0, 1, 2),
    ...     lambda k, state: {"w": state.theta[:, 0].numpy()},
    ... )
    >>> [frame.values["w"].tolist() for frame in frames]
    [[1.0, 1.0], [0.5, 0.5], [0.25, 0.25]]
    """
    runs = len(state[0])
    marks = np.full(runs, -1) if diverged is None else diverged
    goals = np.full(runs, -1)
    if not len(record) or any(later <= step for step, later in pairwise(record)):
        raise InputError(f"record takes increasing steps, one at least, got {tuple(record)[:10]}.", "record")
    end = start + record[-1] if total is None else total

    def measured(k: int) -> Frame:
        values = measure(k, state)
        return Frame(start + k, end, values if settled is None else {**values, "settled_at": goals}, marks)

    k = record[0]
    yield measured(k)
    for target in record[1:]:
        while k < target and (training := (marks < 0) & (goals < 0)).any():
            stop = min(target, k + block)
            if settled is not None:
                stop = min(stop, k - k % check_every + check_every)
            drawn = list(unbind(batches(k, stop), stop - k))
            before = state
            for i, batch in enumerate(drawn, 1):
                state = step(state, batch)
                if (k + i) % HEARTBEAT == 0 and k + i < target:  # the step of `target` belongs to the measured frame
                    yield Frame(start + k + i, end, {}, marks)
            lost = ~_finite(state) & training
            if lost.any():
                heartbeat = Frame(start + min(stop, target - 1), end, {}, marks)
                state, left = yield from _replay(before, step, drawn, lost, heartbeat)
                marks = np.where(left > 0, start + k + left, marks)
            if not training.all():
                state = _select(torch.from_numpy(training), state, before)
            k = stop
            if settled is not None and k % check_every == 0:
                goals = np.where(training & (marks < 0) & settled(state), start + k, goals)
        k = target
        yield measured(k)
    return state, marks


def _finite(state: tuple[torch.Tensor, ...]) -> Array:
    """(R,) whether every number of a run is finite."""
    finite = torch.stack([torch.isfinite(t).flatten(1).all(1) if t.ndim > 1 else torch.isfinite(t) for t in state])
    return finite.all(0).numpy()


def _select(mask: torch.Tensor, yes: State, no: State) -> State:
    """Run by run, `yes` where mask (R,), else `no`."""
    chosen = [torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(yes, no, strict=True)]
    return type(yes)(*chosen)  # a NamedTuple of the same kind


def _replay(
    state: State, step: Callable[[State, Batch], State], block: Sequence[Batch], lost: Array, heartbeat: Frame
) -> Generator[Frame, None, tuple[State, Array]]:
    """The block again, freezing each lost run before the step that breaks it.

    Returns the state and the steps of the block that broke the lost runs, (R,), counted from 1; 0 for the others.
    """
    left = np.zeros(len(lost), dtype=np.int64)
    for i, batch in enumerate(block, 1):
        after = step(state, batch)
        left[(left == 0) & lost & ~_finite(after)] = i
        state = _select(torch.from_numpy(left == 0), after, state)
        if i % HEARTBEAT == 0:
            yield heartbeat
    return state, left


def evenly(steps: int, frames: int, *extra: int) -> tuple[int, ...]:
    """The steps to record: `frames` >= 2 evenly spaced ones (floor) from 0 to the last, and `extra` ones in between.

    >>> evenly(100, 5)
    (0, 25, 50, 75, 100)
    """
    if frames < 2:
        raise InputError(f"frames takes 2 or more, got {frames}.", "frames")
    spaced = {k * steps // (frames - 1) for k in range(frames)}
    return tuple(sorted(spaced | {k for k in extra if 0 <= k <= steps}))


def geometrically(steps: int, frames: int) -> tuple[int, ...]:
    """The steps to record: 0, and a geometric grid of `frames` points from 1 to the last, rounded, each once.

    >>> geometrically(1000, 4)
    (0, 1, 10, 100, 1000)
    """
    return (0, *np.unique(np.geomspace(1, steps, frames).round().astype(int)).tolist())
