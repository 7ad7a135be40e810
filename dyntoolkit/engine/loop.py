"""The training loop: a generator of frames, which come at steps that are counted, never by the clock."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch

from dyntoolkit.engine.batches import Batch, look
from dyntoolkit.engine.choice import Choice, choose, current
from dyntoolkit.engine.engines import Eager, Engine, select
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.errors import InputError

State = TypeVar("State", bound=tuple[Any, ...])  # a NamedTuple of tensors, each with leading run axis R

BLOCK = 250  # steps whose batches are drawn at once
CHECK = 50  # steps between two tests whether a run has settled
DENSE = 4  # where at least every fourth step is recorded, all states of a block are kept
DENSE_BLOCK, KEPT = 50, 2**26  # most steps of such a block, and bytes of its states (64 MB)
LEAD, LEAD_NUMBERS = 400, 2**22  # most updates before the second frame is seen, and these times the state's size
SLICE = 0.05  # seconds, about, between two chances for the consumer to pause or stop


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
    the phase. diverged: (R,) from an earlier phase. block: most steps whose batches are held at once; numbers depend on
    it by rounding at most.
    settled(state): (R,) whether a run has reached its goal, such as a tolerance; asked every check_every steps of the
    phase. Such a run is frozen there by itself. The measured values then have a further entry "settled_at": (R,) the
    step of that, -1 for a run that has not settled.
    Returns the end state and the divergence steps, so phases chain with `yield from`.

    The operators of the step are recorded where they can be, and repeated without Python (see `engine.choice`). No
    number depends on how many updates are done between two heartbeats. If it takes only a few, the step itself does the
    updates up to the second frame, in any case, so that there is something to see while a program compiles.
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
    for leaf in state:
        if not isinstance(leaf, torch.Tensor):
            raise InputError(f"state takes tensors (R, ...), got {type(leaf).__name__} among them.", "state")
    runs = len(state[0])
    marks = np.full(runs, -1) if diverged is None else diverged
    goals = np.full(runs, -1)
    if not len(record) or any(later <= step for step, later in pairwise(record)):
        raise InputError(f"record takes increasing steps, one at least, got {tuple(record)[:10]}.", "record")
    end = start + record[-1] if total is None else total
    updates = record[-1] - record[0]
    dense = updates <= DENSE * (len(record) - 1)
    if dense:
        block = max(1, min(block, DENSE_BLOCK, KEPT // sum(leaf.nbytes for leaf in state)))
    lead = record[0] + _lead(state, record, block, dense)
    choice: Choice | None = None
    engine: Engine = Eager(step)

    def frame(k: int, values: Mapping[str, Array]) -> Frame:
        seen = np.where(marks > start + k, -1, marks)  # a block is done before its states are measured
        taken_over = choice is not None and engine is choice.engine  # when it was chosen is up to the clock
        return Frame(start + k, end, values, seen, engine=engine.name if taken_over else "")

    def heartbeat(done: int) -> Frame:
        """Within the block that begins at step k. If dense, its frames are still to come."""
        return frame(k if dense else k + done, {})

    def measured(k: int, state: State) -> Frame:
        values = measure(k, state)
        settled_at = np.where(goals > start + k, -1, goals)
        found = frame(k, values if settled is None else {**values, "settled_at": settled_at})
        return replace(found, weights=weights_of(state)) if k == record[-1] else found

    k, waiting, pace = record[0], list(record[:0:-1]), _Pace()  # waiting: steps to be recorded, the next one last
    yield measured(k, state)
    while waiting and (training := (marks < 0) & (goals < 0)).any():
        stop = min(k + block, record[-1] if dense else waiting[-1])
        if settled is not None:
            stop = min(stop, k - k % check_every + check_every)
        batch, steps = batches(k, stop), stop - k
        found = look(batch, steps)
        if choice is None:
            expected, native = found, state
            choice = Choice(choose(step, state, batch, steps, updates=updates, room=block, every=dense), step)
        if k >= lead:
            while choice.engine is None:
                yield frame(k, {})
                choice.glance()
            choice.look()
            if engine is not choice.engine:
                native, engine = choice.engine.enter(engine.leave(native)), choice.engine
        if found != expected:
            got = f"{found} from step {k} on, after {expected}"
            raise InputError(f"batches gives the same parts, shapes and dtypes in all steps, got {got}.", "batches")
        drawn = engine.load(batch, steps)
        native, states, left = yield from _block(engine, native, drawn, steps, training, dense, pace, heartbeat)
        marks = np.where(left > 0, start + k + left, marks)
        if settled is not None and stop % check_every == 0:
            goals = np.where(training & (marks < 0) & settled(engine.leave(native)), start + stop, goals)
        at = k
        while waiting and waiting[-1] <= stop:
            at = waiting.pop()
            yield measured(at, states[at - k - 1] if dense else engine.leave(native))
        if at < stop:
            yield frame(stop, {})
        k = stop
    state = state if choice is None else engine.leave(native)
    while waiting:
        yield measured(waiting.pop(), state)
    return state, marks


def weights_of(state: tuple[Any, ...]) -> dict[str, Array]:
    """What a state holds of the networks, name -> (R, ...): `theta`, without what an optimizer remembers beside it.

    Of a state without a `theta` it is all that is no whole number, such as the layers of a network.
    """
    named = dict(zip(getattr(state, "_fields", map(str, range(len(state)))), state, strict=True))
    kept = {"theta": named["theta"]} if "theta" in named else named
    return {name: _numpy(leaf.detach().cpu()) for name, leaf in kept.items() if leaf.is_floating_point()}


def _numpy(leaf: torch.Tensor) -> Array:
    """A tensor as an array, also of the dtype that numpy lacks."""
    return (leaf.float() if leaf.dtype == torch.bfloat16 else leaf).numpy()


class _Pace:
    """How many updates to do between two heartbeats, from how long they took so far."""

    def __init__(self) -> None:
        self.steps = 8

    def learn(self, steps: int, seconds: float) -> None:
        """Aim at SLICE, and become faster by steps: the first updates of a program may be slower than the next."""
        self.steps = max(1, min(4 * self.steps, int(steps * SLICE / max(seconds, 1e-9))))


def _lead(state: tuple[Any, ...], record: Sequence[int], block: int, dense: bool) -> int:
    """How many updates the step itself does before the engine takes over; 0 where they might take long."""
    whole = record[-1] - record[0]
    updates = block if dense else record[min(1, len(record) - 1)] - record[0]
    few = updates < whole and updates <= LEAD and updates * sum(leaf.numel() for leaf in state) <= LEAD_NUMBERS
    return updates if few and current().device == "cpu" else 0


def _block(
    engine: Engine,
    before: Any,
    drawn: Any,
    steps: int,
    training: Array,
    dense: bool,
    pace: _Pace,
    heartbeat: Callable[[int], Frame],
) -> Generator[Frame, None, tuple[Any, list[Any], Array]]:
    """Do a block of updates with the runs that are still training, (R,).

    Returns the native state; if dense, the states after each update; and (R,) the update that broke a run, counted from
    1, or 0.
    """
    native, states = yield from _forward(engine, before, drawn, steps, dense, pace, heartbeat)
    left = np.zeros(len(training), dtype=np.int64)
    lost = training & ~engine.finite(native)
    if lost.any():
        late = heartbeat(steps - 1)  # after the heartbeats so far, before the next measured frame
        native, states, left = yield from _replay(engine, before, drawn, steps, dense, lost, late)
    if not training.all():
        native = engine.select(training, native, before)
        frozen = engine.leave(before)
        states = [select(training, each, frozen) for each in states]
    return native, states, left


def _forward(
    engine: Engine,
    native: Any,
    drawn: Any,
    steps: int,
    dense: bool,
    pace: _Pace,
    heartbeat: Callable[[int], Frame],
) -> Generator[Frame, None, tuple[Any, list[Any]]]:
    """The updates of a block, in pieces; returns the native state and, if dense, the states after each update."""
    states: list[Any] = []
    done = 0
    while done < steps:
        first, done = done, min(done + pace.steps, steps)
        begin = time.perf_counter()
        if dense:
            native, found = engine.states(native, drawn, first, done)
            states += found
        else:
            native = engine.advance(native, drawn, first, done)
        pace.learn(done - first, time.perf_counter() - begin)
        if done < steps:
            yield heartbeat(done)
    return native, states


def _replay(
    engine: Engine, native: Any, drawn: Any, steps: int, dense: bool, lost: Array, heartbeat: Frame
) -> Generator[Frame, None, tuple[Any, list[Any], Array]]:
    """The block again, update by update, freezing each lost run before the one that breaks it.

    Returns as `_block` does.
    """
    left = np.zeros(len(lost), dtype=np.int64)
    states = []
    begin = time.perf_counter()
    for i in range(steps):
        after = engine.advance(native, drawn, i, i + 1)
        left[(left == 0) & lost & ~engine.finite(after)] = i + 1
        native = engine.select(left == 0, after, native) if left.any() else after
        if dense:
            states.append(engine.leave(native))
        if time.perf_counter() - begin > SLICE:
            begin = time.perf_counter()
            yield heartbeat
    return native, states, left


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
