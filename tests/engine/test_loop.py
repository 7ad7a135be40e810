import itertools
import threading
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.initialization import he, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import BLOCK, HEARTBEAT, evenly, train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Momentum, Sgd, adam, momentum, sam, sgd
from dyntoolkit.errors import InputError

OVERFLOW = 2.0**128  # the first power of two beyond float32


class Walk(NamedTuple):
    """A random walk that grows: theta (R, 3) by its own factor each step, growth (R,)."""

    theta: torch.Tensor
    growth: torch.Tensor


def walk(state: Walk, noise: torch.Tensor) -> Walk:
    return Walk(state.theta * state.growth.view(-1, 1) + noise, state.growth)


def growing(*lives: int) -> Walk:
    """Runs that overflow in about as many steps as their life; 0 for a run that never does."""
    growth = torch.tensor([OVERFLOW ** (1 / life) if life else 1.0 for life in lives], dtype=torch.float64)
    return Walk(torch.ones(len(lives), 3), growth.float())


def noise_of(runs):
    stream = Stream(tuple(range(runs)), "noise")
    return lambda k0, k1: stream.normal(k1 - k0, 3).mul(1e-3).transpose(0, 1)


def theta(k, state):
    return {"theta": state.theta.numpy()}


def pulled(frames):
    """All frames, and what the generator returns."""
    seen = []
    while True:
        try:
            seen.append(next(frames))
        except StopIteration as stop:
            return seen, stop.value


def alone(state, r, noise, steps):
    """Run r by itself, stopped before the step that breaks it: its last finite state, that step or -1."""
    state = Walk(*(t[r : r + 1] for t in state))
    for k in range(steps):
        after = walk(state, noise[k][r : r + 1])
        if not after.theta.isfinite().all():
            return state, k + 1
        state = after
    return state, -1


def test_frames_come_at_the_recorded_steps_with_heartbeats_between():
    frames, (state, marks) = pulled(train(growing(0, 0), walk, noise_of(2), (0, 3, 20, 40), theta))
    assert HEARTBEAT == 8
    assert [(f.step, bool(f.values)) for f in frames] == [
        (0, True),
        (3, True),
        (8, False),
        (16, False),
        (20, True),
        (24, False),
        (32, False),
        (40, True),  # never a heartbeat at a measured step
    ]
    assert {f.total for f in frames} == {40}
    assert marks.tolist() == [-1, -1]
    np.testing.assert_array_equal(frames[-1].values["theta"], state.theta)


def test_only_a_frame_that_was_measured_can_be_the_last():
    frames, _ = pulled(train(growing(0), walk, noise_of(1), (0, 2 * BLOCK), theta))
    assert [f.step for f in frames if f.step == f.total] == [2 * BLOCK]


def test_the_updates_are_those_of_the_naive_loop_bit_by_bit():
    _, (state, _) = pulled(train(growing(0), walk, noise_of(1), evenly(600, 7), theta))
    expected = growing(0)
    for noise in noise_of(1)(0, 600):
        expected = walk(expected, noise)
    assert torch.equal(state.theta, expected.theta)


@settings(deadline=None, max_examples=40)
@given(
    lives=st.lists(st.sampled_from([0, 1, 2, 5, 40, 41, 249, 250, 251, 400]), min_size=1, max_size=4),
    steps=st.integers(1, 600),
    inner=st.sets(st.integers(1, 599), max_size=4),
    block=st.sampled_from([1, 6, 64, BLOCK]),
)
def test_a_diverged_run_is_frozen_before_its_last_step_and_the_others_never_notice(lives, steps, inner, block):
    start, runs = growing(*lives), len(lives)
    record = (0, *sorted(k for k in inner if k < steps), steps)
    frames, (state, marks) = pulled(train(start, walk, noise_of(runs), record, theta, block=block))
    noise = noise_of(runs)(0, steps)
    for r in range(runs):
        expected, left = alone(start, r, noise, steps)
        assert marks[r] == left
        assert torch.equal(state.theta[r], expected.theta[0])
    for frame in frames:
        if frame.values:
            known = (marks >= 0) & (marks <= frame.step)
            np.testing.assert_array_equal(frame.diverged, np.where(known, marks, -1))
            assert np.isfinite(frame.values["theta"]).all()
    assert [f.step for f in frames] == sorted(f.step for f in frames)
    assert all(f.values for f in frames if f.step == f.total)  # heartbeats, those of a replay too, come before the end


