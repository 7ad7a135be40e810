"""Python, the recorded operators and XLA do the same with the updates of a block; what they hand out stays as it is."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from dyntoolkit.engine.choice import choose, current
from dyntoolkit.engine.engines import Eager, Recorded
from dyntoolkit.engine.record import record

ROOM = 12


class Parts(NamedTuple):
    """Leaves of several kinds: theta and fixed (R, 3) in float32, scale (R,) in float64, updates (R,), big (R,)."""

    theta: torch.Tensor
    scale: torch.Tensor
    updates: torch.Tensor
    big: torch.Tensor
    fixed: torch.Tensor


class Batch(NamedTuple):
    """x (R, 3), and row (R,), numbers of rows."""

    x: torch.Tensor
    row: torch.Tensor


ROWS = torch.sin(torch.arange(12.0)).view(4, 3)


def step(state, batch):
    (x, row), _ = batch
    theta = state.theta + 0.1 * x * state.scale.view(-1, 1).float() - 0.01 * ROWS[row]
    return Parts(theta, state.scale * 1.01, state.updates + row, state.theta.sum(1) > 0, state.fixed)


def begin():
    theta = torch.cos(torch.arange(6.0)).view(2, 3)
    scale = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)
    return Parts(theta, scale, torch.tensor([2**40, -1]), torch.tensor([True, False]), theta + 1)


def block(steps):
    x = torch.sin(torch.arange(6.0 * steps)).view(2, steps, 3).transpose(0, 1)  # not in order in memory
    return Batch(x, torch.arange(2 * steps).view(steps, 2) % 4), None


def naive(state, steps):
    """The states after each update."""
    (x, row), _ = block(steps)
    states = []
    for k in range(steps):
        state = step(state, (Batch(x[k], row[k]), None))
        states.append(state)
    return states


def chosen(every):
    """The engine that is asked for here, for blocks of at most ROOM updates."""
    choosing = choose(step, begin(), block(ROOM), ROOM, updates=1000, room=ROOM, every=every)
    while True:
        try:
            next(choosing)
        except StopIteration as end:
            return end.value


def assert_states(name, found, expected):
    """Bit by bit, or, for XLA, to rounding; whole numbers exactly."""
    for leaf, other in zip(found, expected, strict=True):
        assert type(leaf) is torch.Tensor
        assert leaf.dtype == other.dtype
        if name != "xla":
            assert torch.equal(leaf, other)
        torch.testing.assert_close(leaf, other)


def test_it_is_the_engine_that_was_asked_for(engine):
    made = chosen(every=False)
    assert made.name == engine == current().engine


def test_a_state_comes_back_as_it_went_in(engine):
    made, state = chosen(every=False), begin()
    found = made.leave(made.enter(state))
    assert type(found) is Parts
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(found, state, strict=True))
    assert made.finite(made.enter(state)).tolist() == [True, True]


@pytest.mark.parametrize("steps", [1, 5, ROOM])  # of a block; a program has room for more
@pytest.mark.parametrize("every", [False, True])
def test_updates_are_those_of_the_step(engine, steps, every):
    made, expected = chosen(every), naive(begin(), steps)
    drawn, native = made.load(block(steps), steps), made.enter(begin())
    assert_states(engine, made.leave(made.advance(native, drawn, 0, steps)), expected[-1])
    assert_states(engine, made.leave(native), begin())  # as before


def test_updates_may_be_done_in_parts(engine):
    made = chosen(every=False)
    drawn = made.load(block(9), 9)
    whole = made.leave(made.advance(made.enter(begin()), drawn, 0, 9))
    native = made.enter(begin())
    for first, last in ((0, 1), (1, 4), (4, 5), (5, 9)):
        native = made.advance(native, drawn, first, last)
    for leaf, other in zip(made.leave(native), whole, strict=True):
        assert torch.equal(leaf, other)


def test_the_states_after_each_update_are_those_of_the_step(engine):
    made, expected = chosen(every=True), naive(begin(), 9)
    drawn, native = made.load(block(9), 9), made.enter(begin())
    found = []
    for first, last in ((0, 4), (4, 5), (5, 9)):
        native, states = made.states(native, drawn, first, last)
        assert len(states) == last - first
        found += states
        for leaf, other in zip(made.leave(native), states[-1], strict=True):
            assert torch.equal(leaf, other)
    for state, other in zip(found, expected, strict=True):
        assert_states(engine, state, other)


def test_an_update_may_be_done_again(engine):
    """As a replay does, from a state before, and also where all states are kept."""
    made = chosen(every=True)
    drawn, before = made.load(block(9), 9), made.enter(begin())
    after, states = made.states(before, drawn, 0, 9)
    again = before
    for i in range(9):
        again = made.advance(again, drawn, i, i + 1)
        for leaf, other in zip(made.leave(again), states[i], strict=True):
            assert torch.equal(leaf, other)
    assert all(torch.equal(a, b) for a, b in zip(made.leave(again), made.leave(after), strict=True))


@pytest.mark.parametrize("leaf", ["theta", "scale"])
@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_a_run_is_finite_if_all_its_numbers_are(engine, leaf, bad):
    made, state = chosen(every=False), begin()
    getattr(state, leaf)[1:].fill_(bad)
    native = made.advance(made.enter(state), made.load(block(2), 2), 0, 2)
    finite = made.finite(native)
    assert finite.tolist() == [True, False]
    assert finite.dtype == bool


def test_states_are_chosen_run_by_run(engine):
    made = chosen(every=False)
    drawn, before = made.load(block(3), 3), made.enter(begin())
    after = made.advance(before, drawn, 0, 3)
    mixed = made.select(np.array([True, False]), after, before)
    old, new, found = made.leave(before), made.leave(after), made.leave(mixed)
    for a, b, leaf in zip(old, new, found, strict=True):
        assert leaf.dtype == a.dtype
        assert torch.equal(leaf[0], b[0])
        assert torch.equal(leaf[1], a[1])
    assert made.finite(mixed).tolist() == [True, True]
    more = made.leave(made.advance(mixed, drawn, 0, 3))  # and can be trained on
    assert torch.equal(more.updates[1:], new.updates[1:])
    assert torch.equal(more.theta[1], new.theta[1])


def test_which_runs_are_finite_is_chosen_run_by_run_too(engine):
    made, state = chosen(every=False), begin()
    drawn = made.load(block(1), 1)
    state.theta[0] = torch.nan
    lost = made.advance(made.enter(state), drawn, 0, 1)
    well = made.advance(made.enter(begin()), drawn, 0, 1)
    for mask, expected in (([True, False], [False, True]), ([False, True], [True, True])):
        assert made.finite(made.select(np.array(mask), lost, well)).tolist() == expected


# ---- What is handed out ----


def test_states_that_were_handed_out_stay_as_they_are(engine):
    made, start = chosen(every=True), begin()
    drawn, native = made.load(block(9), 9), made.enter(start)
    given = [made.leave(native)]
    native, states = made.states(native, drawn, 0, 3)
    given += [*states, made.leave(native)]
    copies = [[leaf.clone() for leaf in state] for state in given]
    native, more = made.states(native, drawn, 3, 9)
    made.advance(native, drawn, 0, 9)
    made.select(np.array([True, False]), native, native)
    for state, copy in zip(given, copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(state, copy, strict=True))
    assert more


def test_whoever_writes_into_a_state_changes_no_training(engine):
    made, start = chosen(every=True), begin()
    drawn, native = made.load(block(9), 9), made.enter(start)
    spoilt = [made.leave(native)]
    first, states = made.states(native, drawn, 0, 3)
    spoilt += [*states, made.leave(first)]
    for state in spoilt:
        for leaf in state:
            leaf.zero_()
    expected = naive(begin(), 9)
    assert_states(engine, made.leave(first), expected[2])
    assert_states(engine, made.leave(native), begin())
    assert_states(engine, made.leave(made.advance(first, drawn, 3, 9)), expected[-1])


def test_states_share_no_memory(engine):
    made = chosen(every=True)
    native, states = made.states(made.enter(begin()), made.load(block(3), 3), 0, 3)
    states += [made.leave(native), made.leave(native)]
    leaves = [leaf for state in states for leaf in state]
    assert len({leaf.data_ptr() for leaf in leaves}) == len(leaves)
    for state in states:
        state.fixed.add_(1)  # a leaf that the step passes on; each has its own
    assert torch.equal(states[0].fixed, begin().fixed + 1)


def test_two_trainings_of_one_step_do_not_meet(engine):
    one, two = chosen(every=True), chosen(every=True)
    drawn = one.load(block(9), 9), two.load(block(9), 9)
    other = Parts(begin().theta * 2, *begin()[1:])
    first, second = one.enter(begin()), two.enter(other)
    for k in range(0, 9, 3):
        first, found = one.states(first, drawn[0], k, k + 3)
        second, _ = two.states(second, drawn[1], k, k + 3)
        assert_states(engine, found[-1], naive(begin(), 9)[k + 2])
    assert_states(engine, two.leave(second), naive(other, 9)[-1])


# ---- Without a choice ----


def test_a_recorded_engine_does_without_the_step():
    calls = []

    def counted(state, batch):
        calls.append(1)
        return step(state, batch)

    recording, _ = record(counted, begin(), (Batch(torch.ones(2, 3), torch.zeros(2, dtype=torch.int64)), None))
    made = Recorded(recording, Parts)
    assert len(calls) == 1
    found = made.leave(made.advance(made.enter(begin()), made.load(block(5), 5), 0, 5))
    assert len(calls) == 1
    assert_states("recorded", found, naive(begin(), 5)[-1])


def test_a_recorded_engine_may_have_no_batches():
    recording, _ = record(lambda state, _: Parts(state.theta / 2, *state[1:]), begin(), None)
    made = Recorded(recording, Parts)
    assert made.load(None, 3) == [()] * 3
    assert torch.equal(made.advance(begin(), made.load(None, 3), 0, 3).theta, begin().theta / 8)


def test_eager_updates_are_calls_of_the_step_with_the_batches_as_they_are():
    seen = []
    made = Eager(lambda state, batch: seen.append(batch) or state)
    native = begin()
    assert made.advance(native, made.load(block(3), 3), 1, 3) is native
    assert [type(batch[0]) for batch in seen] == [Batch, Batch]
    assert torch.equal(seen[0][0].x, block(3)[0].x[1])
