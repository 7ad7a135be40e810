"""`check` finds an experiment that breaks a rule, and says which in words."""

import math
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny_experiment
import torch
from tiny_experiment import SHRINKS, TINY, TinyConfig

from dyntoolkit.catalog.check import Report, check
from dyntoolkit.engine.history import Frame
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Config, Control, Experiment, Preset, choice, number
from dyntoolkit.figure.panels import BLUE, Axis, Heat, Line, Panel

RECORD = "presets and claims are valid"
ALONE = "a run alone equals the same run among others"
ANY = "any settings end with a figure, metrics and verdicts"
THEORY = "theory is a number at any settings, NaN where there is none"
RANDOM = "no global random state is touched"
TORCH = "the same whatever torch is told globally"


class Pull(Config):
    """A weight is pulled to 0."""

    lr: float = number(0.1, 0.01, 0.5)
    steps: int = number(20, 4, 1000, structural=True)
    law: str = choice("linear", ["linear", "cubic"])


def pull(configs, seeds):
    """w (R,) at every step, in float32 and with torch's derivative."""
    lr = torch.tensor([config.lr for config in configs], dtype=torch.float32)
    w = torch.tensor([1 + seed / 10 for seed in seeds], dtype=torch.float32)
    for k in range(configs[0].steps + 1):
        if k:
            leaf = w.detach().requires_grad_()
            (slope,) = torch.autograd.grad((leaf**2).sum(), leaf)
            w = w - lr * slope
        yield Frame(k, configs[0].steps, {"w": w.numpy()}, np.full(len(seeds), -1))


GOOD = Experiment("good", Pull, pull)


def report(experiment, **bounds):
    return check(experiment, **{"most": {"steps": 16}, "examples": 5, **bounds})


def found(experiment, **bounds):
    """The rules that are broken -> how."""
    return {rule: problem for rule, problem in report(experiment, **bounds).findings if problem}


def changed(**values):
    """The good experiment, each of whose frames has these values changed: name -> (frame, configs, seeds) -> value."""

    def frames(configs, seeds):
        for frame in pull(configs, seeds):
            new = {name: make(frame, configs, seeds) for name, make in values.items()}
            yield replace(frame, values={**frame.values, **new})

    return replace(GOOD, simulate=frames)


def test_a_good_experiment_keeps_all_rules_and_the_report_says_so():
    seen = report(GOOD)
    assert seen.passed
    assert repr(seen) == "\n".join(
        ["good: keeps all rules", *[f"✓ {rule}" for rule in (RECORD, ALONE, ANY, THEORY, RANDOM, TORCH)]]
    )


def test_one_with_claims_presets_and_divergence_keeps_them_too():
    assert found(TINY, most={"steps": 100}) == {}


def test_the_report_of_a_broken_rule():
    broken = Report("mine", ((RECORD, ""), (ALONE, "'w' at step 3 is another one among others")))
    assert not broken.passed
    assert repr(broken) == (f"mine: breaks a rule\n✓ {RECORD}\n✗ {ALONE}: 'w' at step 3 is another one among others")


def test_it_takes_a_name_and_refuses_what_it_cannot_try():
    with pytest.raises(InputError, match="unknown experiment 'nothing'"):
        check("nothing")
    with pytest.raises(InputError, match="most: 'stpes' is no field of Pull"):
        check(GOOD, most={"stpes": 3})
    with pytest.raises(InputError, match="examples takes a whole number from 1 to 10000, got 0"):
        check(GOOD, examples=0)
    assert found(GOOD, most={"steps": 3}) == {}  # less than the least: the least


# Presets and claims.

BAD_RECORDS = {
    "unknown field 'lrr'. Did you mean 'lr'? Allowed: lr, pull, steps, law.": {
        "presets": {"a": Preset("x", {"lrr": 1.0})}
    },
    "lr takes a number from 0 to 3, got 4.": {"presets": {"a": Preset("x"), "b": Preset("x", {"lr": 4})}},
    "two claims are called 'shrinks'": {"claims": (SHRINKS, replace(SHRINKS, statement="again"))},
    "claim 'shrinks' names a preset 'gone' that there is not": {"claims": (replace(SHRINKS, preset="gone"),)},
    "where of claim 'shrinks' says neither True nor False": {"claims": (replace(SHRINKS, where=lambda c: None),)},
    "a control of claim 'shrinks' changes 'pul', which is no field": {
        "claims": (replace(SHRINKS, controls=(Control("c", {"pul": 0.1}),)),)
    },
}


