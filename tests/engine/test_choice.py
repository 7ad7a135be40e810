"""Which engine trains, what is said about it, and that nobody else notices."""

import logging
import os
import random
import subprocess
import sys
import threading
import time
from itertools import cycle, islice
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from waiting import wait_for

from dyntoolkit.engine import choice, rules, xla
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.choice import BEST, FEW, Asked, asking, check_asked, current
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Sgd, adam
from dyntoolkit.errors import InputError

aten = torch.ops.aten
THETA = torch.sin(torch.arange(1.0, 7.0)).view(2, 3)
ENGINES = ("eager", "recorded", "xla")


def pull(state, seconds=0.9):
    return state.theta * seconds + 0.1 * torch.tanh(state.theta)


def step(state, _):
    """The step of most trainings here."""
    return Sgd(pull(state))


def training(step=step, record=(0, 2 * FEW), batches=full_batch, state=None):
    start = Sgd(THETA) if state is None else state
    return train(start, step, batches, record, lambda k, state: {"theta": state.theta.numpy()})


def ended(frames):
    """The last frame."""
    for frame in frames:
        last = frame
    return last


def naive(step=step, steps=2 * FEW, state=None):
    state = Sgd(THETA) if state is None else state
    for _ in range(steps):
        state = step(state, None)
    return state.theta.numpy()


@pytest.fixture
def fresh(forgetting, tmp_path):
    """No program is known, on disk neither, and nothing has been said; the folder where they will be."""
    return tmp_path / "dyntoolkit" / "programs"


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == choice.__name__]


# ---- What was asked for ----


def test_without_a_word_trainings_use_the_best_engine():
    assert current() == BEST == Asked(None, "cpu")


def test_what_was_asked_for_holds_within_the_context_and_in_this_thread():
    others = []
    with asking(Asked("eager")):
        with asking(Asked("recorded")):
            assert current() == Asked("recorded")
        assert current() == Asked("eager")
        thread = threading.Thread(target=lambda: others.append(current()))
        thread.start()
        thread.join()
    assert current() == BEST
    assert others == [BEST]
    with pytest.raises(ZeroDivisionError), asking(Asked("eager")):
        raise ZeroDivisionError
    assert current() == BEST


@pytest.mark.parametrize("engine", [None, *ENGINES])
def test_engines_that_there_are_can_be_asked_for(engine):
    assert check_asked(engine) == Asked(engine, "cpu")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("xlaa",), r"unknown engine 'xlaa'. Did you mean 'xla'\? Allowed: xla, recorded, eager."),
        (("jax",), "unknown engine 'jax'. Allowed: xla, recorded, eager."),
        ((None, "tpu"), "unknown device 'tpu'.* Allowed: cpu, cuda."),
        (("eager", "cuda"), "an eager step runs on the CPU, where its tensors are; leave the engine out."),
        ((None, "cuda"), "device: cuda needs a GPU and a JAX or torch that is built for it; there is none."),
        (("recorded", "cuda"), "device: cuda needs a GPU and a JAX or torch that is built for it; there is none."),
    ],
)
def test_what_cannot_be_had_is_said(asked, told, monkeypatch):
    monkeypatch.setattr(choice, "_jax_has_gpu", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=told):
        check_asked(*asked)


def test_a_gpu_may_be_there_for_either(monkeypatch):
    for jax_has, torch_has in ((True, False), (False, True)):
        monkeypatch.setattr(choice, "_jax_has_gpu", lambda jax_has=jax_has: jax_has)
        monkeypatch.setattr(torch.cuda, "is_available", lambda torch_has=torch_has: torch_has)
        assert check_asked(None, "cuda") == Asked(None, "cuda")


def test_whether_a_gpu_is_there_is_asked_of_jax():
    assert choice._jax_has_gpu() == any(device.platform == "gpu" for device in jax.devices())


