import dataclasses
import itertools
import math

import numpy as np
import pytest
from tiny_experiment import MEAN, SHRINKS, TINY, TinyConfig

from dyntoolkit.errors import InputError
from dyntoolkit.experiment.claims import (
    Bound,
    Claim,
    Control,
    above,
    at_least,
    at_most,
    below,
    between,
    defaults,
    mean_of,
    select,
    settings,
)


@pytest.mark.parametrize(
    ("bound", "text", "inside", "outside"),
    [
        (below(0.05), "< 0.05", [-3, 0.049], [0.05, 1, math.nan, math.inf, -math.inf]),
        (above(3), "> 3", [3.1], [3, -1, math.nan, math.inf]),
        (between(0.9, 1.1), "0.9 to 1.1", [0.9, 1.0, 1.1], [0.899, 1.101, math.nan]),
        (at_least(15), "≥ 15", [15, 16], [14.999, math.nan, math.inf]),
        (at_most(0.5), "≤ 0.5", [0.5, 0, -7], [0.501, math.nan, -math.inf]),
    ],
)
def test_bounds_are_open_or_closed_as_they_say_and_never_hold_nan(bound, text, inside, outside):
    assert str(bound) == text
    assert bound.holds(np.array(inside, dtype=float)).all()
    assert not bound.holds(np.array(outside, dtype=float)).any()


@pytest.mark.parametrize("end", [0.0, 0.3, -2.0, 1e8, 3e15])
def test_a_closed_bound_includes_its_end_to_rounding_whatever_its_size(end):
    near, far = 1e-10 * max(1, abs(end)), 1e-7 * max(1, abs(end))
    for value in (end, end - near, end + near):
        assert at_least(end).holds(np.array(value))
        assert at_most(end).holds(np.array(value))
    assert not at_least(end).holds(np.array(end - far))
    assert not at_most(end).holds(np.array(end + far))
    assert not above(end).holds(np.array(end))
    assert not below(end).holds(np.array(end))


def test_three_tenths_are_at_least_three_times_a_tenth():
    assert at_least(0.1 + 0.2).holds(np.array(0.3))
    assert at_most(0.3).holds(np.array(0.1 + 0.2))


# `settings` and `defaults` say the same as a condition written by hand, in all of these settings.
EVERYWHERE = [
    TinyConfig(lr=lr, pull=pull, steps=steps, law=law)
    for lr, pull, steps, law in itertools.product((0.0, 0.4, 0.5, 2.0), (0.0, 0.1), (10, 20, 300), ("linear", "cubic"))
]


@pytest.mark.parametrize(
    ("where", "by_hand", "words"),
    [
        (settings(), lambda c: True, ""),
        (settings(pull=0.0), lambda c: c.pull == 0, "pull 0"),
        (
            settings(lr=between(0.4, 0.5), law="cubic"),
            lambda c: 0.4 <= c.lr <= 0.5 and c.law == "cubic",
            "lr 0.4 to 0.5, law cubic",
        ),
        (settings(steps=(10, 300)), lambda c: c.steps in (10, 300), "steps 10 or 300"),
        (settings(lr=above(0.4), steps=at_most(20)), lambda c: c.lr > 0.4 and c.steps <= 20, "lr > 0.4, steps ≤ 20"),
        (defaults(), lambda c: c == TinyConfig(), "default settings"),
        (
            defaults(steps=at_least(20)),
            lambda c: c.steps >= 20 and c == TinyConfig(steps=c.steps),
            "default settings, steps ≥ 20",
        ),
        (
            defaults(lr=(0.4, 2.0), law="cubic"),
            lambda c: c.lr in (0.4, 2.0) and c == TinyConfig(lr=c.lr, law="cubic"),
            "default settings, lr 0.4 or 2, law cubic",
        ),
    ],
)
def test_where_a_claim_is_expected(where, by_hand, words):
    assert [where(config) for config in EVERYWHERE] == [by_hand(config) for config in EVERYWHERE]
    assert any(by_hand(config) for config in EVERYWHERE)
    assert str(where) == words


@pytest.mark.parametrize("where", [settings(step=1), defaults(step=1)])
def test_where_with_an_unknown_field_is_refused(where):
    with pytest.raises(InputError, match=r"unknown field 'step'\. Did you mean 'steps'\?"):
        where(TinyConfig(lr=0.1))


def test_a_claim_is_written_with_names_and_needs_something_to_be_judged_by():
    with pytest.raises(TypeError):
        Claim("id", "statement", below(1), "end")
    with pytest.raises(InputError, match="claim 'x' needs a metric, a value or a sweep"):
        Claim(id="x", statement="x", bound=below(1))
    assert Claim(id="x", statement="x", bound=below(1), metric="end").where(TinyConfig(lr=3.0))


@pytest.mark.parametrize("more", [{"changes": {"lr": 0.1}}, {"metric": "end"}])
def test_a_controls_sweep_brings_its_own_changes_and_number(more):
    with pytest.raises(InputError, match="control 'mean': a sweep brings its own"):
        Control("mean", sweep=mean_of("end"), **more)


def test_the_mean_of_a_metric_is_a_sweep_of_one_setting():
    sweep = mean_of("end", seeds=3, lr=0.1)
    assert (sweep.changes, sweep.least_seeds) == (({"lr": 0.1},), 3)
    np.testing.assert_array_equal(sweep.value([{"end": np.array([1.0, 2.0, 6.0])}]), [3.0])


def test_select_keeps_the_recipes_order_and_refuses_unknown_ids():
    assert [claim.id for claim in select(TINY.claims, ["falls", "shrinks"])] == ["shrinks", "falls"]
    assert select(TINY.claims, ["all"]) == list(TINY.claims)
    assert select(TINY.claims, []) == []
    with pytest.raises(InputError, match=r"unknown claim 'shrink'\. Did you mean 'shrinks'\?"):
        select(TINY.claims, ["shrink"])


def test_claims_and_bounds_are_values():
    assert dataclasses.replace(SHRINKS) == SHRINKS != MEAN
    assert between(1, 2) == Bound(1, 2) != above(1)
