"""Recorded steps as programs of XLA: blocks of any length, leaves and batches of all kinds, programs on disk."""

import os
import subprocess
import sys
from typing import NamedTuple

import jax
import numpy as np
import pytest
import torch

from dyntoolkit.engine import rules, xla
from dyntoolkit.engine.batches import full_batch, parts_of, unbind
from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.program_cache import ProgramCache
from dyntoolkit.engine.record import RecordingError, record
from dyntoolkit.engine.update import Adam, Sgd, adam
from dyntoolkit.engine.xla import Program, Xla

THETA = torch.sin(torch.arange(1.0, 7.0)).view(2, 3)


class Kinds(NamedTuple):
    """One leaf (R, ...) of each dtype that a state may have."""

    half: torch.Tensor
    single: torch.Tensor
    double: torch.Tensor
    truth: torch.Tensor
    byte: torch.Tensor
    short: torch.Tensor
    long: torch.Tensor


class Sample(NamedTuple):
    """A batch: x (R, 3), and a kick or None."""

    x: torch.Tensor
    kick: torch.Tensor | None


@pytest.fixture
def cache(tmp_path):
    return ProgramCache(tmp_path / "programs")


@pytest.fixture
def compiled(monkeypatch):
    """One entry for each program that is compiled, rather than found."""
    made, compile_ = [], jax.stages.Lowered.compile

    def noted(*args, **options):
        made.append(args)
        return compile_(*args, **options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", noted)
    return made


def engine_of(step, state, batch=None, *, room=10, every=False, cache):
    """The engine of a step that is recorded with a batch of one update."""
    recording, _ = record(step, state, batch)
    return Xla(type(state), recording, Program(recording, "cpu", room, every=every, cache=cache))


def assert_updates(made, step, state, block, steps):
    """The engine does with a block what the step does, update by update."""
    expected, native = state, made.enter(state)
    for batch in unbind(block, steps):
        expected = step(expected, batch)
    found = made.leave(made.advance(native, made.load(block, steps), 0, steps))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)  # the dtype as well
        assert a.is_floating_point() or torch.equal(a, b)
    return found


# ---- Blocks ----


def noisy(state, batch):
    return Sgd(0.9 * state.theta + torch.tanh(batch))


def noise(steps):
    return torch.sin(torch.arange(6.0 * steps)).view(steps, 2, 3)


def test_one_program_does_blocks_of_any_length(cache, compiled):
    made = engine_of(noisy, Sgd(THETA), THETA, cache=cache)
    for steps in (1, 3, 9, 10):
        assert_updates(made, noisy, Sgd(THETA), noise(steps), steps)
    assert len(compiled) == 1


def test_numbers_do_not_depend_on_the_room(cache):
    found = []
    for room in (3, 10, 250):
        for every in (False, True):
            made = engine_of(noisy, Sgd(THETA), THETA, room=room, every=every, cache=cache)
            found.append(assert_updates(made, noisy, Sgd(THETA), noise(3), 3).theta)
    assert all(torch.equal(theta, found[0]) for theta in found)


def test_an_update_sees_its_own_batch_and_those_behind_the_block_are_not_seen(cache):
    made = engine_of(noisy, Sgd(THETA), THETA, cache=cache)
    drawn = made.load(noise(4), 4)
    native = made.advance(made.enter(Sgd(THETA)), drawn, 2, 3)
    torch.testing.assert_close(made.leave(native).theta, noisy(Sgd(THETA), noise(4)[2]).theta)
    assert [array.shape for array in drawn] == [(10, 2, 3)]
    poisoned = made.load(torch.cat([noise(4), torch.full((2, 2, 3), torch.nan)]), 6)
    assert made.finite(made.advance(native, poisoned, 0, 4)).all()


def test_no_update_at_all_changes_nothing(cache):
    made = engine_of(noisy, Sgd(THETA), THETA, cache=cache)
    native = made.advance(made.enter(Sgd(THETA)), made.load(noise(2), 2), 1, 1)
    assert torch.equal(made.leave(native).theta, THETA)


