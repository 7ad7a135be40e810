"""Recorded quantities by step."""

import numpy as np

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.figure.recorded import healthy, log_steps, newest, recorded, recorded_line
from dyntoolkit.phenomena.grokking.modular import Config

RUNS = [0, 1, 2]


def grown():
    history = History("grokking.modular", [Config(steps=100)] * 3, RUNS)
    for step in (0, 1, 10):
        values = {"loss": np.array([1.0, 2.0, 4.0]) + step, "pair": np.array([[1.0, 10.0 + step]] * 3)}
        history.append(Frame(step, 100, values, np.full(3, -1)))
    return history


def test_a_course_begins_where_it_is_to():
    history = grown()
    np.testing.assert_array_equal(recorded(history, "loss")[0], [0, 1, 10])
    steps, values = recorded(history, "loss", 1)
    np.testing.assert_array_equal(steps, [1, 10])
    np.testing.assert_array_equal(values, [[2, 3, 5], [11, 12, 14]])
    assert log_steps(history).range == (1, 100)


def test_the_newest_value_is_nan_before_there_is_one():
    np.testing.assert_array_equal(newest(grown(), "pair", 2), [[1, 20]] * 3)
    np.testing.assert_array_equal(newest(grown(), "other", 2, 4), np.full((3, 2, 4), np.nan))


def test_a_run_that_diverged_is_left_out_from_then_on():
    history = grown()
    history.append(Frame(20, 100, {name: history.last(name) for name in ("loss", "pair")}, np.array([-1, 5, 10])))
    steps, values = healthy(history, "loss")
    np.testing.assert_array_equal(steps, [0, 1, 10, 20])
    np.testing.assert_array_equal(np.isnan(values), [[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 1]])
    np.testing.assert_array_equal(values[:, 0], recorded(history, "loss")[1][:, 0])
    assert np.isnan(healthy(history, "pair")[1][2:, 1]).all()
    assert healthy(History("grokking.modular", [Config()] * 3, RUNS), "loss")[1].shape == (0, 3)


def test_its_line_is_the_median_with_a_band_of_one_column():
    line = recorded_line(grown(), "loss", "train", "#000000", start=1, markers="both")
    assert (line.name, line.markers) == ("train", "both")
    assert [list(part) for part in (line.x, line.y, line.low, line.high)] == [[1, 10], [3, 12], [2, 11], [5, 14]]
    np.testing.assert_array_equal(recorded_line(grown(), "pair", "", "#000000", column=1).y, [10, 11, 20])


def test_what_is_not_recorded_yet_is_an_empty_line():
    line = recorded_line(History("grokking.modular", [Config()] * 3, RUNS), "loss", "train", "#000000", column=1)
    assert len(line.x) == len(line.y) == 0
