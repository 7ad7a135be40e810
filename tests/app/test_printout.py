"""The tables for a terminal, as far as `dyntoolkit run` of test_cli.py does not show them."""

import math

import numpy as np
import pytest
from tiny_experiment import TINY

from dyntoolkit.app import printout
from dyntoolkit.experiment import Experiment, to_the_end
from dyntoolkit.experiment.judging import ControlVerdict, Verdict
from dyntoolkit.experiment.plan import Plan


def verdict(**changes):
    given = {"id": "id", "statement": "x shrinks", "threshold": "< 1", "expected": True, "value": (0.5,)}
    return Verdict(**{**given, "holds": (True,), **changes})


def lines(*verdicts):
    return printout.verdicts_table(verdicts).splitlines()


def test_long_words_wrap_within_100_columns():
    control = ControlVerdict("a control with a name " * 5, "the mean is above the claim's own", (1.5,), (True,), True)
    claim = verdict(
        statement="a statement " * 20,
        threshold="< 0.05; and 0.1 to 0.2 " * 3,
        value=(1e-9,) * 2,
        holds=(True, False),
        controls=(control,),
    )
    table = lines(claim)
    assert max(map(len, table)) <= 100
    assert table[1].startswith("-")  # half of the seeds is no majority
    assert table[1].endswith("1/2")
    (row,) = [line for line in table if line.startswith("  +")]
    assert "control: a control" in row
    assert "1.5" in row
    assert row.endswith("1/1")


def test_every_line_says_where_and_why():
    assert lines(verdict(place="preset on_off"))[1].startswith("+  id: x shrinks (preset on_off)")
    elsewhere = verdict(expected=False, value=(), holds=(), grounds="default settings, steps ≥ 4000", note="refused.")
    (row,) = lines(elsewhere)[1:]
    assert row.startswith(".  id: x shrinks (not expected here: default settings, steps ≥ 4000; refused.)")
    assert row.endswith("< 1")  # no value, and no share of the seeds
    assert "never" in lines(verdict(value=(math.nan,), holds=(False,)))[1]
    control = ControlVerdict("c", "> 1", note="cannot be trained here")
    assert lines(verdict(controls=(control,)))[2].startswith("  .    control: c (cannot be trained here)")


def test_the_heading_names_runs_that_diverged():
    history = TINY.run(TINY.configure("lost"), (0, 1))
    assert printout.heading(history, 1.26) == (
        "tiny.decay, seeds 0 to 1, 1.3 s, engine eager\ndiverged: seed 0 at step 20, seed 1 at step 20"
    )
    assert printout.heading(TINY.run(), 0.04) == "tiny.decay, seed 0, 0.0 s, engine eager"


def test_a_number_over_all_seeds_is_said_once_in_the_document():
    plan = Plan(TINY, TINY.configure(), (0, 1))
    histories = [TINY.run(seeds=(0, 1)), *(to_the_end(*stage()) for stage in plan.stages)]
    document = printout.run_document("default", histories[0], 0.1, {}, plan.verdicts(histories), 1, "cpu")
    stays, _, mean = document["claims"][0]["controls"]
    assert (stays["mean"], mean["mean"]) == (None, pytest.approx(1.2))
    assert mean["value"] == pytest.approx([1.2, 1.2])


def test_experiments_without_words_of_their_own_are_listed_too():
    bare = Experiment("bare", TINY.config, TINY.simulate)
    assert printout.experiments_table([bare]) == "bare: Bare\n  default: The settings as they come."


def test_metrics_are_what_there_is_without_claims():
    metrics = {
        "end": np.array([1.0, 3.0]),
        "t_small": np.array([math.nan] * 2),
        "diverged_at": np.array([math.nan, 2.0]),
    }
    assert printout.metrics_table(metrics) == "end      2 [1, 3]\nt_small  never, 1 diverged"