def test_a_training_has_blocks_of_several_lengths(compiled):
    """The last block is shorter; the steps to record cut others."""
    record, step = (0, 260, 261, 640), noisy
    draws = noise(640)
    with asking(Asked("xla")):
        frames = list(
            train(Sgd(THETA), step, lambda k0, k1: draws[k0:k1], record, lambda k, s: {"theta": s.theta.numpy()})
        )
    expected = Sgd(THETA)
    for k in range(640):
        expected = step(expected, draws[k])
    assert frames[-1].engine == "xla"
    np.testing.assert_allclose(frames[-1].values["theta"], expected.theta, rtol=1e-5, atol=1e-6)
    assert len(compiled) == 1


def test_batches_may_come_in_one_buffer_again_and_again():
    buffer, draws = torch.empty(50, 2, 3), noise(200)

    def batches(k0, k1):
        buffer.copy_(draws[k0:k1])
        return buffer

    with asking(Asked("xla")):
        *_, last = train(
            Sgd(THETA), noisy, batches, (0, 200), lambda k, state: {"theta": state.theta.numpy()}, block=50
        )
    expected = Sgd(THETA)
    for batch in draws:
        expected = noisy(expected, batch)
    np.testing.assert_allclose(last.values["theta"], expected.theta, rtol=1e-5, atol=1e-6)


# ---- Leaves and batches ----


def kinds():
    return Kinds(
        THETA.half(),
        THETA.clone(),
        THETA.double() / 3,
        torch.tensor([True, False]),
        torch.tensor([[250], [3]], dtype=torch.uint8),
        torch.tensor([7, -7], dtype=torch.int16),
        torch.tensor([2**40 + 1, -(2**62)]),
    )


def on(state, batch):
    kick = 1 if batch is None else batch
    return Kinds(
        state.half * 0.5,
        state.single + state.double.float(),
        state.double / 3 + kick,
        state.single.sum(1) > state.double.mean(1),
        state.byte + 3,
        state.short * 2,
        state.long + state.truth,
    )


@pytest.mark.parametrize("every", [False, True])
def test_leaves_keep_their_dtypes(cache, every):
    made = engine_of(on, kinds(), every=every, cache=cache)
    assert_updates(made, on, kinds(), None, 3)
    expected, drawn = kinds(), made.load(None, 3)
    if every:
        native, states = made.states(made.enter(kinds()), drawn, 0, 3)
        for state in states:
            expected = on(expected, None)
            for a, b in zip(state, expected, strict=True):
                torch.testing.assert_close(a, b)
        assert [leaf.dtype for leaf in made.leave(native)] == [leaf.dtype for leaf in expected]


def test_numbers_in_float64_and_int64_are_exact(cache):
    made = engine_of(on, kinds(), cache=cache)
    found = made.leave(made.enter(kinds()))
    for a, b in zip(found, kinds(), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    mixed = made.select(np.array([True, False]), made.enter(kinds()), made.enter(kinds()))
    for a, b in zip(made.leave(mixed), kinds(), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def test_runs_with_whole_numbers_are_finite(cache):
    state = kinds()
    state.single[0, 0] = torch.nan
    made = engine_of(on, kinds(), cache=cache)
    assert made.finite(made.advance(made.enter(state), made.load(None, 1), 0, 1)).tolist() == [False, True]


@pytest.mark.parametrize("theta", [torch.ones(1, 3).expand(2, 3), THETA.view(3, 2).T, THETA.repeat(1, 2)[:, ::2]])
def test_a_leaf_may_lie_in_memory_in_any_way_or_need_a_gradient(cache, theta):
    step = lambda state, batch: Sgd(state.theta * 0.5 + batch)  # noqa: E731
    made = engine_of(step, Sgd(theta), theta, cache=cache)
    assert_updates(made, step, Sgd(theta), torch.stack([theta, theta]).transpose(1, 2).transpose(1, 2), 2)
    needing = theta.clone().requires_grad_()
    assert torch.equal(made.leave(made.enter(Sgd(needing))).theta, theta)


BLOCKS = {
    "nothing": (None, lambda batch: 0.0),
    "a tensor": (noise(4), lambda batch: batch),
    "numbers": (torch.arange(4.0), lambda batch: batch),
    "whole numbers": (torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0]]), lambda batch: THETA[batch]),
    "truth": (noise(4) > 0, lambda batch: torch.where(batch, 1.0, 2.0)),
    "float64": (noise(4).double() / 3, lambda batch: batch.float()),
    "a named tuple": (Sample(noise(4), None), lambda batch: batch.x),
    "two": (Sample(noise(4), torch.arange(8.0).view(4, 2, 1)), lambda batch: batch.x * batch.kick),
    "nested": (
        ((), Sample(noise(4), None), (torch.arange(4), (None, noise(4)))),
        lambda batch: batch[1].x - batch[2][1][1] * batch[2][0],
    ),
    "not read": ((noise(4), torch.arange(4)), lambda batch: batch[0]),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_batches_are_tensors_or_tuples_of_any_kind(cache, name):
    block, read = BLOCKS[name]

    def step(state, batch):
        return Sgd(0.5 * state.theta + read(batch))

    one = next(unbind(block, 4))
    made = engine_of(step, Sgd(THETA), one, cache=cache)
    assert len(made.load(block, 4)) == len(parts_of(block))
    assert_updates(made, step, Sgd(THETA), block, 4)