def test_two_runs_may_leave_at_different_steps_of_one_block():
    start = growing(100, 0, 40)
    _, (state, marks) = pulled(train(start, walk, noise_of(3), (0, 200), theta))
    noise = noise_of(3)(0, 200)
    lefts = [alone(start, r, noise, 200)[1] for r in range(3)]
    assert 0 < lefts[2] < lefts[0] < BLOCK
    assert marks.tolist() == lefts
    assert torch.equal(state.theta[1], alone(start, 1, noise, 200)[0].theta[0])


def test_any_part_of_the_state_that_stops_being_finite_counts():
    class Counting(NamedTuple):
        theta: torch.Tensor
        loss: torch.Tensor
        updates: torch.Tensor

    def step(state, batch):
        updates = state.updates + 1
        return Counting(state.theta + 1, torch.where(updates >= torch.tensor([5, 100]), torch.nan, 1.0), updates)

    start = Counting(torch.zeros(2, 1), torch.ones(2), torch.zeros(2, dtype=torch.int64))
    _, (state, marks) = pulled(train(start, step, full_batch, (0, 9), lambda k, state: {}))
    assert marks.tolist() == [5, -1]
    assert state.theta[:, 0].tolist() == [4, 9]
    assert state.updates.tolist() == [4, 9]


def test_phases_chain_with_their_steps_marks_and_frozen_runs():
    draws = noise_of(2)

    def simulation():
        state, marks = yield from train(growing(30, 0), walk, draws, (0, 40), theta, total=100)
        frozen = state.theta[0].clone()
        calm = Walk(state.theta, torch.ones(2))  # the second phase would train the lost run on, were it not marked
        state, marks = yield from train(calm, walk, draws, (0, 20, 60), theta, start=40, total=100, diverged=marks)
        return frozen, state, marks

    frames, (frozen, state, marks) = pulled(simulation())
    measured = [f for f in frames if f.values]
    assert [f.step for f in measured] == [0, 40, 40, 60, 100]
    assert {f.total for f in frames} == {100}
    assert 0 < marks[0] < 40
    assert marks[1] == -1
    assert all(f.diverged.tolist() == marks.tolist() for f in measured[1:])
    assert torch.equal(state.theta[0], frozen)
    np.testing.assert_array_equal(measured[2].values["theta"], measured[1].values["theta"])
    assert not np.array_equal(measured[3].values["theta"][1], measured[2].values["theta"][1])


def test_a_run_that_leaves_in_the_second_phase_is_marked_with_its_step_in_the_whole():
    frames, (_, marks) = pulled(train(growing(30, 0), walk, noise_of(2), (0, 60), theta, start=1000, total=1060))
    assert marks[0] == 1000 + alone(growing(30, 0), 0, noise_of(2)(0, 60), 60)[1]
    assert frames[-1].step == frames[-1].total == 1060