@pytest.mark.parametrize("problem", BAD_RECORDS)
def test_presets_and_claims_that_are_not_valid(problem):
    assert found(replace(TINY, **BAD_RECORDS[problem]))[RECORD] == problem


# Runs among others.


def test_runs_that_feel_each_other():
    mean = changed(w=lambda frame, configs, seeds: frame.values["w"] - frame.values["w"].mean())
    assert found(mean) == {ALONE: "'w' at step 0 is another one among others"}


def test_runs_that_share_what_is_their_own():
    first = changed(lr=lambda frame, configs, seeds: np.full(len(seeds), configs[0].lr))
    assert found(first) == {ALONE: "'lr' at step 0 is another one among others"}


def test_what_is_measured_at_other_steps_or_not_at_all():
    def sparse(configs, seeds):
        for frame in pull(configs, seeds):
            yield frame if frame.step % 2 == 0 or len(seeds) == 1 else replace(frame, values={})

    def shy(configs, seeds):
        for frame in pull(configs, seeds):
            yield frame if len(seeds) > 1 else replace(frame, values={**frame.values, "alone": frame.values["w"]})

    assert found(replace(GOOD, simulate=sparse)) == {
        ALONE: "'w' is measured at other steps among others; is a field such as `steps` in need of structural=True?"
    }
    assert found(replace(GOOD, simulate=shy)) == {ALONE: "'alone' is recorded alone, and not among others"}


def test_rounding_is_no_difference():
    noise = changed(w=lambda frame, configs, seeds: frame.values["w"] * (1 + 1e-7 * (len(seeds) - 2)))
    assert found(noise) == {}


def test_later_than_until_chaos_is_allowed():
    def late(frame, configs, seeds):
        return frame.values["w"] + (frame.step > 10) * len(seeds)

    assert found(changed(w=late), until=10) == {}
    assert found(changed(w=late), until=11) == {ALONE: "'w' at step 11 is another one among others"}


# Any settings.


def growing(history):
    """A panel more from step 4 on."""
    return [Panel("w", Axis("step"), Axis("w"))] * (1 + (history.step >= 4))


def marked(history):
    x = np.arange(2.0)
    name = "line" if history.step < 4 else "curve"
    return [Panel("w", Axis("step"), Axis("w"), [Line(name, x, x, BLUE)])]


def numbered(history):
    x = np.arange(2.0)
    return [Panel("w", Axis("step"), Axis("w"), [Line(f"line: {history.step}", x, x, BLUE)])]


def lopsided(history):
    return [Panel("w", Axis("x"), Axis("y"), [Heat("z", ["a", "b"], ["c"], np.ones((2, 2)))])]


@pytest.mark.parametrize(
    ("panels", "problem"),
    [
        (growing, "the figure changes its panels or marks at step"),
        (marked, "the figure changes its panels or marks at step"),
        (lopsided, "the map 'z' has (2, 2) numbers for 1 rows, 2 columns"),
        (lambda history: history["gone"], "KeyError: 'gone'"),
    ],
)
def test_a_figure_that_changes_or_fails(panels, problem):
    assert problem in found(replace(GOOD, panels=panels))[ANY]


def test_a_mark_may_say_numbers_after_a_colon():
    assert found(replace(GOOD, panels=numbered)) == {}


@pytest.mark.parametrize(
    ("metrics", "problem"),
    [
        (lambda history: {"end": history["w"]}, "metric 'end' has the shape"),
        (lambda history: {"end": 1.0}, "metric 'end' has the shape (), not one number per run"),
        (lambda history: {"end": np.array(["a", "b"])[: len(history.seeds)]}, "metric 'end' holds <U1, not numbers"),
        (lambda history: {"end": history.last("gone")}, "KeyError: 'gone'"),
    ],
)
def test_metrics_that_are_no_number_per_run(metrics, problem):
    assert problem in found(replace(GOOD, metrics=metrics))[ANY]


def test_settings_that_fail_are_named_by_what_differs_from_the_default():
    def fragile(configs, seeds):
        if configs[0].law == "cubic":
            raise ZeroDivisionError("no cubes")
        yield from pull(configs, seeds)

    assert "law cubic: ZeroDivisionError: no cubes" in found(replace(GOOD, simulate=fragile), examples=20)[ANY]


def test_a_run_that_ends_before_its_end():
    def short(configs, seeds):
        yield from list(pull(configs, seeds))[:-1]

    assert ": the last frame is at step" in found(replace(GOOD, simulate=short))[ANY]


