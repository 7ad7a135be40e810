import math

import numpy as np
import pytest
from tiny_experiment import TINY

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.experiment.config import Config, number
from dyntoolkit.experiment.judging import ControlVerdict, Verdict, judge_history, run_metrics
from dyntoolkit.experiment.words import (
    ELSEWHERE,
    FAILS,
    HOLDS,
    MARKS,
    changed_words,
    control_words,
    divergence_words,
    metrics_words,
    number_words,
    numbers_words,
    seeds_words,
    share_words,
    verdict_words,
)

NAN = math.nan


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((), ""),
        ((0.12345,), "0.123"),
        ((NAN,), "never"),
        ((1.0, 2.0, 9.0), "2 [1, 9]"),
        ((NAN, 1.0, 3.0), "2 [1, 3]"),
        ((NAN, NAN), "never"),
        ((1e-9, 123456.0), "6.17e+04 [1e-09, 1.23e+05]"),
    ],
)
def test_numbers_of_several_seeds_are_their_median_and_range(values, words):
    assert numbers_words(values) == words


@pytest.mark.parametrize(
    ("values", "diverged", "words"),
    [
        ((NAN,), (True,), "diverged"),
        ((NAN,), (False,), "never"),
        ((1.0,), (True,), "1"),  # of a sweep of which some other run diverged
        ((NAN, 1.0, 3.0), (True, False, False), "2 [1, 3], 1 diverged"),
        ((NAN, NAN), (True, True), "2 diverged"),
        ((NAN, NAN), (True, False), "never, 1 diverged"),
    ],
)
def test_a_run_that_diverged_is_not_one_whose_answer_is_never(values, diverged, words):
    assert numbers_words(values, diverged) == words


def test_metrics_in_words_say_which_diverged():
    history = TINY.run(TINY.configure("lost"), (0, 1))
    assert metrics_words(run_metrics(TINY, history)) == dict.fromkeys(("end", "start", "t_small"), "2 diverged")
    (verdict, *_) = judge_history(TINY, history)
    assert numbers_words(verdict.value, verdict.diverged) == "2 diverged"


def test_settings_that_were_changed():
    assert changed_words(TINY.configure(lr=0.25, pull=0.1), "pull") == ["lr 0.25"]


def test_a_number_has_three_digits():
    assert number_words(math.pi) == "3.14"
    assert number_words(NAN) == "never"


def test_shares():
    assert share_words((True, False, True)) == "2/3"
    assert share_words(()) == ""


def verdict(expected, *holds):
    return Verdict("x", "x", "< 1", expected, (0.0,) * len(holds), holds)


def test_a_verdict_is_one_of_three_words_with_a_mark_each():
    assert verdict_words(verdict(True, True, True, False)) == HOLDS
    assert verdict_words(verdict(True, True, False)) == FAILS
    assert verdict_words(verdict(False, True)) == ELSEWHERE
    assert [MARKS[words] for words in (HOLDS, FAILS, ELSEWHERE)] == ["✓", "✗", "–"]


def test_a_control_holds_where_it_is_confirmed_and_may_not_be_judged_at_all():
    assert control_words(ControlVerdict("c", "< 1", (2.0,), (True,))) == HOLDS
    assert control_words(ControlVerdict("c", "< 1", (0.0,), (False,))) == FAILS
    assert control_words(ControlVerdict("c", "< 1", note="cannot be trained here")) == ELSEWHERE


@pytest.mark.parametrize(
    ("seeds", "words"), [((7,), "seed 7"), ((3, 4, 5), "seeds 3 to 5"), ((3, 5), "2 seeds"), ((5, 4), "2 seeds")]
)
def test_seeds(seeds, words):
    assert seeds_words(seeds) == words


def lost(config, *steps):
    """A history in which these runs diverged, at these steps; -1 for one that did not."""
    history = History("tiny.decay", [config] * len(steps), range(len(steps)))
    history.append(Frame(5000, 5000, {"x": np.zeros(len(steps))}, np.array(steps)))
    return history


class Phases(Config):
    pretrain_lr: float = number(0.5, 0.1, 1.0, label="First rate")
    lr: float = number(0.5, 0.1, 1.0, label="Rate")
    init_scale: float = number(0.5, 0.1, 1.0)
    pretrain_steps: int = number(100, 0, 200)


class Bare(Config):
    width: int = number(3, 1, 9)


@pytest.mark.parametrize(
    ("config", "steps", "words"),
    [
        (TINY.configure(), (-1, -1), ""),
        (TINY.configure(), (1234,), "The run diverged (seed 0 at step 1,234). Lower “lr”."),
        (TINY.configure("still"), (12,), "The run diverged (seed 0 at step 12)."),  # lr is at its lowest
        (
            TINY.configure(),
            (-1, 7, 8, 9, 10, 11),
            "5 of 6 runs diverged (seed 1 at step 7, seed 2 at step 8, seed 3 at step 9, seed 4 at step 10 and 1 more)."
            " Lower “lr”.",
        ),
        (
            Phases(),
            (50,),
            "The run diverged (seed 0 at step 50). Lower “First rate”, or else “init scale”.",
        ),
        (Phases(init_scale=0.1), (101,), "The run diverged (seed 0 at step 101). Lower “Rate”."),
        (Bare(), (3,), "The run diverged (seed 0 at step 3)."),
    ],
)
def test_divergence_names_runs_steps_and_what_to_lower(config, steps, words):
    assert divergence_words(lost(config, *steps)) == words
