"""What theory says along one setting, and where its borders cross a map of two."""

from dataclasses import replace

import numpy as np
import pytest

from dyntoolkit.dashboard.slider_map import slider_map
from dyntoolkit.dashboard.spread import Spread
from dyntoolkit.dashboard.theory import border_lines, theory_lines
from dyntoolkit.dashboard.trained_map import TrainedMap
from dyntoolkit.experiment.config import number


def remaining(config):
    """Of every weight, after the steps of gradient descent."""
    return abs(1 - config.lr) ** config.steps


def test_a_prediction_is_a_dense_curve_spaced_as_the_slider_is(tiny):
    known = replace(tiny, predictions={"ratio": remaining})
    (line,) = theory_lines(known, tiny.configure(steps=10), "lr", [0.001, 0.01, 1.0], "ratio")
    assert (line.name, line.dash, len(line.x)) == ("theory", True, 101)
    assert line.x[[0, 50, 100]] == pytest.approx([0.001, 0.01, 1.0])
    np.testing.assert_allclose(line.y, np.abs(1 - line.x) ** 10)
    assert theory_lines(known, tiny.configure(), "lr", [0.001, 1.0], "norm_end") == []
    silent = replace(tiny, predictions={"ratio": lambda c: np.nan})
    assert theory_lines(silent, tiny.configure(), "lr", [0.001, 1.0], "ratio") == []


def test_of_whole_numbers_there_are_no_others_between(tiny):
    known = replace(tiny, predictions={"ratio": lambda c: float(c.dim)})
    (line,) = theory_lines(known, tiny.configure(), "dim", [1, 3, 7], "ratio")
    assert line.x.tolist() == line.y.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_settings_that_are_refused_leave_a_gap(tiny):
    known = replace(tiny, predictions={"ratio": lambda c: 1.0})
    (line,) = theory_lines(known, tiny.configure(kind="sam"), "noise_std", [0.0, 1.0], "ratio")
    np.testing.assert_array_equal(np.isnan(line.y), line.x > 0.5)


def test_a_border_runs_where_its_side_is_0_counted_in_cells(tiny):
    known = replace(tiny, borders={"half": lambda c: c.lr * c.dim - 0.02, "nowhere": lambda c: 1.0})
    (border,) = border_lines(known, tiny.configure(), "lr", "dim", [0.001, 0.01, 0.1], [1, 2, 4])
    assert border.name == "half"
    there = np.isfinite(border.x)
    lr = 10 ** (border.x[there] - 3)  # the cells are a factor of 10 apart
    dim = np.interp(border.y[there], [0, 1, 2], [1, 2, 4])
    np.testing.assert_allclose(lr * dim, 0.02, rtol=0.02)
    assert {0.0, 2.0} <= set(border.y[there])  # from edge to edge


def test_near_one_a_border_follows_its_slider(tiny):
    class Memory(tiny.config):
        beta: float = number(0.9, 0.0, 0.9999, near_one=True)

    known = replace(tiny, config=Memory, borders={"at": lambda c: c.beta - 0.99})
    (border,) = border_lines(known, Memory(), "beta", "noise_std", [0.9, 0.999], [0.0, 1.0])
    assert border.x[np.isfinite(border.x)] == pytest.approx(0.5, abs=1e-3)


def test_the_spread_of_a_slider_and_the_map_of_two_show_them(tiny):
    known = replace(tiny, predictions={"ratio": remaining}, borders={"of lr": lambda c: c.lr - 0.05})
    spread = Spread(known, tiny.configure(steps=20), (0,), "lr", [0.01, 0.1])
    for start in spread.stages:
        history, frames = start()
        for frame in frames:
            history.append(frame)
            spread.take(history)
    measured, theory = spread.against("ratio").marks
    np.testing.assert_allclose(theory.y[[0, -1]], measured.y, rtol=1e-4)
    assert [mark.name for mark in spread.against("norm_end").marks] == ["measured"]

    config = tiny.configure(steps=20)
    trained = TrainedMap(replace(known, map=slider_map(known, config, "lr", "noise_std", "ratio")), config, 0, (5, 9))
    heat, border = trained.panel().marks
    assert border.name == "of lr"
    assert heat.x[round(border.x[1])] == "0.05"
    assert trained.panel().marks[1] is border  # it is looked for once


def test_what_only_theory_refuses_is_an_error(tiny):
    def wrong(config):
        raise ValueError("no such theory")

    with pytest.raises(ValueError, match="no such theory"):
        theory_lines(replace(tiny, predictions={"ratio": wrong}), tiny.configure(), "lr", [0.1, 0.2], "ratio")
