"""What a link asks for, and what it asks for in vain."""

import pytest

from dyntoolkit.dashboard.linked import Linked, Run, linked

HOSTILE = ("<script>alert(1)</script>", "'\"", "[" * 3000, "9" * 3000, "nan", "-inf", "\x00", "", "lr", ":", ",", ":,:")


def test_it_asks_for_a_run_and_a_view(tiny):
    pairs = [("experiment", "tiny.one"), ("preset", "slow"), ("dim", "4"), ("seed", "7"), ("n_seeds", "2")]
    pairs += [("compare.pin", "lr:0.1,seed:3"), ("compare.pin", "preset:noisy"), ("step", "120")]
    pairs += [("compare.spread", "lr:0.1,0.2"), ("compare.map", "lr:noise_std:claim stays")]
    assert linked(tiny, pairs) == Linked(
        Run(tiny.configure("slow", dim=4), (7, 8)),
        (Run(tiny.configure(lr=0.1), (3,)), Run(tiny.configure("noisy"), (0,))),
        ("lr", "0.1,0.2"),
        ("lr", "noise_std", "claim stays"),
        120,
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("gone", "1", "unknown parameter 'gone'."),
        ("lr", "9", "lr takes a number from 0.001 to 4, got 9."),
        ("compare.pin", "gone:1,seed:2", "pinned run 1 is left out: unknown parameter 'gone'."),
        ("compare.spread", "kind:sgd,sam", "the spread: unknown field 'kind'."),
        ("compare.spread", "lr:0.1", "the spread: the number of values takes"),
        ("compare.spread", "lr:0.1,9", "the spread: lr takes a number from 0.001 to 4, got 9."),
        ("compare.spread", "lr:" + "0.1," * 999, "the spread: lr takes 2 to 16 values to spread, got 1."),
        ("compare.map", "lr:lr:ratio", "the map: a map takes two different sliders, got lr twice."),
        ("compare.map", "lr", "the map: unknown field ''."),
        ("step", "-1", "step takes a whole number from 0"),
    ],
)
def test_what_is_wrong_is_a_sentence_and_the_rest_is_taken(tiny, name, value, words):
    asked = linked(tiny, [("dim", "4"), (name, value)])
    (problem,) = asked.problems
    assert problem.startswith(words)
    assert asked.run == Run(tiny.configure(dim=4), (0,))


def test_what_stands_twice_is_said(tiny):
    asked = linked(tiny, [("dim", "4"), ("step", "3"), ("dim", "5"), ("step", "8"), ("step", "9")])
    assert (asked.run.config.dim, asked.step) == (5, 9)
    assert asked.problems == (
        "'dim' stands 2 times in it: the last counts, '5'.",
        "'step' stands 3 times in it: the last counts, '9'.",
    )


@pytest.mark.parametrize("name", ["experiment", "lr", "preset", "seed", "compare.pin", "compare.spread", "step"])
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_change_nothing(tiny, name, value):
    assert linked(tiny, [(name, value)]).run == Run(tiny.configure(), (0,))


def test_a_hundred_thousand_pinned_runs_are_six(tiny):
    asked = linked(tiny, [("compare.pin", f"seed:{k % 9}") for k in range(100_000)])
    assert [pin.seeds for pin in asked.pins] == [(0,), (1,), (2,), (3,), (4,), (5,)]
    assert asked.problems == ("it has 100,000 pinned runs, of which the first 6 are taken.",)
