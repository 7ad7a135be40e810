"""Progress, divergence and errors in words."""

import numpy as np

from dyntoolkit.catalog.registry import find
from dyntoolkit.engine.history import Frame
from dyntoolkit.errors import InputError
from dyntoolkit.dashboard.monitor import divergence_words, progress_words, sentence
from dyntoolkit.dashboard.runner import Progress, State


def test_progress():
    assert progress_words(Progress(State.RUNNING)) == ""
    running = Progress(State.RUNNING, 1200, 30000, 8123.0, 3.5)
    assert progress_words(running) == "step 1,200 of 30,000 · 8,100 steps/s · 4 s left"
    done = Progress(State.FINISHED, 30000, 30000, 12.0, 0.0, stage=2, stages=3)
    assert progress_words(done) == "part 2 of 3 · step 30,000 of 30,000 · 12 steps/s"


def history(tiny, seeds, marks, **changes):
    result, _ = tiny.start([tiny.configure(**changes)] * len(seeds), seeds)
    result.append(Frame(5, 10, {}, np.array(marks)))
    return result


def test_divergence(tiny):
    assert divergence_words(history(tiny, [0, 1], [-1, -1])) == ""
    assert divergence_words(history(tiny, [3], [1200])) == (
        "The run diverged (seed 3 at step 1,200). Lower “Learning rate”, or else “Initialization scale”."
    )
    some = divergence_words(history(tiny, range(7), [-1, 1, 2, 3, 4, 5, 6]))
    assert some.startswith("6 of 7 runs diverged (seed 1 at step 1, seed 2 at step 2, seed 3 at step 3, ")
    assert "seed 4 at step 4 and 2 more)" in some


def test_a_slider_at_its_lower_end_is_not_named(tiny):
    words = divergence_words(history(tiny, [0], [7], lr=0.001))
    assert words.endswith("Lower “Initialization scale”.")
    assert divergence_words(history(tiny, [0], [7], lr=0.001, init_scale=0)).endswith("at step 7).")


def test_the_rate_of_the_phase_in_which_a_run_diverged_is_named():
    digits = find("cross_task_linearity.digits")
    pretraining, fine_tuning = history(digits, [0], [14]), history(digits, [0], [301])
    assert "Lower “pretraining learning rate”, or else" in divergence_words(pretraining)
    assert "Lower “learning rate η”, or else" in divergence_words(fine_tuning)


def test_errors():
    assert sentence(InputError("lr takes a number.")) == "lr takes a number."
    assert sentence(ZeroDivisionError("division by zero")) == "ZeroDivisionError: division by zero"
