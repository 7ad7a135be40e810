import math
from dataclasses import replace

import numpy as np
import pytest
from tiny_experiment import ALL_SMALL, FALLS, MEAN, SETTLES, SHRINKS, TINY

from dyntoolkit.errors import InputError
from dyntoolkit.experiment.claims import Claim, above, below, between, select
from dyntoolkit.experiment.judging import HERE, judge, majority, more_seeds, needs, run_metrics, succeeded
from dyntoolkit.experiment.training import loops, train_needed

DEFAULT = TINY.configure()


def verdicts(claims, config=DEFAULT, seeds=(0, 1, 2)):
    """Train everything that the claims need, and judge them."""
    history = TINY.run(config, seeds)
    metrics = train_needed(TINY, needs(TINY, config, claims), history, lambda label, frame: None)
    return {verdict.id: verdict for verdict in judge(TINY, config, seeds, metrics, claims)}


def single(claims, config=DEFAULT, seeds=(0, 1, 2)):
    """Judge what one history can tell."""
    history = TINY.run(config, seeds)
    return {v.id: v for v in judge(TINY, config, seeds, {config: run_metrics(TINY, history)}, claims)}


@pytest.mark.parametrize(
    ("bounds", "text", "inside", "outside"),
    [
        (below(0.05), "< 0.05", [-3, 0.049], [0.05, 1, math.nan, math.inf]),
        (above(3), "> 3", [3.1], [3, -1, math.nan]),
        (between(0.9, 1.1), "0.9 to 1.1", [1.0], [0.9, 1.1, math.nan]),
    ],
)
def test_bounds_are_open_and_never_hold_nan(bounds, text, inside, outside):
    assert str(bounds) == text
    assert bounds.hold(np.array(inside, dtype=float)).all()
    assert not bounds.hold(np.array(outside, dtype=float)).any()


def test_select_keeps_the_recipes_order_and_refuses_unknown_ids():
    assert [claim.id for claim in select(TINY.claims, ["falls", "shrinks"])] == ["shrinks", "falls"]
    assert select(TINY.claims, ["all"]) == list(TINY.claims)
    with pytest.raises(InputError, match=r"unknown claim 'shrink'\. Did you mean 'shrinks'\?"):
        select(TINY.claims, ["shrink"])


def test_majority_is_more_than_half():
    assert majority([True, True, False])
    assert not majority([True, False])
    assert not majority([])


def test_more_seeds_follow_the_largest():
    assert more_seeds([7, 3], 4) == (7, 3, 8, 9)
    assert more_seeds([7, 3, 4], 2) == (7, 3, 4)


def test_needs_lists_presets_controls_and_sweeps_with_their_seeds():
    plan = needs(TINY, DEFAULT, TINY.claims)
    assert next(iter(plan)) == DEFAULT
    assert plan == {
        DEFAULT: 5,  # the mean of claim mean_start and of a control
        DEFAULT.replace(lr=0.0): 1,
        DEFAULT.replace(lr=0.1): 1,
        TINY.configure("pulled"): 1,
        DEFAULT.replace(lr=0.1, pull=0.1): 1,
        DEFAULT.replace(lr=0.5, pull=0.1): 1,
        DEFAULT.replace(lr=0.4): 3,
        DEFAULT.replace(lr=0.6): 3,
    }


def test_needs_of_a_claim_that_is_not_expected_leave_its_controls_out():
    still = TINY.configure("still")
    assert needs(TINY, still, [SHRINKS]) == {still: 1}


def test_a_single_history_judges_single_claims_with_the_numbers_of_its_metrics():
    found = single(TINY.claims)
    assert list(found) == ["shrinks", "settles", "mean_start"]  # sweeps were not trained
    shrinks = found["shrinks"]
    np.testing.assert_allclose(shrinks.value, 0.5**20 * np.array([1.0, 1.1, 1.2]))
    assert shrinks.holds == (True, True, True)
    assert (shrinks.threshold, shrinks.expected, shrinks.where, shrinks.passed) == ("< 0.01", True, HERE, True)
    assert not found["settles"].expected
    assert found["settles"].where == HERE
    assert found["mean_start"].passed  # a mean over three seeds decides nothing
    assert found["mean_start"].note == "mean start needs 5 seeds"


def test_a_claim_of_another_preset_is_judged_there_once_trained():
    verdict = verdicts([SETTLES])["settles"]
    assert (verdict.where, verdict.expected, verdict.passed) == ("preset pulled", True, True)
    np.testing.assert_allclose(verdict.value, 1.0, rtol=1e-6)
    assert single([SETTLES], TINY.configure("pulled"))["settles"].where == HERE  # asked for by hand: no other run


def test_controls_are_judged_by_the_kind_they_are():
    stays, larger, mean = verdicts([SHRINKS])["shrinks"].controls
    assert (stays.threshold, stays.value, stays.confirmed) == ("not < 0.01", (1.0, 1.1, 1.2), (True, True, True))
    assert (larger.threshold, larger.confirmed) == ("above the claim's own", (True, True, True))
    assert mean.value == (1.0, 1.1, 1.2)  # the seeds asked for ...
    assert mean.mean == pytest.approx(1.2)  # ... and the mean over all five
    assert (mean.threshold, mean.confirmed) == ("mean 0.9 to 1.5", (True,))


