"""Runs trained a few at a time: the numbers of all at once, whatever of a step belongs to the runs; or all at once."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from dyntoolkit.engine import choice
from dyntoolkit.engine.batches import full_batch, unbind
from dyntoolkit.engine.chunks import chunked
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.program_cache import ProgramCache
from dyntoolkit.engine.record import record
from dyntoolkit.engine.update import Adam, Sgd, adam
from dyntoolkit.engine.xla import Program, Xla

R = 6
NETWORK = MLP((3, 4, 2), torch.tanh)
WEIGHTS = torch.sin(torch.arange(1.0 * R * NETWORK.parameters)).view(R, -1)
RATES = torch.linspace(0.01, 0.1, R)  # (R,)
THETA = torch.sin(torch.arange(1.0, 3 * R + 1)).view(R, 3)


class Draw(NamedTuple):
    """A batch with parts of its own for each run, (R, 2) and (R * 2, 3), and others for all: (R, 3), (3,) and ()."""

    kick: torch.Tensor
    folded: torch.Tensor
    as_long: torch.Tensor
    shared: torch.Tensor
    number: torch.Tensor
    unread: torch.Tensor | None


@pytest.fixture
def cache(tmp_path):
    return ProgramCache(tmp_path / "programs")


@pytest.fixture
def chunks_at_all_sizes(monkeypatch, forgetting):
    """Even small trainings have chunks; returns the chunks of each program, None for one without."""
    made, init = [], Program.__init__
    monkeypatch.setattr(choice, "FITS", 0)
    monkeypatch.setattr(choice, "CHUNK", 0)

    def noted(*args, size=None, **options):
        made.append(size)
        init(*args, size=size, **options)

    monkeypatch.setattr(Program, "__init__", noted)
    return made


def engines(step, state, batch, size, cache, *, every=False):
    """The engines with all runs at once and with chunks, which the step must allow."""
    recording, _ = record(step, state, batch)
    assert chunked(recording, size) is not None
    return [
        Xla(type(state), recording, Program(recording, "cpu", 10, every=every, cache=cache, size=each))
        for each in (None, size)
    ]


def assert_updates(step, state, block, size, cache):
    """With chunks and without, the engine does what the step does."""
    expected = state
    for batch in unbind(block, 4):
        expected = step(expected, batch)
    found = []
    for made in engines(step, state, next(unbind(block, 4)), size, cache):
        native = made.advance(made.enter(state), made.load(block, 4), 0, 4)
        assert made.finite(native).all()
        found.append(made.leave(native))
        for a, b in zip(found[-1], expected, strict=True):
            torch.testing.assert_close(a, b)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def descent(x, y):
    """Adam on a network, data (n, 3) for all runs or (R, n, 3)."""
    gradients = value_and_grad(lambda theta: (NETWORK(theta, x) - y).square().mean((1, 2)))
    return lambda state, _: adam(state, gradients(state.theta)[1], RATES)


# ---- What belongs to the runs ----


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("points", [5, R, 2 * R])
@pytest.mark.parametrize("own", [False, True])
def test_data_of_all_runs_and_of_each_may_have_as_many_points_as_there_are_runs(cache, size, points, own):
    shape = (R, points) if own else (points,)
    x = torch.sin(torch.arange(3.0 * np.prod(shape))).view(*shape, 3)
    assert_updates(descent(x, x[..., :2].cos()), Adam.start(WEIGHTS), None, size, cache)


def draws(steps):
    shapes = ((R, 2), (R * 2, 3), (R, 3), (3,), (), (R, 5))
    return Draw(*(torch.cos(torch.arange(1.0 * steps * np.prod(s))).view(steps, *s) for s in shapes))


def drawn_step(state, batch):
    kicked = state.theta * batch.kick.sum(1, keepdim=True).double().float()
    pulled = (state.theta[:, None] * batch.folded.view(R, 2, 3)).sum(1)
    mixed = state.theta @ batch.as_long.T @ batch.as_long  # its six rows belong to all runs
    return Sgd(0.5 * state.theta + 0.1 * (kicked + pulled + mixed) + batch.shared * batch.number)


@pytest.mark.parametrize("size", [2, 3])
def test_batches_have_parts_of_the_runs_and_parts_for_all(cache, size):
    assert_updates(drawn_step, Sgd(THETA), draws(4), size, cache)


def test_steps_written_for_one_run_and_mapped(cache):
    x = torch.sin(torch.arange(3.0 * R)).view(R, 3)

    def loss(theta, rate):
        return ((x @ theta.view(3, 1)).tanh().sum() * rate).square() + theta[torch.tensor([0, 2])].square().sum()

    gradient = torch.func.vmap(torch.func.grad(loss))
    assert_updates(lambda s, _: Sgd(s.theta - RATES[:, None] * gradient(s.theta, RATES)), Sgd(THETA), None, 2, cache)


def test_losses_may_be_taken_of_all_rows_of_all_runs(cache):
    labels = torch.arange(R * 5) % 2  # (R * 5,)
    x = torch.sin(torch.arange(15.0)).view(5, 3)

    def loss(theta):
        rows = NETWORK(theta, x).flatten(0, 1)  # (R * 5, 2)
        return functional.cross_entropy(rows, labels, reduction="none").view(R, 5).mean(1)

    gradients = value_and_grad(loss)
    assert_updates(lambda s, _: Sgd(s.theta - gradients(s.theta)[1]), Sgd(WEIGHTS), None, 2, cache)


def test_a_mean_over_all_runs_that_only_scales_gradients(cache):
    x = torch.sin(torch.arange(15.0)).view(5, 3)

    def step(state, _):
        theta = state.theta.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(NETWORK(theta, x).square().mean(), theta)
        return Sgd(state.theta - gradient)

    assert_updates(step, Sgd(WEIGHTS), None, 3, cache)


TABLE = torch.cos(torch.arange(2.0 * R * 4)).view(2 * R, 4)


RUNS = torch.arange(R)


@pytest.mark.parametrize("number", [lambda: torch.arange(R), lambda: RUNS])
def test_rows_of_data_are_looked_up_by_the_number_of_the_run(cache, number):
    """The numbers may be made by the step or held by it, and are those of all runs in any case."""

    def step(state, _):
        at = number()
        return Sgd(0.5 * state.theta + TABLE[at * 2, state.theta.abs().long().sum(1) % 4][:, None])

    assert_updates(step, Sgd(THETA), None, 2, cache)


def test_weights_are_looked_up_by_the_number_of_the_run(cache):
    def step(state, _):
        chosen = state.theta[torch.arange(R), state.theta.abs().argmax(1)]
        return Sgd(0.5 * state.theta + chosen[:, None].tanh())

    assert_updates(step, Sgd(THETA), None, 2, cache)


@pytest.mark.parametrize("length", [4, 2 * R])
def test_sizes_may_be_left_out_and_axes_be_as_long_as_that_of_the_runs(cache, length):
    theta = torch.sin(torch.arange(1.0 * R * length)).view(R, length)
    step = lambda s, _: Sgd(s.theta.view(R, -1, 2).cumsum(1).reshape(R, -1).tanh())  # noqa: E731
    assert_updates(step, Sgd(theta), None, 3, cache)
    step = lambda s, _: Sgd(s.theta.view(R, -1).t().softmax(0).t() + s.theta.view(R, -1).tanh())  # noqa: E731
    assert_updates(step, Sgd(theta), None, 2, cache)


def test_a_leaf_may_be_constant(cache):
    class Two(NamedTuple):
        a: torch.Tensor
        b: torch.Tensor

    assert_updates(lambda s, _: Two(s.b.tanh(), THETA.exp()), Two(THETA, THETA + 1), None, 2, cache)


# ---- Blocks ----


def test_all_states_of_a_block_may_be_kept(cache):
    block = draws(4)
    whole, apart = engines(drawn_step, Sgd(THETA), next(unbind(block, 4)), 2, cache, every=True)
    native = apart.enter(Sgd(THETA))
    native, some = apart.states(native, apart.load(block, 4), 0, 1)
    native, others = apart.states(native, apart.load(block, 4), 1, 4)
    end, expected = whole.states(whole.enter(Sgd(THETA)), whole.load(block, 4), 0, 4)
    for found, right in zip([*some, *others, apart.leave(native)], [*expected, whole.leave(end)], strict=True):
        torch.testing.assert_close(found.theta, right.theta)


def test_numbers_do_not_depend_on_how_a_block_is_done(cache):
    block = draws(9)
    _, made = engines(drawn_step, Sgd(THETA), next(unbind(block, 9)), 2, cache)
    drawn = made.load(block, 9)
    once = made.advance(made.enter(Sgd(THETA)), drawn, 0, 9)
    native = made.enter(Sgd(THETA))
    for first, last in ((0, 1), (1, 1), (1, 6), (6, 9)):
        native = made.advance(native, drawn, first, last)
    assert torch.equal(made.leave(native).theta, made.leave(once).theta)


def test_each_run_is_finite_or_not_by_itself(cache):
    _, made = engines(lambda s, _: Sgd(s.theta * 0.5), Sgd(THETA), None, 2, cache)
    theta = THETA.clone()
    theta[[1, 4], 2] = torch.tensor([torch.nan, torch.inf])
    native = made.advance(made.enter(Sgd(theta)), made.load(None, 2), 0, 2)
    assert made.finite(native).tolist() == [True, False, True, True, False, True]


# ---- All runs at once ----


def test_steps_that_mix_runs_have_no_chunks():
    weights = torch.ones(R, R)
    steps = {
        "mean": lambda s, _: Sgd(s.theta - s.theta.mean(0)),
        "product": lambda s, _: Sgd(weights @ s.theta),
        "one run": lambda s, _: Sgd(s.theta * s.theta[0]),
        "their number": lambda s, _: Sgd(s.theta * torch.arange(R)[:, None]),
    }
    for name, step in steps.items():
        assert chunked(record(step, Sgd(THETA), None)[0], 2) is None, name


def trained(step, state=None):
    """theta at the end of a training, and the engine."""
    frames = train(
        Sgd(THETA) if state is None else state,
        step,
        full_batch,
        (0, 200),
        lambda k, state: {"theta": state.theta.numpy()},
    )
    *_, last = frames
    return last.values["theta"], last.engine


def after(step, updates=200):
    state = Sgd(THETA)
    for _ in range(updates):
        state = step(state, None)
    return state.theta


def test_trainings_have_chunks(chunks_at_all_sizes):
    step = lambda s, _: Sgd(0.9 * s.theta + RATES[:, None].tanh())  # noqa: E731
    theta, engine = trained(step)
    assert (engine, chunks_at_all_sizes) == ("xla", [2])
    np.testing.assert_allclose(theta, after(step), rtol=1e-5)


def by_rank(state, _):
    """Not seen in shapes: a run looks at another one."""
    return Sgd(0.9 * state.theta + 0.1 * state.theta.flip(0).tanh())


def test_where_chunks_give_other_numbers_all_runs_are_trained_at_once(chunks_at_all_sizes, caplog, monkeypatch):
    for _ in range(2):
        theta, engine = trained(by_rank)
        assert (engine, caplog.messages, chunks_at_all_sizes) == ("xla", [], [2, None])
        np.testing.assert_allclose(theta, after(by_rank), rtol=1e-4, atol=1e-6)
        monkeypatch.setattr(choice, "_check", None)  # the second time, both is known


def test_weights_looked_up_by_numbers_that_the_step_holds_are_trained_at_once(chunks_at_all_sizes):
    step = lambda s, _: Sgd(0.9 * s.theta + s.theta[RUNS, s.theta.argmax(1)][:, None].tanh())  # noqa: E731
    theta, engine = trained(step)
    assert (engine, chunks_at_all_sizes) == ("xla", [2, None])
    np.testing.assert_allclose(theta, after(step), rtol=1e-4, atol=1e-6)


def recorded(runs, length, step=lambda s, _: Sgd(s.theta * 2)):
    return record(step, Sgd(torch.ones(runs, length)), None)[0]


def test_a_chunk_is_as_large_as_the_cache_and_divides_the_runs():
    """Theta and the only result are in use, 8 bytes for each weight."""
    assert choice._at_a_time(recorded(64, 2**13)) is None  # 4 MB
    assert choice._at_a_time(recorded(64, 2**13 + 1)) == 4
    assert choice._at_a_time(recorded(128, 2**13)) == 8
    assert choice._at_a_time(recorded(90, 2**13)) == 6
    assert choice._at_a_time(recorded(4, 2**20)) == 2


@pytest.mark.parametrize("runs", [1, 2, 7, 127])
def test_where_nothing_divides_the_runs_they_are_trained_at_once(runs):
    assert choice._at_a_time(recorded(runs, 2**20)) is None


def test_programs_with_other_chunks_are_other_programs(cache):
    recording = recorded(6, 3)
    for size in (None, 2, 3, 2, None):
        Program(recording, "cpu", 5, every=False, cache=cache, size=size)
    assert len(list(cache.folder.glob("*"))) == 3