def test_xla_cannot_be_asked_for_without_jax(monkeypatch):
    assert choice.has_jax()
    monkeypatch.setattr(choice, "has_jax", lambda: False)
    with pytest.raises(InputError, match=r"xla needs JAX, which is not installed here: pip install jax\.") as refused:
        check_asked("xla")
    assert refused.value.field == "engine"
    assert check_asked("recorded") == Asked("recorded")


# ---- The choice ----


@pytest.mark.parametrize(("updates", "engine"), [(FEW - 1, "eager"), (FEW, "xla")])
def test_a_training_of_few_updates_is_not_worth_a_program(updates, engine):
    assert ended(training(record=(0, updates))).engine == engine
    assert ended(training(record=(500, 500 + updates))).engine == engine


@pytest.mark.parametrize("updates", [1, 3, 2 * FEW])
def test_the_engine_that_was_asked_for_is_used_in_any_case(engine, updates):
    last = ended(training(record=(0, updates)))
    assert last.engine == engine
    np.testing.assert_allclose(last.values["theta"], naive(steps=updates), rtol=1e-5)


def test_where_nothing_trains_there_is_no_engine():
    assert [frame.engine for frame in training(record=(0,))] == [""]


def test_without_jax_the_operators_are_repeated_by_torch(monkeypatch, caplog):
    monkeypatch.setattr(choice, "has_jax", lambda: False)
    monkeypatch.setattr(choice, "_xla", None)
    last = ended(training())
    assert last.engine == "recorded"
    np.testing.assert_array_equal(last.values["theta"], naive())
    assert said(caplog) == []


def test_a_jax_that_cannot_be_loaded_is_done_without(fresh, monkeypatch, caplog):
    monkeypatch.setitem(choice.sys.modules, "dyntoolkit.engine.xla", None)
    last = ended(training())
    assert last.engine == "recorded"
    np.testing.assert_array_equal(last.values["theta"], naive())
    assert "XLA refuses it: ModuleNotFoundError: import of dyntoolkit.engine.xla halted" in said(caplog)[0]


def test_jax_is_loaded_ahead_where_it_is_installed(monkeypatch):
    loaded = []
    monkeypatch.setattr(choice.importlib, "import_module", loaded.append)
    choice.preload()  # it is there
    monkeypatch.delitem(choice.sys.modules, "dyntoolkit.engine.xla")
    with monkeypatch.context() as patch:
        patch.setattr(choice, "has_jax", lambda: False)
        choice.preload()
    choice.preload()
    wait_for(lambda: loaded)
    assert loaded == ["dyntoolkit.engine.xla"]


def test_where_an_operator_has_no_rule_torch_repeats_the_step_and_it_is_said_once(fresh, monkeypatch, caplog):
    monkeypatch.delitem(rules.RULES, aten.tanh.default)
    for _ in range(2):
        last = ended(training())
        assert last.engine == "recorded"
        np.testing.assert_array_equal(last.values["theta"], naive())
    assert said(caplog) == [
        "tests.engine.test_choice.step trains in torch, operator by operator: there is no rule for aten.tanh.default."
    ]


def test_xla_that_was_asked_for_is_refused_where_an_operator_has_no_rule(fresh, monkeypatch):
    monkeypatch.delitem(rules.RULES, aten.tanh.default)
    with asking(Asked("xla")), pytest.raises(InputError, match=r"there is no rule for aten.tanh.default\.$") as refused:
        ended(training())
    assert refused.value.field == "engine"