def test_the_mean_of_a_control_is_left_open_below_five_seeds():
    (mean,) = single([SHRINKS])["shrinks"].controls  # the other two were not trained
    assert (mean.confirmed, mean.note, mean.mean) == ((), "the mean needs 5 seeds", None)


@pytest.mark.parametrize("changes", [{"lr": 0.6}, {"lr": 0.5}])
def test_a_control_that_does_not_exceed_or_fail_is_not_confirmed(changes):
    controls = tuple(replace(control, changes=changes) for control in SHRINKS.controls[:2])
    found = verdicts([replace(SHRINKS, controls=controls)])["shrinks"]
    assert found.passed
    assert [control.passed for control in found.controls] == [False, False]
    assert succeeded([found])  # the control is reported, and does not decide


def test_a_sweep_is_judged_per_seed_and_its_control_changes_every_entry():
    verdict = verdicts([FALLS])["falls"]
    np.testing.assert_allclose(verdict.value, (0.9 / 0.5) ** 20)
    pulled, refused = verdict.controls
    end = {lr: (1 - lr) ** 20 * (1 - 0.1 / lr) + 0.1 / lr for lr in (0.1, 0.5)}
    assert pulled.value[0] == pytest.approx(end[0.1] / end[0.5])
    assert pulled.passed is bool(pulled.value[0] < 2)
    assert refused.confirmed == ()
    assert refused.note == "cannot be trained here: lr 3 allows no pull."


def test_a_pooled_sweep_adds_seeds_and_counts_for_each_seed_asked_for():
    verdict = verdicts([ALL_SMALL], seeds=(0, 9))["all_small"]
    seeds = np.array([0, 9, 10])
    expected = np.mean([0.6**20 * (1 + seeds / 10), 0.4**20 * (1 + seeds / 10)])
    assert verdict.value == pytest.approx((expected, expected))


def test_a_pooled_sweep_gives_the_same_whatever_else_is_judged_along_with_it():
    at_half = replace(ALL_SMALL, sweep=replace(ALL_SMALL.sweep, changes=({"lr": 0.5},)))
    alone = verdicts([at_half], seeds=(4,))["all_small"].value
    assert alone == pytest.approx((0.5**20 * 1.5,))  # seeds 4, 5, 6
    assert verdicts([at_half, MEAN], seeds=(4,))["all_small"].value == alone  # MEAN needs seeds 7 and 8, too


def test_a_condition_on_the_mean_decides_for_every_seed():
    assert verdicts([MEAN], seeds=(0,))["mean_start"].holds == (True,)  # mean over seeds 0..4: 1.2
    failed = verdicts([MEAN], seeds=(5,))["mean_start"]  # over 5..9: 1.7
    assert failed.holds == (False,)
    assert failed.value[0] < 0.01
    assert failed.threshold == "< 0.01; mean start 1.15 to 1.25"
    assert failed.note == "mean start = 1.7 over 5 seeds"


def test_a_refused_sweep_is_void_and_not_expected():
    config = TINY.configure(pull=0.5)
    sweep = Claim(
        id="x",
        statement="x",
        metric="",
        bound=below(1),
        where=lambda c: True,
        sweep=type(FALLS.sweep)(({"lr": 3.0},), lambda rows: 1),
    )
    verdict = verdicts([sweep], config)["x"]
    assert (verdict.expected, verdict.holds) == (False, (False, False, False))
    assert "lr 3 allows no pull" in verdict.note
    assert all(math.isnan(value) for value in verdict.value)


def test_a_diverged_run_has_no_metrics_holds_nothing_and_confirms_nothing():
    lost = TINY.configure("lost")
    history = TINY.run(lost, (0, 1))
    metrics = run_metrics(TINY, history)
    assert np.isnan([metrics["end"], metrics["start"], metrics["t_small"]]).all()
    np.testing.assert_array_equal(metrics["diverged_at"], history.diverged)
    assert single([SHRINKS], lost)["shrinks"].holds == (False, False, False)
    control = replace(SHRINKS.controls[0], changes={"lr": 3.0, "steps": 100})
    (seen,) = verdicts([replace(SHRINKS, controls=(control,))])["shrinks"].controls
    assert not any(seen.confirmed)


def test_never_is_no_divergence_and_confirms_a_control():
    never = Claim(
        id="t",
        statement="x gets small",
        metric="t_small",
        bound=below(1e3),
        where=lambda c: c.lr > 0,
        controls=(SHRINKS.controls[0],),
    )
    verdict = verdicts([never])["t"]
    assert verdict.passed
    assert math.isnan(verdict.controls[0].value[0])
    assert verdict.controls[0].passed


def test_success_needs_every_expected_claim():
    found = single(TINY.claims)
    assert succeeded(found.values())  # settles is not expected here
    assert not succeeded(single([MEAN], seeds=(5, 6, 7, 8, 9)).values())


def test_jobs_share_a_loop_where_their_structural_fields_agree():
    longer = DEFAULT.replace(steps=30)
    jobs = [(DEFAULT, 0), (longer, 0), (DEFAULT.replace(lr=0.1), 7), (longer.replace(law="cubic"), 1)]
    assert loops(jobs) == [[jobs[0], jobs[2]], [jobs[1]], [jobs[3]]]
