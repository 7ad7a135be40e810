"""Progress in words, and the status line."""

import math

from dyntoolkit.dashboard.monitor import Monitor, progress_words
from dyntoolkit.dashboard.runner import Progress, State


def test_progress():
    assert progress_words(Progress(State.RUNNING)) == ""
    running = Progress(State.RUNNING, 1200, 30000, 8123.0, 3.5)
    assert progress_words(running) == "step 1,200 of 30,000 · 8,100 steps/s · 4 s left"
    done = Progress(State.FINISHED, 30000, 30000, 12.0, 0.0, stage=2, stages=3)
    assert progress_words(done) == "part 2 of 3 · step 30,000 of 30,000 · 12 steps/s"
    unknown = Progress(State.RUNNING, 1, 10, math.nan, math.nan)
    assert progress_words(unknown) == "step 1 of 10"


def test_the_bar_shows_the_share_that_is_done():
    monitor = Monitor()
    monitor.show(Progress(State.RUNNING))
    assert (monitor.bar.value, monitor.numbers.value) == (0, "")
    monitor.show(Progress(State.RUNNING, 3, 12, math.nan, math.nan))
    assert (monitor.bar.value, monitor.numbers.value) == (0.25, "step 3 of 12")


def test_the_status_line_says_one_sentence():
    status = Monitor().status
    status.say("lr takes a number.", error=True)
    assert (status.text, status.error) == ("lr takes a number.", True)
    status.say("Running.")
    assert (status.text, status.error) == ("Running.", False)
