import math
from dataclasses import replace

import numpy as np
import pytest
from tiny_experiment import ALL_SMALL, FALLS, MEAN, SETTLES, SHRINKS, TINY

from dyntoolkit.experiment.claims import Claim, Control, Sweep, below, defaults, mean_of
from dyntoolkit.experiment.judging import HERE, judge, judge_history, majority, run_metrics, succeeded
from dyntoolkit.experiment.plan import Plan
from dyntoolkit.experiment.training import to_the_end

DEFAULT = TINY.configure()


def planned(claims, config=DEFAULT, seeds=(0, 1, 2)):
    """Train everything that the claims need, and judge them."""
    plan = Plan(TINY, config, seeds, claims)
    histories = [TINY.run(config, seeds), *(to_the_end(*stage()) for stage in plan.stages)]
    return {verdict.id: verdict for verdict in plan.verdicts(histories)}


def single(claims, config=DEFAULT, seeds=(0, 1, 2)):
    """Judge what one history can tell."""
    return {verdict.id: verdict for verdict in judge_history(TINY, TINY.run(config, seeds), claims)}


def test_majority_is_more_than_half():
    assert majority([True, True, False])
    assert not majority([True, False])
    assert not majority([])


def test_a_single_history_judges_single_claims_with_the_numbers_of_its_metrics():
    found = single(TINY.claims)
    assert list(found) == ["shrinks", "settles"]  # the runs of the sweeps were not trained
    shrinks = found["shrinks"]
    np.testing.assert_allclose(shrinks.value, 0.5**20 * np.array([1.0, 1.1, 1.2]))
    assert shrinks.holds == (True, True, True)
    assert (shrinks.threshold, shrinks.expected, shrinks.place, shrinks.passed) == ("< 0.01", True, HERE, True)
    assert not found["settles"].expected
    assert found["settles"].place == HERE


def test_a_history_is_judged_by_the_claims_of_its_experiment():
    history = TINY.run()
    assert judge_history(TINY, history) == judge_history(TINY, history, TINY.claims)


def test_a_claim_of_another_preset_is_judged_there_once_trained():
    verdict = planned([SETTLES])["settles"]
    assert (verdict.place, verdict.expected, verdict.passed) == ("preset pulled", True, True)
    np.testing.assert_allclose(verdict.value, 1.0, rtol=1e-6)
    assert single([SETTLES], TINY.configure("pulled"))["settles"].place == HERE  # asked for by hand: no other run


def test_controls_are_judged_by_the_kind_they_are():
    stays, larger, mean = planned([SHRINKS])["shrinks"].controls
    assert (stays.threshold, stays.value, stays.confirmed) == ("not < 0.01", (1.0, 1.1, 1.2), (True, True, True))
    assert (larger.threshold, larger.confirmed, larger.pooled) == ("> 1", (True, True, True), False)
    np.testing.assert_allclose(larger.value, (0.9 / 0.5) ** 20)
    assert mean.value == pytest.approx((1.2, 1.2, 1.2))  # over five seeds, for each of those asked for
    assert (mean.threshold, mean.confirmed, mean.pooled) == ("0.9 to 1.5", (True, True, True), True)


def test_controls_whose_runs_are_missing_are_left_out():
    assert single([SHRINKS])["shrinks"].controls == ()
    (mean,) = single([SHRINKS], seeds=range(5))["shrinks"].controls  # five seeds are enough for the mean
    assert mean.value == pytest.approx((1.2,) * 5)


def test_a_control_by_another_metric_of_the_same_run():
    claim = replace(SHRINKS, controls=(Control("start", metric="start", bound=below(1.15)),))
    (start,) = single([claim])["shrinks"].controls
    assert (start.value, start.confirmed) == ((1.0, 1.1, 1.2), (True, True, False))


@pytest.mark.parametrize(
    "control",
    [
        Control("not smaller enough", {"lr": 0.6}),
        Control("the same run", {"lr": 0.5}),
        Control("no larger", bound=SHRINKS.controls[1].bound, sweep=Sweep(({"lr": 0.6}, {}), FALLS.sweep.value)),
        Control("another mean", bound=below(1), sweep=mean_of("start")),
    ],
)
def test_a_control_that_shows_the_opposite_is_not_confirmed_and_decides_nothing(control):
    found = planned([replace(SHRINKS, controls=(control,))])["shrinks"]
    assert found.passed
    assert [control.passed for control in found.controls] == [False]
    assert succeeded([found])


def test_a_sweep_is_judged_per_seed_and_its_control_changes_every_entry():
    verdict = planned([FALLS])["falls"]
    np.testing.assert_allclose(verdict.value, (0.9 / 0.5) ** 20)
    assert verdict.grounds == "pull 0"
    pulled, refused = verdict.controls
    end = {lr: (1 - lr) ** 20 * (1 - 0.1 / lr) + 0.1 / lr for lr in (0.1, 0.5)}
    assert pulled.value[0] == pytest.approx(end[0.1] / end[0.5])
    assert pulled.passed is bool(pulled.value[0] < 2)
    assert refused.confirmed == ()
    assert refused.note == "cannot be trained here: lr 3 allows no pull."


def test_a_pooled_sweep_adds_seeds_and_counts_for_each_seed_asked_for():
    verdict = planned([ALL_SMALL], seeds=(0, 9))["all_small"]
    seeds = np.array([0, 9, 10])
    expected = np.mean([0.6**20 * (1 + seeds / 10), 0.4**20 * (1 + seeds / 10)])
    assert verdict.value == pytest.approx((expected, expected))


