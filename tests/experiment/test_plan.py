"""What the claims need beyond a run is trained, and nothing twice."""

from dataclasses import replace

import pytest
from tiny_experiment import ALL_SMALL, SETTLES, SHRINKS, TINY

from dyntoolkit.engine.streams import MOST
from dyntoolkit.experiment.claims import Claim, Control, Sweep, below, mean_of
from dyntoolkit.experiment.plan import Plan, control_runs, more_seeds, needed
from dyntoolkit.experiment.training import to_the_end

DEFAULT = TINY.configure()


def trained(plan):
    """The runs of the plan's stages, in order."""
    histories = [to_the_end(*stage()) for stage in plan.stages]
    assert all(history.done for history in histories)
    return [
        [(config, seed) for config, seed in zip(history.configs, history.seeds, strict=True)] for history in histories
    ]


def test_more_seeds_follow_the_largest_and_begin_anew_where_there_is_none():
    assert more_seeds([7, 3], 4) == (7, 3, 8, 9)
    assert more_seeds([7, 3, 4], 2) == (7, 3, 4)
    assert more_seeds([MOST - 1, 0], 4) == (MOST - 1, 0, 1, 2)


def test_needed_are_presets_controls_and_sweeps_with_their_seeds():
    plan = needed(TINY, DEFAULT, TINY.claims)
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


@pytest.mark.parametrize("claim", [SHRINKS, replace(ALL_SMALL, where=SHRINKS.where)])
def test_a_claim_that_is_not_expected_needs_no_controls_and_no_sweep(claim):
    still = TINY.configure("still")
    assert needed(TINY, still, [claim]) == {still: 1}


def test_a_claim_that_is_not_expected_is_judged_in_its_preset_if_that_shows_it():
    assert needed(TINY, DEFAULT, [SETTLES]) == {DEFAULT: 1, TINY.configure("pulled"): 1}
    assert needed(TINY, DEFAULT, [replace(SETTLES, where=lambda c: False)]) == {DEFAULT: 1}


def test_control_runs_are_single_runs_of_other_settings():
    controls = [Control("slow", {"lr": 0.1}), Control("refused", {"lr": -1.0}), Control("the same", {}, metric="end")]
    controls.append(Control("a sweep", sweep=mean_of("end")))
    claim = Claim(id="x", statement="x", metric="end", bound=below(1), controls=tuple(controls))
    tiny = replace(TINY, claims=(claim, replace(claim, where=lambda c: False)))
    assert control_runs(tiny, DEFAULT) == [("slow", DEFAULT.replace(lr=0.1))]


def test_what_the_config_refuses_is_left_out():
    sweep = Sweep(({"lr": 3.0},), lambda rows: rows[0]["end"])
    claim = Claim(id="x", statement="x", bound=below(1), sweep=sweep)
    pulled = DEFAULT.replace(pull=0.5)
    assert needed(TINY, pulled, [claim]) == {pulled: 1}


def test_the_plan_trains_each_missing_run_once_and_judges_as_many_seeds_as_asked_for():
    plan = Plan(TINY, DEFAULT, (3, 4))
    groups = trained(plan)
    runs = [run for group in groups for run in group]
    assert len(set(runs)) == len(runs)
    assert not {(DEFAULT, 3), (DEFAULT, 4)} & set(runs)
    assert {seed for config, seed in runs if config == DEFAULT} == {5, 6, 7}
    assert [len({config.steps for config, _ in group}) for group in groups] == [1, 1]
    histories = [TINY.run(DEFAULT, (3, 4)), *(to_the_end(*stage()) for stage in plan.stages)]
    verdicts = plan.verdicts(histories)
    assert [verdict.id for verdict in verdicts] == [claim.id for claim in TINY.claims]
    assert all(len(verdict.value) == 2 for verdict in verdicts)
    assert {(config, seed): row["start"] for (config, seed), row in plan.rows(histories).items()} == {
        (config, seed): 1 + seed / 10 for config, seed in [*runs, (DEFAULT, 3), (DEFAULT, 4)]
    }


def test_some_claims_only():
    plan = Plan(TINY, DEFAULT, (0,), [replace(SHRINKS, controls=()), SETTLES])
    assert trained(plan) == [[(TINY.configure("pulled"), 0)]]


def test_a_mean_over_the_own_run_and_more_seeds_needs_only_those():
    claim = Claim(id="m", statement="m", bound=below(9), sweep=mean_of("end", seeds=3))
    assert trained(Plan(TINY, DEFAULT, (8,), [claim])) == [[(DEFAULT, 9), (DEFAULT, 10)]]


def test_no_claims_need_no_training():
    plan = Plan(replace(TINY, claims=()), DEFAULT, (0,))
    assert plan.stages == []
    assert plan.verdicts([TINY.run()]) == []
