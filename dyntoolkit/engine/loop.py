"""The training loop: a generator of frames, which come at steps that are counted, never by the clock."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    if not len(record) or any(later <= step for step, later in pairwise(record)):
        raise InputError(f"record takes increasing steps, one at least, got {tuple(record)[:10]}.", "record")
    end = start + record[-1] if total is None else total
    marks = np.full(len(state[0]), -1) if diverged is None else diverged
    loop = _Loop(state, step, batches, record, measure, start, end, marks, block, settled, check_every)
    return (yield from loop.run())


@dataclass
class _Loop:
    """A training under way: what `train` was given, and how far it is.

    native: the state as the engine holds it. end: the last step of the simulation. marks, goals: (R,) the step at which
    a run diverged, and settled, -1 for neither. k: the step at which the block begins. waiting: steps to be recorded,
    the next one last. dense: whether the states after all updates of a block are kept. lead: the step from which on the
    chosen engine does the updates. expected: what the batches of every step look like.
    """

    native: Any
    step: Callable[[Any, Any], Any]
    batches: Callable[[int, int], Any]
    record: Sequence[int]
    measure: Callable[[int, Any], Mapping[str, Array]]
    start: int
    end: int
    marks: Array
    block: int
    settled: Callable[[Any], Array] | None
    check_every: int
    engine: Engine = field(init=False)
    choice: Choice | None = None
    expected: Any = None

    def __post_init__(self) -> None:
        self.goals = np.full(len(self.marks), -1)
        self.updates = self.record[-1] - self.record[0]
        self.dense = self.updates <= DENSE * (len(self.record) - 1)
        if self.dense:
            self.block = max(1, min(self.block, DENSE_BLOCK, KEPT // sum(leaf.nbytes for leaf in self.native)))
        self.lead = self.record[0] + _lead(self.native, self.record, self.block, self.dense)
        self.k, self.waiting, self.pace = self.record[0], list(self.record[:0:-1]), _Pace()
        self.engine = Eager(self.step)

    def run(self) -> Generator[Frame, None, tuple[Any, Array]]:
        """All frames; returns the end state and the divergence steps."""
        yield self.measured(self.k, self.native)
        while self.waiting and (training := (self.marks < 0) & (self.goals < 0)).any():
            stop = self.block_end()
            steps, batch = stop - self.k, self.batches(self.k, stop)
            self.look(batch, steps)
            if self.k >= self.lead:
                yield from self.take_over()
            drawn = self.engine.load(batch, steps)
            self.native, states, left = yield from _block(
                self.engine, self.native, drawn, steps, training, self.dense, self.pace, self.heartbeat
            )
            self.mark(training, left, stop)
            yield from self.recorded(states, stop)
            self.k = stop
        state = self.engine.leave(self.native)
        while self.waiting:
            yield self.measured(self.waiting.pop(), state)
        return state, self.marks

    def frame(self, k: int, values: Mapping[str, Array]) -> Frame:
        """That of step k."""
        seen = np.where(self.marks > self.start + k, -1, self.marks)  # a block is done before its states are measured
        taken_over = self.choice is not None and self.engine is self.choice.engine  # not as soon as chosen
        return Frame(self.start + k, self.end, values, seen, engine=self.engine.name if taken_over else "")

    def heartbeat(self, done: int) -> Frame:
        """Within the block that begins at step k. If dense, its frames are still to come."""
        return self.frame(self.k if self.dense else self.k + done, {})

    def measured(self, k: int, state: Any) -> Frame:
        """The frame of a step to be recorded."""
        values = self.measure(k, state)
        if self.settled is not None:
            values = {**values, "settled_at": np.where(self.goals > self.start + k, -1, self.goals)}
        found = self.frame(k, values)
        return replace(found, weights=weights_of(state)) if k == self.record[-1] else found

    def block_end(self) -> int:
        """The step at which the block ends."""
        stop = min(self.k + self.block, self.record[-1] if self.dense else self.waiting[-1])
        if self.settled is None:
            return stop
        return min(stop, self.k - self.k % self.check_every + self.check_every)

    def look(self, batch: Any, steps: int) -> None:
        """Begin the choice of an engine with the first batches; InputError for later ones that look different."""
        found = look(batch, steps)
        if self.choice is None:
            self.expected = found
            choosing = choose(
                self.step, self.native, batch, steps, updates=self.updates, room=self.block, every=self.dense
            )
            self.choice = Choice(choosing, self.step)
        if found != self.expected:
            got = f"{found} from step {self.k} on, after {self.expected}"
            raise InputError(f"batches gives the same parts, shapes and dtypes in all steps, got {got}.", "batches")

    def take_over(self) -> Iterator[Frame]:
        """Hand the state to the chosen engine, with heartbeats until it is chosen."""
        assert self.choice is not None
        while self.choice.engine is None:
            yield self.frame(self.k, {})
            self.choice.glance()
        self.choice.look()
        if self.engine is not self.choice.engine:
            self.native, self.engine = self.choice.engine.enter(self.engine.leave(self.native)), self.choice.engine

    def mark(self, training: Array, left: Array, stop: int) -> None:
        """Note which runs diverged in the block, `left` (R,), and which ones in training have settled at its end."""
        self.marks = np.where(left > 0, self.start + self.k + left, self.marks)
        if self.settled is not None and stop % self.check_every == 0:
            reached = training & (self.marks < 0) & self.settled(self.engine.leave(self.native))
            self.goals = np.where(reached, self.start + stop, self.goals)

    def recorded(self, states: Sequence[Any], stop: int) -> Iterator[Frame]:
        """The frames of the block. states: if dense, those after each of its updates."""
        at = self.k
        while self.waiting and self.waiting[-1] <= stop:
            at = self.waiting.pop()
            yield self.measured(at, states[at - self.k - 1] if self.dense else self.engine.leave(self.native))
        if at < stop:
            yield self.frame(stop, {})


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
