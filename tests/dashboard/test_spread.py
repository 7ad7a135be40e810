"""A slider over several values: what is trained, and the figures of it."""

from dataclasses import replace

import numpy as np
import pytest

from dyntoolkit.dashboard.spread import Spread, chosen_values
from dyntoolkit.errors import InputError
from dyntoolkit.figure.family import sequential


def trained(spread):
    for start in spread.stages:
        history, frames = start()
        for frame in frames:
            history.append(frame)
            spread.take(history)
    return spread


def test_one_loop_trains_all_values_and_seeds(tiny):
    spread = trained(Spread(tiny, tiny.configure(noise_std=0.1), (3, 4), "lr", [0.2, 0.01, 0.05]))
    assert len(spread.stages) == 1
    assert spread.names == ["0.01", "0.05", "0.2"]
    (panel,) = spread.family()
    assert [line.name for line in panel.marks] == ["0.01", "0.05", "0.2"]
    assert [line.color for line in panel.marks] == sequential(3)
    for line, lr in zip(panel.marks, (0.01, 0.05, 0.2), strict=True):
        alone = tiny.run(tiny.configure(noise_std=0.1, lr=lr), (3, 4))
        np.testing.assert_allclose(line.y, np.median(alone["norm"], axis=1), rtol=1e-5)


def test_a_structural_field_takes_a_loop_for_each_value(tiny):
    spread = Spread(tiny, tiny.configure(), (0,), "dim", [1, 3, 9])
    assert len(spread.stages) == 3
    history, frames = spread.stages[0]()
    assert spread.family() == []  # nothing is measured yet
    history.append(next(frames))
    spread.take(history)
    assert [line.name for line in spread.family()[0].marks] == ["1"]
    assert [line.name for line in trained(spread).family()[0].marks] == ["1", "3", "9"]


def test_a_metric_is_drawn_against_the_values_once_they_are_trained(tiny):
    spread = Spread(tiny, tiny.configure(), (0, 1, 2), "lr", [0.001, 0.01, 0.1])
    assert spread.metrics == []
    trained(spread)
    assert spread.metrics == ["norm_end", "ratio"]
    panel = spread.against("norm_end")
    assert (panel.title, panel.x.label, panel.x.log) == ("norm end", "Learning rate", True)
    (line,) = panel.marks
    assert line.x.tolist() == [0.001, 0.01, 0.1]
    alone = tiny.metrics(tiny.run(tiny.configure(lr=0.01), (0, 1, 2)))["norm_end"]
    assert (line.low[1], line.y[1], line.high[1]) == pytest.approx(
        (alone.min(), np.median(alone), alone.max()), rel=1e-5
    )


def test_values_are_told_apart_however_near_they_are(tiny):
    spread = trained(Spread(tiny, tiny.configure(steps=20), (0,), "lr", [0.1234561, 0.1234562]))
    assert [line.name for line in spread.family()[0].marks] == ["0.1234561", "0.1234562"]


def test_a_metric_that_no_run_has_says_so(tiny):
    spread = Spread(replace(tiny, metrics=lambda h: {"gone": np.full(2, np.nan)}), tiny.configure(), (0,), "lr", [1, 2])
    assert spread.against("gone").note == ""
    assert trained(spread).against("gone").note == "Never, or not measurable, in any of these runs."


def test_a_value_of_0_has_no_logarithm(tiny):
    spread = trained(Spread(tiny, tiny.configure(steps=20), (0,), "select", [0, 10]))
    assert not spread.against("ratio").x.log


def test_settings_may_have_metrics_of_their_own(tiny):
    def metrics(history):
        found = tiny.metrics(history)
        return found | ({"wide": found["ratio"]} if history.config.dim == 9 else {})

    spread = trained(Spread(replace(tiny, metrics=metrics), tiny.configure(), (0,), "dim", [1, 9]))
    assert spread.metrics == ["norm_end", "ratio", "wide"]
    assert spread.against("wide").marks[0].x.tolist() == [9]


def test_a_loop_that_was_broken_off_begins_anew_and_the_finished_ones_do_not(tiny):
    spread = Spread(tiny, tiny.configure(), (0,), "dim", [1, 3, 9])
    history, frames = spread.left()[0]()
    for frame in frames:
        history.append(frame)
    broken, frames = spread.left()[0]()
    broken.append(next(frames))
    assert len(spread.left()) == 2
    assert spread.title.endswith("1 of 3 runs finished")
    assert [line.name for line in spread.family()[0].marks] == ["1"]


def test_it_says_what_is_spread_and_how_far_it_is(tiny):
    spread = Spread(tiny, tiny.configure(steps=20), (0,), "lr", [0.1, 0.2])
    assert spread.title == "Learning rate from 0.1 to 0.2, steps 20, seed 0; 0 of 2 runs finished"
    assert trained(spread).title == "Learning rate from 0.1 to 0.2, steps 20, seed 0"


def test_it_says_which_values_diverged(tiny):
    rates = [0.1, 3.5, 3.6, 3.7, 3.8, 3.9]
    spread = trained(Spread(tiny, tiny.configure(steps=100), (0, 1), "lr", rates))
    assert (
        spread.title
        == "Learning rate from 0.1 to 3.9, steps 100, seeds 0 to 1; diverged: 3.5, 3.6, 3.7, 3.8 and 1 more"
    )


@pytest.mark.parametrize("values", [[0.1], [0.1, 0.1], np.linspace(0.1, 0.2, 17).tolist()])
def test_there_are_two_to_sixteen_values(tiny, values):
    with pytest.raises(InputError, match="lr takes 2 to 16 values to spread, got"):
        Spread(tiny, tiny.configure(), (0,), "lr", values)


def test_settings_that_are_refused_are_refused(tiny):
    with pytest.raises(InputError, match=r"noise_std must be at most 0\.5 with SAM"):
        Spread(tiny, tiny.configure(kind="sam"), (0,), "noise_std", [0.1, 0.9])


def test_a_reader_writes_how_many_or_which(tiny):
    config = tiny.configure()
    assert len(chosen_values(config, "lr", " 8 ")) == 8
    assert chosen_values(config, "lr", "0.1, 2e-1,") == [0.1, 0.2]
    assert chosen_values(config, "dim", "1,9") == [1, 9]


def test_values_around_the_present_one_that_other_settings_refuse_are_left_out(tiny):
    sam = tiny.configure(kind="sam", noise_std=0.1)  # allows a noise of at most 0.5
    free = chosen_values(sam.replace(kind="sgd"), "noise_std", "8")
    values = chosen_values(sam, "noise_std", "8")
    assert values == [value for value in free if value <= 0.5]
    assert 2 <= len(values) < len(free)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("17", "the number of values takes a whole number from 2 to 16, got '17'"),
        ("few", "the number of values takes a whole number from 2 to 16, got 'few'"),
        ("", "lr takes numbers with commas between them, or how many; got ''"),
        ("0.1, x", "lr takes numbers with commas between them, or how many; got '0.1, x'"),
        ("0.1, 9", "lr takes a number from 0.001 to 4, got 9"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(tiny, text, sentence):
    with pytest.raises(InputError, match=sentence):
        chosen_values(tiny.configure(), "lr", text)