def test_a_leaf_may_stay_be_another_one_or_be_constant(cache):
    class Three(NamedTuple):
        a: torch.Tensor
        b: torch.Tensor
        c: torch.Tensor

    def step(state, _):
        return Three(state.b, state.b, THETA.exp())

    made = engine_of(step, Three(THETA, THETA + 1, THETA), every=True, cache=cache)
    assert_updates(made, step, Three(THETA, THETA + 1, THETA), None, 3)


def test_numbers_of_the_step_are_those_of_this_training(cache, compiled):
    """A hyperparameter in a tensor belongs to the training, a number of Python to the program."""
    for rate in (0.5, 0.25):
        rates = torch.tensor([[rate], [2 * rate]])
        step = lambda state, _, rates=rates: Sgd(state.theta * rates.exp())  # noqa: E731
        assert_updates(engine_of(step, Sgd(THETA), cache=cache), step, Sgd(THETA), None, 3)
    assert len(compiled) == 1
    step = lambda state, _: Sgd(state.theta * 0.5)  # noqa: E731
    assert_updates(engine_of(step, Sgd(THETA), cache=cache), step, Sgd(THETA), None, 3)
    assert len(compiled) == 2


# ---- What it cannot do ----


def test_all_operators_without_a_rule_are_named(cache, monkeypatch):
    for name in ("tanh", "exp"):
        monkeypatch.delitem(rules.RULES, getattr(torch.ops.aten, name).default)
    with pytest.raises(RecordingError, match=r"^there is no rule for aten\.exp\.default, aten\.tanh\.default$"):
        engine_of(lambda s, _: Sgd(s.theta.tanh().exp().tanh()), Sgd(THETA), cache=cache)


@pytest.mark.parametrize("where", ["state", "held", "batch"])
def test_bfloat16_is_refused(cache, where):
    small = THETA.bfloat16()
    steps = {
        "state": (lambda state, _: Sgd(state.theta * 2), Sgd(small), None),
        "held": (lambda state, _: Sgd(state.theta * small), Sgd(THETA), None),
        "batch": (lambda state, batch: Sgd(state.theta * batch), Sgd(THETA), small),
    }
    with pytest.raises(RecordingError, match="numpy, by which numbers go to XLA, knows no bfloat16"):
        engine_of(*steps[where], cache=cache)


def test_complex_numbers_are_left_to_torch():
    waves = torch.polar(THETA, THETA)
    *_, last = train(
        Sgd(THETA),
        lambda state, _: Sgd(0.9 * (state.theta * waves).abs()),
        full_batch,
        (0, 200),
        lambda k, state: {"theta": state.theta.numpy()},
    )
    assert last.engine == "recorded"


# ---- Programs on disk ----

