"""Marks of a delay, and maps by step."""

import numpy as np

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.loop import geometrically
from dyntoolkit.phenomena.grokking._figure import delay_marks, map_by_step
from dyntoolkit.phenomena.grokking.modular import Config

NEVER = np.nan


def test_the_delay_in_words():
    def names(t_train, t_test):
        return [(mark.name, mark.x) for mark in delay_marks(np.array(t_train), np.array(t_test), "train", "test")]

    assert names([29.0], [1422.0]) == [("train: step 29", 29), ("test: step 1,422, 49 × as late", 1422)]
    assert names([30.0, 10.0, 20.0], [NEVER, 50.0, 40.0]) == [
        ("train: step 20", 20),
        ("test: step 50, 2.5 × as late", 50),
    ]
    (train, _), (test, at) = names([0.0, 0.0, 5.0], [NEVER, NEVER, 7.0])
    assert (train, test) == ("train: step 0", "test: not yet")
    assert np.isnan(at)
    assert names([0.0], [7.0])[1][0] == "test: step 7"  # no ratio to step 0


def test_a_map_by_step_fills_in_and_leaves_step_0_out():
    history = History("grokking.modular", [Config(steps=100)], [0])
    rows, grid = np.array([1, 2]), geometrically(100, 6)
    assert np.isnan(map_by_step(history, "gains", 6, rows, "gain", 1.0).z).all()
    for step in grid[:3]:
        history.append(Frame(step, 100, {"gains": np.array([[step, 10.0 * step]])}, np.array([-1])))
    heat = map_by_step(history, "gains", 6, rows, "gain", 1.0)
    np.testing.assert_array_equal(heat.x, grid[1:])
    np.testing.assert_array_equal(heat.z[:, :2], [grid[1:3], 10 * np.array(grid[1:3])])
    assert np.isnan(heat.z[:, 2:]).all()