def test_infinity_in_a_run_that_counts_as_healthy():
    infinite = changed(w=lambda frame, configs, seeds: np.full(len(seeds), np.inf))
    assert "'w' is infinite at step" in found(infinite)[ANY]
    missing = changed(gap=lambda frame, configs, seeds: np.full(len(seeds), np.nan))
    assert found(missing) == {}


class Strict(Pull):
    def check(self):
        if self.law == "cubic":
            raise InputError("no cubes.", "law")


def test_a_rule_between_fields_may_refuse_settings():
    assert found(replace(GOOD, config=Strict)) == {}


def test_warnings_and_verdicts_are_asked_for_too():
    class Warned(Pull):
        def warnings(self):
            raise ZeroDivisionError("no words")

    assert "ZeroDivisionError: no words" in found(replace(GOOD, config=Warned))[ANY]

    claim = replace(SHRINKS, metric="gone", controls=(), where=lambda c: True)
    assert "unknown metric 'gone'. Allowed: w, diverged_at." in found(replace(GOOD, claims=(claim,)))[ANY]


def test_a_metric_that_looks_at_the_other_runs_is_found():
    relative = replace(GOOD, metrics=lambda history: {"rel": history["w"][-1] - history["w"][-1].mean()})
    assert "metric 'rel' of a run is another one when its history is alone" in found(relative)[ANY]


def test_a_run_without_an_end_is_given_up_and_nothing_is_wrong_with_it(monkeypatch):
    def endless(configs, seeds):
        step = 0
        while True:
            yield Frame(step, 10**9, {"w": np.ones(len(seeds))}, np.full(len(seeds), -1))
            step += 1

    monkeypatch.setattr(sys.modules["dyntoolkit.catalog.check"], "SECONDS", 0.0)
    assert found(replace(GOOD, simulate=endless)) == {}


# What is global.


@pytest.mark.parametrize(
    ("draw", "whose"),
    [
        (lambda: torch.rand(1).item(), "torch's"),
        (lambda: np.random.rand(), "numpy's"),
        (lambda: random.random(), "Python's"),
    ],
)
def test_global_random_numbers(draw, whose):
    def drawing(frame, configs, seeds):
        draw()
        return frame.values["w"]

    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        assert found(changed(w=drawing))[RANDOM] == f"it draws from {whose} global generator: use Stream"
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def test_tensors_that_do_not_say_their_dtype():
    def untyped(frame, configs, seeds):
        return torch.tensor([1 / 3] * len(seeds)).numpy()

    assert found(changed(third=untyped)) == {TORCH: "'third' at step 0 is another one with the default dtype float64"}


def test_metrics_that_depend_on_the_default_device():
    def metrics(history):
        return {"end": torch.tensor(history["w"][-1]).numpy()}

    assert TORCH in found(replace(GOOD, metrics=metrics))
    assert "with another default device: " in found(replace(GOOD, metrics=metrics))[TORCH]


def test_figures_that_need_gradients():
    def panels(history):
        leaf = torch.ones(1, requires_grad=True)
        (leaf * 2).sum().backward()
        return []

    assert "in inference mode: " in found(replace(GOOD, panels=panels))[TORCH]


@pytest.mark.parametrize("simulate", [pull, tiny_experiment.simulate])
def test_the_defaults_of_torch_are_put_back_also_after_a_failure(simulate):
    before = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    check(replace(GOOD, simulate=simulate, config=Pull if simulate is pull else TinyConfig), examples=1)

    def failing(configs, seeds):
        raise ZeroDivisionError
        yield

    assert not check(replace(GOOD, simulate=failing), examples=1).passed
    assert (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()) == before
    assert not torch.is_inference_mode_enabled()


def test_theory_gives_a_number_of_a_metric_that_there_is_or_nan():
    good = replace(GOOD, predictions={"w": lambda c: c.lr, "v": lambda c: math.nan}, borders={"b": lambda c: 1})
    assert found(good) == {}
    assert found(replace(GOOD, predictions={"w": lambda c: 1 / (c.lr - 0.5) if c.lr < 0.5 else math.inf})) == {
        THEORY: "lr 0.5: the prediction 'w' is inf"
    }
    assert found(replace(GOOD, borders={"b": lambda c: np.ones(2)}))[THEORY].endswith("'b' is array([1., 1.])")
    assert "ZeroDivisionError: division by zero" in found(replace(GOOD, borders={"b": lambda c: 1 / 0}))[THEORY]
    assert found(replace(GOOD, predictions={"v": lambda c: 1.0}))[ANY].endswith("'v', which is no metric")