NETWORK = MLP((3, 4, 1), torch.tanh)
X, Y = torch.sin(torch.arange(15.0)).view(5, 3), torch.cos(torch.arange(5.0)).view(5, 1)
GRADIENTS = value_and_grad(lambda theta: (NETWORK(theta, X) - Y).square().mean((1, 2)))
WEIGHTS = torch.sin(torch.arange(2.0 * NETWORK.parameters)).view(2, -1)
RATES = torch.tensor([0.1, 0.01])


def descend(state, _):
    return adam(state, GRADIENTS(state.theta)[1], RATES)


def training(record=(0, 200)):
    return train(Adam.start(WEIGHTS), descend, full_batch, record, lambda k, state: {"theta": state.theta.numpy()})


def trained(record=(0, 200)):
    """The measured weights, (T, R, P), and the engine."""
    frames = list(training(record))
    return np.stack([f.values["theta"] for f in frames if f.values]), frames[-1].engine


@pytest.mark.parametrize("record", [(0, 200), range(201)])
def test_a_program_is_found_again_and_does_the_same_to_the_last_bit(forgetting, compiled, record):
    first, engine = trained(record)
    assert (engine, len(compiled)) == ("xla", 1)
    assert len(forgetting()) == 1
    second, engine = trained(record)
    assert (engine, len(compiled)) == ("xla", 1)
    np.testing.assert_array_equal(second, first)


def test_a_program_in_memory_is_not_looked_for_on_disk(forgetting, compiled, monkeypatch):
    first, _ = trained()
    monkeypatch.setattr(ProgramCache, "get", None)
    second, _ = trained()
    np.testing.assert_array_equal(second, first)
    assert len(compiled) == 1


def test_other_blocks_states_kept_and_other_machines_have_programs_of_their_own(cache, compiled, monkeypatch):
    def make(**options):
        engine_of(noisy, Sgd(THETA), THETA, cache=cache, **options)
        return len(compiled)

    assert [make(), make(), make(room=11), make(every=True), make(room=11), make()] == [1, 1, 2, 3, 3, 3]
    monkeypatch.setattr(xla, "machine", lambda kind: f"another {kind}")
    assert [make(), make()] == [4, 4]


def test_a_machine_is_its_versions_our_code_and_its_processor(monkeypatch, tmp_path):
    def changed():
        xla.machine.cache_clear()
        return xla.machine("cpu")

    here = changed()
    assert here == xla.machine("cpu")
    other = tmp_path / "rules.py"
    other.write_text("RULES = {}")
    with monkeypatch.context() as patch:
        patch.setattr(rules, "__file__", str(other))
        assert changed() != here
    for package in (jax, torch):
        with monkeypatch.context() as patch:
            patch.setattr(package, "__version__", "1.0")
            assert changed() != here
    with monkeypatch.context() as patch:
        patch.setattr(xla, "version", lambda package: "1.0" if package == "jaxlib" else "")
        assert changed() != here
    with monkeypatch.context() as patch:
        patch.setattr(xla.platform, "machine", lambda: "abacus")
        assert changed() != here
    assert changed() == here


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import jax, torch
torch.set_num_threads(1)
import test_xla
{todo}
"""


def in_a_process(todo, home):
    """What a new process prints that does something with this file."""
    script = SCRIPT.format(folder=os.path.dirname(__file__), todo=todo)
    command = [sys.executable, "-W", "error", "-c", script]
    environment = os.environ | {"XDG_CACHE_HOME": str(home)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout


@pytest.mark.slow
def test_a_program_is_found_by_another_process(tmp_path):
    todo = "theta, engine = test_xla.trained(); print(engine, theta.tobytes().hex())"
    first = in_a_process(todo, tmp_path)
    assert first.startswith("xla ")
    assert in_a_process(f"jax.stages.Lowered.compile = None; {todo}", tmp_path) == first


@pytest.mark.slow
def test_a_process_may_end_while_a_program_compiles(tmp_path):
    todo = "frames = test_xla.training(); print([next(frames).step for _ in range(5)])"
    assert in_a_process(todo, tmp_path) == "[0, 0, 0, 0, 0]\n"