class Counter:
    """`walk` that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, state, noise):
        self.calls += 1
        return walk(state, noise)


def test_when_every_run_is_lost_the_rest_comes_without_training():
    step = Counter()
    record = (0, 100, 50_000, 100_000)
    frames, (state, marks) = pulled(train(growing(30, 20), step, noise_of(2), record, theta))
    assert [f.step for f in frames if f.values] == list(record)
    assert step.calls == 200  # one block and its replay
    assert (marks > 0).all()
    for frame in frames[-2:]:
        np.testing.assert_array_equal(frame.values["theta"], state.theta)


class Timed(NamedTuple):
    """A walk that knows when its runs shall settle: theta (R, 3), growth (R,), goal (R,) and updates (R,)."""

    theta: torch.Tensor
    growth: torch.Tensor
    goal: torch.Tensor
    updates: torch.Tensor


def timed(lives, goals):
    """Runs with `growing` lives that have reached their goal after so many updates."""
    none = torch.zeros(len(goals), dtype=torch.int64)
    return Timed(*growing(*lives), torch.tensor(goals), none)


def walk_on(state, noise):
    theta, growth = walk(Walk(state.theta, state.growth), noise)
    return Timed(theta, growth, state.goal, state.updates + 1)


def at_goal(state):
    return (state.updates >= state.goal).numpy()


@settings(deadline=None, max_examples=40)
@given(
    goals=st.lists(st.sampled_from([1, 49, 50, 51, 100, 120, 260, 999]), min_size=1, max_size=4),
    steps=st.integers(1, 400),
    inner=st.sets(st.integers(1, 399), max_size=3),
    block=st.sampled_from([7, 50, BLOCK]),
    check_every=st.sampled_from([20, 50]),
)
def test_each_run_freezes_by_itself_at_the_first_check_at_its_goal(goals, steps, inner, block, check_every):
    record, runs = (0, *sorted(k for k in inner if k < steps), steps), len(goals)
    start = timed([0] * runs, goals)
    frames, (state, marks) = pulled(
        train(start, walk_on, noise_of(runs), record, theta, block=block, settled=at_goal, check_every=check_every)
    )
    free = list(itertools.accumulate(noise_of(runs)(0, steps), walk_on, initial=start))
    ends = [-(-goal // check_every) * check_every for goal in goals]
    assert marks.tolist() == [-1] * runs
    for r, end in enumerate(ends):
        assert torch.equal(state.theta[r], free[min(end, steps)].theta[r])
    for frame in frames:
        if frame.values:
            assert frame.values["settled_at"].tolist() == [end if end <= frame.step else -1 for end in ends]


def test_a_run_may_diverge_beside_one_that_settles_and_one_that_trains_on():
    start = timed([30, 0, 0], [999, 60, 999])
    frames, (state, marks) = pulled(train(start, walk_on, noise_of(3), (0, 150), theta, settled=at_goal))
    assert 0 < marks[0] < 40
    assert frames[-1].values["settled_at"].tolist() == [-1, 100, -1]
    assert state.updates.tolist() == [marks[0] - 1, 100, 150]


def test_a_settled_run_that_is_carried_along_can_no_longer_diverge():
    start = timed([60, 0], [50, 999])
    frames, (state, marks) = pulled(train(start, walk_on, noise_of(2), (0, 200), theta, settled=at_goal))
    assert marks.tolist() == [-1, -1]
    assert state.updates.tolist() == [50, 200]
    assert np.isfinite(frames[-1].values["theta"]).all()


def test_when_every_run_has_settled_or_is_lost_the_rest_comes_without_training():
    calls = []

    def step(state, noise):
        calls.append(1)
        return walk_on(state, noise)

    record = (0, 70, 5_000, 50_000)
    frames, (state, _) = pulled(
        train(timed([0, 20, 0], [10, 0, 120]), step, noise_of(3), record, theta, start=1000, settled=at_goal)
    )
    assert [f.step for f in frames if f.values] == [1000, 1070, 6000, 51_000]
    assert len(calls) == 150 + 50  # and the replay of the block that a run left
    assert frames[-1].values["settled_at"].tolist() == [1050, -1, 1150]
    np.testing.assert_array_equal(frames[-1].values["theta"], state.theta)


@pytest.mark.parametrize("block", [1, 6, 10, 24])
def test_batches_are_held_a_block_at_a_time_and_heartbeats_do_not_depend_on_it(block):
    asked, draws = [], noise_of(1)

    def batches(k0, k1):
        asked.append((k0, k1))
        return draws(k0, k1)

    frames, _ = pulled(train(growing(0), walk, batches, (0, 50), theta, block=block))
    assert [f.step for f in frames] == [0, 8, 16, 24, 32, 40, 48, 50]
    assert asked == [(k, min(50, k + block)) for k in range(0, 50, block)]


def test_closing_the_generator_stops_the_training():
    step = Counter()
    frames = train(growing(0), step, noise_of(1), (0, 1000), theta)
    assert [next(frames).step for _ in range(3)] == [0, 8, 16]
    frames.close()
    assert step.calls == 16
    with pytest.raises(StopIteration):
        next(frames)


def test_a_replay_can_be_stopped_too():
    step = Counter()
    frames = train(growing(100, 0), step, noise_of(2), (0, 240), theta)
    while step.calls <= 240:
        next(frames)
    frames.close()
    assert step.calls == 248


def test_an_error_of_the_step_reaches_the_consumer():
    def broken(state, noise):
        raise ZeroDivisionError

    frames = train(growing(0), broken, noise_of(1), (0, 5), theta)
    next(frames)
    with pytest.raises(ZeroDivisionError):
        next(frames)


# Networks, mini-batches and noise together

NETWORK = MLP((3, 8, 1), torch.tanh)
X = torch.sin(torch.arange(60.0)).view(20, 3)
Y = torch.cos(torch.arange(20.0)).view(20, 1)
SEEDS = tuple(range(16))
STEPS, BATCH = 60, 5


def loss(theta, x, y):
    return (NETWORK(theta, x) - y).square().mean((1, 2))


GRADIENTS = value_and_grad(loss)
RULES = {
    "sgd": (Sgd, lambda s, lr, *b: sgd(s, GRADIENTS(s.theta, *b)[1], lr)),
    "momentum": (Momentum.start, lambda s, lr, *b: momentum(s, GRADIENTS(s.theta, *b)[1], lr, 0.9)),
    "adam": (Adam.start, lambda s, lr, *b: adam(s, GRADIENTS(s.theta, *b)[1], lr)),
    "sam": (Sgd, lambda s, lr, *b: sgd(s, sam(GRADIENTS, s.theta, lr, *b)[1], lr)),
}


def network_frames(rule, seeds, lr, record):
    """Mini-batches with fresh label noise, each run from its own seed."""
    begin, update = RULES[rule]
    order, noise = Stream(seeds, "batches"), Stream(seeds, "noise")

    def batches(k0, k1):
        rows, eps = order.indices(len(X), k1 - k0, BATCH), noise.normal(k1 - k0, BATCH, 1)  # (R, K, B), (R, K, B, 1)
        return X[rows].transpose(0, 1), (Y[rows] + 0.1 * eps).transpose(0, 1)

    start = begin(normal_init(NETWORK, Stream(seeds, "init"), he(NETWORK)))
    return train(start, lambda s, b: update(s, lr, *b), batches, record, lambda k, s: {"theta": s.theta.numpy()})


LR = torch.linspace(0.01, 0.1, 16)


@pytest.mark.parametrize("rule", list(RULES))
def test_a_run_with_mini_batches_and_noise_is_the_same_alone_and_among_sixteen(rule):
    """To rounding of float32: a batch of one product may take another kernel than a batch of sixteen."""
    together, _ = pulled(network_frames(rule, SEEDS, LR, (0, STEPS)))
    for r in (0, 9, 15):
        by_itself, _ = pulled(network_frames(rule, SEEDS[r : r + 1], LR[r : r + 1], (0, STEPS)))
        end, alone = together[-1].values["theta"][r], by_itself[-1].values["theta"][0]
        np.testing.assert_allclose(end, alone, rtol=1e-4, atol=1e-5)
        assert np.abs(end - together[0].values["theta"][r]).max() > 0.01


def test_numbers_depend_neither_on_the_recorded_steps_nor_on_how_they_are_pulled():
    reference = pulled(network_frames("adam", SEEDS[:2], LR[:2], (0, STEPS)))[0][-1].values["theta"]
    fine = pulled(network_frames("adam", SEEDS[:2], LR[:2], (0, 1, 7, 30, 31, STEPS)))[0][-1].values["theta"]
    np.testing.assert_array_equal(fine, reference)

    frames = network_frames("adam", SEEDS[:2], LR[:2], (0, STEPS))
    seen = [next(frames), next(frames)]  # begun here, gone on with in a thread without gradients
    other = network_frames("sgd", SEEDS[:2], LR[:2], (0, STEPS))

    def work():
        with torch.no_grad():
            for frame in frames:
                seen.append(frame)
                next(other, None)  # another simulation takes turns

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(seen[-1].values["theta"], reference)


@pytest.mark.parametrize("record", [(), (10, 5), (0, 3, 3)])
def test_steps_to_record_increase(record):
    start = Sgd(torch.zeros(1, 1))
    with pytest.raises(InputError, match="record takes increasing steps"):
        next(train(start, lambda state, _: state, full_batch, record, lambda k, state: {}))


def test_two_frames_at_least():
    with pytest.raises(InputError, match="frames takes 2 or more, got 1"):
        evenly(100, 1)
