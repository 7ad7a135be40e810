import numpy as np
import pytest

from dyntoolkit.experiment.judging import judge, needs, run_metrics
from dyntoolkit.experiment.training import train_needed
from dyntoolkit.phenomena.cross_task_linearity.digits import EXPERIMENT
from dyntoolkit.phenomena.cross_task_linearity.digits_claims import CLAIMS, ratio_without_over_with, slope_on_distance

SINGLE = [claim for claim in CLAIMS if claim.sweep is None and not claim.preset]


def test_ids_are_those_of_the_recipe() -> None:
    assert [claim.id for claim in CLAIMS] == [
        "ctl_ratio",
        "ctl_nontrivial",
        "coef_one",
        "merged_accuracy",
        "merged_equals_ensemble",
        "deviation_parabola",
        "deviation_exponent",
        "addition_linear",
        "negation_linear",
        "negation_forgets",
        "ratio_falls",
        "ratio_follows_distance",
    ]


def test_each_claim_is_expected_where_it_is_shown_and_not_in_its_controls() -> None:
    for claim in CLAIMS:
        shown = EXPERIMENT.configure(claim.preset or "ctl")
        assert claim.expected(shown), claim.id
        for control in claim.controls:
            assert not claim.expected(shown.replace(**control.changes)), (claim.id, control.label)


@pytest.mark.parametrize(
    "changes",
    [{"angle": 45.0}, {"lr": 0.2}, {"label_noise": 0.2}, {"shared_init": False}, {"pretrain_data": "upright"}],
)
def test_nothing_is_expected_where_it_was_seen_to_fail_or_not_measured(changes: dict[str, object]) -> None:
    for preset in ("ctl", "arithmetic"):
        config = EXPERIMENT.configure(preset, **changes)
        assert [claim.id for claim in CLAIMS if claim.expected(config)] == []


def test_claims_hold_for_seeds_that_were_not_used_to_write_them() -> None:
    config, seeds = EXPERIMENT.configure(), (41, 42)
    metrics = {config: run_metrics(EXPERIMENT, EXPERIMENT.run(config, seeds))}
    verdicts = judge(EXPERIMENT, config, seeds, metrics, SINGLE)
    assert len(verdicts) == 9
    for verdict in verdicts:
        assert verdict.expected, verdict.id
        assert all(verdict.holds), (verdict.id, verdict.value)


def test_controls_of_two_claims_are_confirmed_for_a_new_seed() -> None:
    config = EXPERIMENT.configure()
    claims = [claim for claim in CLAIMS if claim.id in ("ctl_ratio", "coef_one")]
    history = EXPERIMENT.run(config, (43,))
    metrics = train_needed(EXPERIMENT, needs(EXPERIMENT, config, claims), history, lambda *_: None)
    for verdict in judge(EXPERIMENT, config, (43,), metrics, claims):
        assert [control.passed for control in verdict.controls] == [True, True], verdict


def test_sweeps_judge_by_the_numbers_of_all_runs() -> None:
    runs = [{"ratio": np.array([0.09, 0.06])}, {"ratio": np.array([0.03, 0.03])}]
    np.testing.assert_allclose(ratio_without_over_with(runs), [3, 2])
    distances = [np.array([0.1, 0.2]), np.array([0.4, 0.8])]
    pooled = slope_on_distance([{"distance": d, "ratio": 0.2 * d**1.1} for d in distances])
    np.testing.assert_allclose(pooled, [1.1])