def test_a_pooled_sweep_gives_the_same_whatever_else_is_judged_along_with_it():
    at_half = replace(ALL_SMALL, sweep=replace(ALL_SMALL.sweep, changes=({"lr": 0.5},)))
    alone = planned([at_half], seeds=(4,))["all_small"].value
    assert alone == pytest.approx((0.5**20 * 1.5,))  # seeds 4, 5, 6
    assert planned([at_half, MEAN], seeds=(4,))["all_small"].value == alone  # MEAN needs seeds 7 and 8, too


def test_a_mean_over_seeds_decides_for_every_seed():
    assert planned([MEAN], seeds=(0,))["mean_start"].holds == (True,)  # over seeds 0..4: 1.2
    failed = planned([MEAN], seeds=(5, 6))["mean_start"]  # over 5..9: 1.7
    assert failed.holds == (False, False)
    assert failed.value == pytest.approx((1.7, 1.7))
    assert failed.threshold == "1.15 to 1.25"
    assert single([MEAN], seeds=(0, 1)) == {}  # two seeds decide nothing


def test_a_number_of_metrics_and_settings_is_judged_as_a_metric_is():
    claim = Claim(id="r", statement="r", value=lambda m, c: m["end"] / m["start"] / c.lr, bound=below(1))
    np.testing.assert_allclose(single([claim])["r"].value, 0.5**20 / 0.5)


def test_a_refused_sweep_is_not_expected_and_says_why():
    sweep = Claim(id="x", statement="x", bound=below(1), sweep=Sweep(({"lr": 3.0},), FALLS.sweep.value))
    verdict = planned([sweep], TINY.configure(pull=0.5))["x"]
    assert (verdict.expected, verdict.value, verdict.holds) == (False, (), ())
    assert verdict.note == "cannot be judged here: lr 3 allows no pull."


def never(*_):
    raise AssertionError("evaluated")


@pytest.mark.parametrize(
    "by",
    [
        {"value": never},
        {"sweep": Sweep(({"lr": 0.1},), never)},
        {"metric": "end", "controls": (Control("c", {"lr": 0.1}), Control("d", sweep=Sweep(({},), never)))},
    ],
)
def test_a_claim_that_is_not_expected_is_not_evaluated_beyond_its_metric_and_trains_nothing(by):
    claim = Claim(id="x", statement="x", bound=below(1), where=defaults(lr=0.4), **by)
    assert Plan(TINY, DEFAULT, (0, 1), [claim]).stages == []
    verdict = planned([claim], seeds=(0, 1))["x"]
    assert (verdict.expected, verdict.controls, verdict.note) == (False, (), "")
    assert verdict.grounds == "default settings, lr 0.4"
    assert len(verdict.value) == len(verdict.holds) == (2 if "metric" in by else 0)


def test_where_a_claim_is_not_expected_these_settings_may_lack_its_metric():
    claim = Claim(id="x", statement="x", bound=below(1), metric="only_elsewhere", where=defaults(lr=0.4))
    assert single([claim])["x"].value == ()


def test_a_claim_whose_preset_was_not_trained_is_judged_here_as_not_expected():
    history = TINY.run(DEFAULT)
    (verdict,) = judge(TINY, DEFAULT, 1, {DEFAULT: run_metrics(TINY, history)}, [SETTLES])
    assert (verdict.place, verdict.expected) == (HERE, False)


def test_only_the_seeds_asked_for_are_judged():
    metrics = {DEFAULT: run_metrics(TINY, TINY.run(DEFAULT, (0, 1, 2)))}
    (verdict,) = judge(TINY, DEFAULT, 2, metrics, [SHRINKS])
    assert len(verdict.value) == 2


def test_a_diverged_run_has_no_metrics_holds_nothing_and_confirms_nothing():
    lost = TINY.configure("lost")
    history = TINY.run(lost, (0, 1))
    metrics = run_metrics(TINY, history)
    assert np.isnan([metrics["end"], metrics["start"], metrics["t_small"]]).all()
    np.testing.assert_array_equal(metrics["diverged_at"], history.diverged)
    assert single([SHRINKS], lost, (0, 1))["shrinks"].holds == (False, False)
    everywhere = replace(SHRINKS, where=lambda c: True, controls=())
    assert single([everywhere], lost)["shrinks"].passed is False
    control = replace(SHRINKS.controls[0], changes={"lr": 3.0, "steps": 100})
    (seen,) = planned([replace(SHRINKS, controls=(control,))])["shrinks"].controls
    assert not any(seen.confirmed)


def test_a_mean_with_a_diverged_run_confirms_nothing():
    control = Control("mean", bound=below(1e9), sweep=mean_of("start", lr=3.0, steps=100))
    (seen,) = planned([replace(SHRINKS, controls=(control,))])["shrinks"].controls
    assert seen.pooled
    assert not any(seen.confirmed)


def test_never_is_no_divergence_and_confirms_a_control():
    gets_small = Claim(
        id="t",
        statement="x gets small",
        metric="t_small",
        bound=below(1e3),
        where=lambda c: c.lr > 0,
        controls=(SHRINKS.controls[0],),
    )
    verdict = planned([gets_small])["t"]
    assert verdict.passed
    assert math.isnan(verdict.controls[0].value[0])
    assert verdict.controls[0].passed


def test_success_needs_every_expected_claim():
    assert succeeded(single(TINY.claims).values())  # settles is not expected here
    failed = single([MEAN, SHRINKS], seeds=(5, 6, 7, 8, 9))
    assert not succeeded(failed.values())
    assert succeeded([failed["shrinks"]])
    assert succeeded([])