WRONG = {
    "numbers": lambda x: jnp.tanh(x) * 1.5,
    "one run": lambda x: jnp.tanh(x).at[1, 0].add(0.5),
    "not a number": lambda x: jnp.tanh(x) * jnp.nan,
    "shape": lambda x: jnp.tanh(x)[:, :2],
    "dtype": lambda x: jnp.tanh(x).astype(jnp.float64),
    "raises": lambda x: 1 / 0,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_rule_is_found_and_not_used(fresh, monkeypatch, caplog, wrong):
    monkeypatch.setitem(rules.RULES, aten.tanh.default, WRONG[wrong])
    for _ in range(2):
        last = ended(training())
        assert last.engine == "recorded"
        np.testing.assert_array_equal(last.values["theta"], naive())
    (message,) = said(caplog)
    assert message.startswith("tests.engine.test_choice.step trains in torch, operator by operator: ")
    assert ("xla gives other numbers than the step itself for theta" in message) == (
        wrong in ("numbers", "one run", "not a number")
    )


def test_the_check_sees_an_update_of_any_leaf(fresh, monkeypatch, caplog):
    monkeypatch.setitem(rules.RULES, aten.lerp.Tensor, lambda x, y, weight: x)
    gradient = torch.ones(2, 3)
    last = ended(training(lambda s, _: adam(s, gradient, 0.1), state=Adam.start(THETA)))
    assert last.engine == "recorded"
    assert "for theta" in said(caplog)[0] or "for mean" in said(caplog)[0]


def test_programs_that_were_checked_are_not_checked_again(fresh, monkeypatch):
    ended(training())
    monkeypatch.setattr(choice, "_check", None)
    assert ended(training(state=Sgd(THETA / 2))).engine == "xla"


@pytest.mark.parametrize("engine", ["recorded", "xla"])
def test_an_engine_that_fails_is_not_used(fresh, monkeypatch, caplog, engine):
    kind = xla.Xla if engine == "xla" else choice.Recorded
    monkeypatch.setattr(choice, "has_jax", lambda: engine == "xla")
    monkeypatch.setattr(kind, "load", lambda *_: 1 / 0)
    last = ended(training())
    assert last.engine == ("recorded" if engine == "xla" else "eager")
    np.testing.assert_array_equal(last.values["theta"], naive())
    assert f"{engine} fails: ZeroDivisionError: division by zero" in said(caplog)[0]


# ---- Steps that cannot be recorded ----


class Counting:
    """A step that does something else at each call."""

    def __init__(self):
        self.calls = 0

    def __call__(self, state, _):
        self.calls += 1
        return Sgd(state.theta + self.calls)


class Drawing:
    """A step that draws its numbers by numpy, each time into an array of its own or always into the same."""

    def __init__(self, *, again):
        self.generator = np.random.default_rng(3)
        self.buffer = np.empty((2, 3), dtype=np.float32) if again else None

    def __call__(self, state, _):
        noise = self.generator.random((2, 3), dtype=np.float32, out=self.buffer)
        return Sgd(state.theta + torch.from_numpy(noise))


@pytest.mark.parametrize("make", [Counting, lambda: Drawing(again=False), lambda: Drawing(again=True)])
@pytest.mark.parametrize("record", [(0, 2 * FEW), (0, 1, 2 * FEW)])  # the first block has many steps, or one
def test_a_step_that_is_never_the_same_trains_in_python(caplog, monkeypatch, make, record):
    monkeypatch.setattr(choice, "_SAID", set())
    last = ended(training(make(), record))
    assert last.engine == "eager"
    (message,) = said(caplog)
    assert " trains in Python, step by step: it does not do the same in each step, " in message
    assert "it does not do the same in each step" in message or "gives other numbers than the step itself" in message


def test_a_step_that_counts_is_told_from_one_that_does_not():
    with pytest.raises(choice.RecordingError, match="it does not do the same in each step"):
        choice._recorded(Counting(), Sgd(THETA), None, 2)
    with pytest.raises(choice.RecordingError, match="it does not do the same in each step"):
        choice._recorded(Drawing(again=False), Sgd(THETA), None, 1)
    structures = cycle([step, lambda state, _: Sgd(-state.theta)])
    with pytest.raises(choice.RecordingError, match="it does not do the same in each step"):
        choice._recorded(lambda state, _: next(structures)(state, None), Sgd(THETA), None, 1)
    recording, after = choice._recorded(step, Sgd(THETA), None, 2)
    assert torch.equal(after.theta, step(Sgd(THETA), None).theta)
    assert recording.key


def test_numbers_that_are_no_numbers_are_the_same():
    step = lambda state, _: Sgd(state.theta * torch.tensor([[1.0], [torch.nan]]))  # noqa: E731
    recording, _ = choice._recorded(step, Sgd(THETA), None, 1)
    assert len(recording.held) == 1


def test_a_step_that_asks_for_numbers_trains_in_python_and_it_is_said_once(caplog, monkeypatch):
    monkeypatch.setattr(choice, "_SAID", set())

    def asking_step(state, _):
        return Sgd(state.theta * (0.9 if state.theta.sum() > 0 else 0.8))

    for _ in range(2):
        last = ended(training(asking_step))
        assert last.engine == "eager"
        np.testing.assert_array_equal(last.values["theta"], naive(asking_step))
    reason = ".item(), or a tensor as a condition, makes Python depend on numbers"
    (sentence,) = said(caplog)
    assert sentence.endswith(f".asking_step trains in Python, step by step: {reason}.")


@pytest.mark.parametrize("engine", ["recorded", "xla"])
def test_an_engine_that_was_asked_for_is_refused_for_such_a_step(engine):
    frames = training(lambda state, _: Sgd(state.theta * state.theta.sum().item()), (0, 5))
    told = r"trains with the engine eager only: \.item\(\), or a tensor as a condition, makes Python depend on"
    with asking(Asked(engine)), pytest.raises(InputError, match=told) as refused:
        ended(frames)
    assert refused.value.field == "engine"


@pytest.mark.parametrize("good", [0, 1, 2, 3, 120])
def test_an_error_of_the_step_reaches_who_trains(good):
    """Whether it comes while the step is recorded, while it is checked or later."""
    calls = []

    def failing(state, _):
        if len(calls) == good:
            raise ZeroDivisionError("of its own")
        calls.append(1)
        return Sgd(state.theta * state.theta.sum().sign().item() if good == 120 else state.theta)

    with pytest.raises(ZeroDivisionError, match="of its own"):
        ended(training(failing))


def test_a_step_that_fails_only_while_it_is_recorded_trains_in_python(caplog, monkeypatch):
    monkeypatch.setattr(choice, "_SAID", set())

    def shy(state, _):
        if torch.overrides._get_current_function_mode_stack():
            raise ZeroDivisionError("looked at")
        return step(state, None)

    last = ended(training(shy))
    assert last.engine == "eager"
    np.testing.assert_array_equal(last.values["theta"], naive())
    assert "it raised ZeroDivisionError while it was recorded: looked at" in said(caplog)[0]


def test_nothing_is_drawn_from_torch_for_a_step_that_cannot_be_recorded():
    def noisy(state, _):
        return Sgd(state.theta + torch.randn(2, 3))

    torch.manual_seed(1)
    last = ended(training(noisy))
    torch.manual_seed(1)
    np.testing.assert_array_equal(last.values["theta"], naive(noisy))


# ---- How much a program may differ ----


@pytest.mark.parametrize(
    ("found", "close"),
    [
        ([1.1, 1.0], True),
        ([1.1 + 1e-6, 1.0], True),  # rounding
        ([1.1 + 1e-4, 1.0 + 1e-7], True),  # a small part of the change
        ([1.12, 1.0], False),
        ([1.1, 1.0 + 1e-3], False),  # where nothing changes, nothing may differ
        ([1.0, 1.0], False),  # no update
        ([torch.nan, 1.0], False),
        ([torch.inf, 1.0], False),
    ],
)
def test_a_program_may_differ_in_rounding_and_in_a_small_part_of_what_changes(found, close):
    before, right = torch.tensor([[1.0], [1.0]]), torch.tensor([[1.1], [1.0]])  # only the first run changes
    assert choice._close(before, right, torch.tensor(found).view(2, 1), right.double()) == close


def test_where_a_step_rounds_much_a_program_may_too_but_not_without_bound():
    before, right = torch.tensor([[1.0]]), torch.tensor([[1.1]])
    off = right + 0.01  # a tenth of the change
    assert not choice._close(before, right, off, right.double())
    assert choice._close(before, right, off, right.double() + 1e-4)
    assert not choice._close(before, right, right + 0.04, right.double() + 1)


def test_what_is_not_finite_is_the_same_if_it_is_so_in_both():
    before = torch.ones(1, 3)
    for right, found, close in (
        ([torch.nan, torch.inf, 2.0], [torch.nan, torch.inf, 2.0], True),
        ([torch.nan, torch.inf, 2.0], [torch.inf, torch.nan, 2.0], True),
        ([torch.nan, torch.inf, 2.0], [torch.nan, torch.inf, 3.0], False),
        ([torch.nan, 2.0, 2.0], [1.0, 2.0, 2.0], False),
    ):
        right = torch.tensor([right])
        assert choice._close(before, right, torch.tensor([found]), right.double()) == close


def test_whole_numbers_and_truth_are_exact():
    for right in (torch.tensor([3, 2**40]), torch.tensor([True, False])):
        assert choice._close(right, right, right.clone(), right)
        assert not choice._close(right, right, right.roll(1), right)
    three = torch.tensor([3])
    assert not choice._close(three, three, torch.tensor([3], dtype=torch.int32), three)


@pytest.mark.usefixtures("fresh")
def test_saturated_neurons_under_adam_train_in_xla():
    """Their gradients are rounding, and Adam's step of it as large as any: another tanh gives other steps."""
    network = MLP((1, 40, 1), torch.tanh)
    x = torch.linspace(-1, 1, 20).unsqueeze(1)
    gradient = value_and_grad(lambda theta: (network(theta, x) - torch.sin(3 * x)).square().mean((1, 2)))
    start = Adam.start(12 * Stream(range(8), "init").normal(network.parameters))
    frames = training(lambda state, _: adam(state, gradient(state.theta)[1], 0.01), state=start)
    assert ended(frames).engine == "xla"


# ---- While a program compiles ----


@pytest.fixture
def slow(fresh, monkeypatch):
    """Programs that take half a second, and how often one was made."""
    made, build = [], xla.Program.__init__

    def slowly(*args, **options):
        made.append(1)
        time.sleep(0.5)
        build(*args, **options)

    monkeypatch.setattr(xla.Program, "__init__", slowly)
    return made


@pytest.fixture
def held(fresh, monkeypatch):
    """Programs that are made when the event `held.free` is set; `held.made` holds a number for each."""
    held, build = SimpleNamespace(free=threading.Event(), made=[]), xla.Program.__init__

    def later(*args, **options):
        held.made.append(1)
        assert held.free.wait(60)
        build(*args, **options)

    monkeypatch.setattr(xla.Program, "__init__", later)
    return held


def test_heartbeats_come_while_a_program_compiles(held):
    frames = training()
    assert next(frames).values
    assert {(frame.step, frame.engine, len(frame.values)) for frame in islice(frames, 5)} == {(0, "", 0)}
    held.free.set()
    assert ended(frames).engine == "xla"
    assert len(held.made) == 1


def test_a_training_may_be_left_while_its_program_compiles(held):
    frames = training()
    assert [next(frames).step for _ in range(3)] == [0, 0, 0]
    frames.close()
    held.free.set()
    assert ended(training()).engine == "xla"  # the next one finds it
    assert len(held.made) == 1


def test_two_threads_that_train_one_step_compile_once(slow):
    lasts, barrier = [], threading.Barrier(2)

    def work(scale):
        barrier.wait()
        lasts.append((scale, ended(training(state=Sgd(scale * THETA)))))

    threads = [threading.Thread(target=work, args=(scale,)) for scale in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(slow) == 1
    for scale, last in lasts:
        assert last.engine == "xla"
        np.testing.assert_allclose(last.values["theta"], naive(state=Sgd(scale * THETA)), rtol=1e-5)


def test_other_steps_compile_one_after_the_other(slow, monkeypatch):
    at_once, most, lock = [0], [0], threading.Lock()
    build = xla.Program.__init__

    def watched(*args, **options):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        try:
            build(*args, **options)
        finally:
            with lock:
                at_once[0] -= 1

    monkeypatch.setattr(xla.Program, "__init__", watched)
    steps = [
        lambda state, _, rate=rate: Sgd(pull(state, rate)) for rate in (0.8, 0.7)
    ]  # a number makes another program
    threads = [threading.Thread(target=lambda step=step: ended(training(step))) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert len(slow) == 2


def test_no_program_is_begun_once_python_ends(slow, monkeypatch):
    ended_thread = threading.Thread()
    monkeypatch.setattr(threading, "main_thread", lambda: ended_thread)
    assert ended(training()).engine == "recorded"
    assert slow == []


def test_programs_that_were_not_used_for_long_are_forgotten(fresh, monkeypatch):
    monkeypatch.setattr(choice, "MOST", 2)
    made = []
    monkeypatch.setattr(xla, "Program", lambda recording, *_, **__: made.append(recording.key) or recording.key)
    keys = {
        rate: choice._recorded(lambda state, _, rate=rate: Sgd(pull(state, rate)), Sgd(THETA), None, 1)[0]
        for rate in (0.6, 0.7, 0.8)
    }
    for rate in (0.6, 0.7, 0.6, 0.8, 0.6, 0.7):
        recording = keys[rate]
        assert choice._program((recording.key,), recording, "cpu", 5, False, None).result(10) == recording.key
    assert made == [keys[rate].key for rate in (0.6, 0.7, 0.8, 0.7)]


# ---- Nobody else notices ----


def test_the_readers_jax_is_as_it_was():
    before, flags = dict(jax.config.values), os.environ.get("XLA_FLAGS")
    default = jnp.ones(1).devices()
    assert ended(training()).engine == "xla"
    frames = training(record=(0, 50, 2 * FEW), state=Adam.start(THETA), step=lambda s, _: adam(s, s.theta, 0.1))
    for _ in frames:
        assert not jax.config.jax_enable_x64
        assert jnp.arange(3).dtype == jnp.int32
        with pytest.warns(UserWarning, match="float64 requested in ones is not available"):
            assert jnp.ones(1, jnp.float64).dtype == jnp.float32
        assert jnp.ones(1).devices() == default
    assert dict(jax.config.values) == before
    assert os.environ.get("XLA_FLAGS") == flags


def test_a_reader_with_other_settings_of_jax_gets_the_same_numbers():
    reference = ended(training()).values["theta"]
    with jax.enable_x64(True), jax.default_matmul_precision("bfloat16"):
        last = ended(training())
    assert last.engine == "xla"
    np.testing.assert_array_equal(last.values["theta"], reference)


def test_another_default_dtype_of_torch_trains_rightly(fresh):
    def with_constants(state, _):
        return Sgd((state.theta * torch.full((3,), 0.3)).float())

    torch.set_default_dtype(torch.float64)
    try:
        last = ended(training(with_constants))
        expected = naive(with_constants)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_allclose(last.values["theta"], expected, rtol=1e-5, atol=1e-30)


def test_modes_of_torch_are_as_they_were():
    for mode in (torch.no_grad, torch.enable_grad):
        with mode():
            before = torch.is_grad_enabled()
            for _ in training():
                assert torch.is_grad_enabled() == before
            assert not torch.overrides._get_current_function_mode_stack()


def test_nothing_is_said_where_all_is_well(caplog):
    with caplog.at_level(logging.WARNING):
        ended(training())
    assert caplog.records == []


# ---- A step that changes between its first calls and the last ----


def counting():
    """A step with another learning rate from its 150th call on."""
    calls = [0]

    def step(state, _):
        calls[0] += 1
        return Sgd(state.theta * (0.9 if calls[0] < 150 else 0.5))

    return step


class Schedule:
    """The same, with the count in an object."""

    def __init__(self):
        self.calls = 0

    def __call__(self, state, _):
        self.calls += 1
        return Sgd(state.theta * (0.9 if self.calls < 150 else 0.5))


def lottery():
    return lambda state, _: Sgd(state.theta * (0.5 if random.random() < 0.02 else 0.9))


@pytest.mark.parametrize("impure", [counting, Schedule, lottery])
def test_a_step_that_counts_or_draws_is_found_though_its_first_steps_are_alike(impure, fresh, caplog):
    assert ended(training(impure(), (0, 5, 200))).engine == "eager"
    (sentence,) = said(caplog)
    assert "it does not do the same in each step" in sentence


def in_place(held):
    held["rate"].mul_(0.5)


def replaced(held):
    held["rate"] = held["rate"] * 0.5


def number(held):
    held["factor"] = held["factor"] * 0.5


@pytest.mark.parametrize("change", [in_place, replaced, number])
@pytest.mark.parametrize("engine", [None, "recorded"])
def test_what_measure_changes_of_what_a_step_holds_counts_from_then_on(change, engine, fresh, caplog):
    def run():
        held = {"rate": torch.full((1, 1), 0.5), "factor": 0.5}

        def measure(k, state):
            if k == 150:
                change(held)
            return {"theta": state.theta.numpy()}

        frames = train(
            Sgd(THETA),
            lambda state, _: Sgd(state.theta * (1 - 0.1 * held["rate"] * held["factor"])),
            full_batch,
            (0, 150, 300, 450),
            measure,
        )
        return ended(frames)

    with asking(Asked("eager")):
        expected = run()
    with asking(Asked(engine)):
        found = run()
    np.testing.assert_allclose(found.values["theta"], expected.values["theta"], rtol=1e-5)
    assert found.engine == "eager"
    assert said(caplog)


def test_a_cache_that_the_first_call_fills_is_no_change(fresh):
    kept = {}

    def step(state, _):
        if "rate" not in kept:
            kept["rate"] = torch.full((1, 1), 0.9)
        return Sgd(state.theta * kept["rate"])

    assert ended(training(step)).engine == "xla"


@pytest.mark.parametrize("engine", ["recorded", "eager"])
def test_a_matrix_that_will_not_do_is_an_error_as_in_torch(engine, fresh):
    def step(state, _):
        return Sgd(state.theta - 0.01 * torch.linalg.cholesky(state.theta[:, :1].unsqueeze(2)).squeeze(2))

    state = Sgd(torch.full((2, 3), 1.0))
    with asking(Asked(engine)), pytest.raises(torch.linalg.LinAlgError):
        ended(training(step, (0, 400), state=state))


def test_in_xla_such_a_matrix_makes_a_run_diverge(fresh):
    def step(state, _):
        return Sgd(state.theta - 0.01 * torch.linalg.cholesky(state.theta[:, :1].unsqueeze(2)).squeeze(2))

    last = ended(training(step, (0, 400), state=Sgd(torch.full((2, 3), 1.0))))
    assert last.engine == "xla"
    assert (last.diverged > 0).all()


def test_an_index_out_of_range_makes_a_run_diverge_in_xla(fresh):
    table = torch.full((8, 1), 0.9)

    def step(state, index):
        return Sgd(state.theta * table[index])

    def batches(k0, k1):
        return torch.tensor([[0, 8 if k == 150 else 1] for k in range(k0, k1)])

    last = ended(training(step, batches=batches))
    assert last.diverged.tolist() == [-1, 151]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_forked_off_one_that_used_xla_trains_without(fresh):
    assert ended(training()).engine == "xla"
    code = """
import multiprocessing, sys
from dyntoolkit.catalog.run import run

def child(queue):
    queue.put(run("condensation.directions", steps=200).attrs["engine"])

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    print(run("condensation.directions", steps=200).attrs["engine"])
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get(timeout=60))
    process.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["xla", "recorded"]
