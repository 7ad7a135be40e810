"""What the figures of the digits experiment show: of one history, and of a sweep."""

import numpy as np
import pytest

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import Bars, Level, Line, Panel
from dyntoolkit.figure.still import still_png
from dyntoolkit.phenomena.cross_task_linearity.digits import EXPERIMENT, ZERO, Config, sweep_panels

TINY = Config(pretrain_steps=40, steps=60, width=32)


@pytest.fixture(scope="module")
def history() -> History:
    """Three runs."""
    return EXPERIMENT.run(TINY, (0, 1, 2))


def lines(panel: Panel) -> dict[str, Line]:
    return {mark.name: mark for mark in panel.marks if isinstance(mark, Line)}


def test_every_curve_is_drawn_in_the_end_and_that_of_the_pretraining_when_it_is_over() -> None:
    history, frames = EXPERIMENT.start([TINY] * 2, (0, 1))
    still_png(EXPERIMENT.panels(history))
    drawn = set()
    for frame in frames:
        history.append(frame)
        if frame.values:
            shown = EXPERIMENT.panels(history)
            drawn |= {(panel.title, name) for panel in shown for name, line in lines(panel).items() if len(line.x)}
        if history.step == 40:
            assert ("Training loss", "pretraining") in drawn
    assert len(drawn) == sum(len(lines(panel)) for panel in EXPERIMENT.panels(history))


@pytest.mark.slow
def test_the_picture_of_one_run_and_of_three(history: History) -> None:
    for shown in (history, history.run(0)):
        assert still_png(EXPERIMENT.panels(shown)).startswith(b"\x89PNG")


def test_bars_are_medians_of_the_last_frame(history: History) -> None:
    ctl, base = EXPERIMENT.panels(history)[2].marks
    assert isinstance(ctl, Bars)
    assert isinstance(base, Bars)
    assert list(ctl.x) == ["layer 1", "layer 2", "layer 3", "logits"]
    np.testing.assert_allclose(ctl.y, np.median(history.last("ctl_l"), 0))
    np.testing.assert_allclose(base.y, np.median(history.last("base_l"), 0))


def test_theory_lines_have_the_slopes_of_the_theory(history: History) -> None:
    marks = lines(EXPERIMENT.panels(history)[3])
    ratio = marks["ratio ctl/base, while fine-tuning"]
    assert np.isnan(ratio.y[0])  # nothing has moved yet
    for name, slope in (("slope 1", 1.0), ("slope 3/2", 1.5)):
        law = marks[name]
        assert law.dash
        assert np.polyfit(np.log(law.x), np.log(law.y), 1)[0] == pytest.approx(slope)
    law = marks["slope 1"]
    assert np.interp(ratio.x[-1], law.x, law.y) == pytest.approx(ratio.y[-1])


def test_parabolas_are_those_of_the_layers(history: History) -> None:
    panel = EXPERIMENT.panels(history.run(1))[4]
    measured, fitted = panel.marks[:3], panel.marks[3:]
    for layer, parabola in zip(measured, fitted, strict=True):
        assert isinstance(layer, Line)
        assert isinstance(parabola, Line)
        s = parabola.x * (1 - parabola.x)
        np.testing.assert_allclose(parabola.y, s * np.sum(s * layer.y) / np.sum(s**2))
        np.testing.assert_allclose(layer.x, parabola.x)
    assert [mark.legend for mark in fitted if isinstance(mark, Line)] == [True, False, False]


def test_accuracy_curves_go_on_through_both_phases(history: History) -> None:
    marks = lines(EXPERIMENT.panels(history)[1])
    assert marks["pretrained"].x[[0, -1]].tolist() == [0, 40]
    assert marks["weights averaged"].x[[0, -1]].tolist() == [40, 100]
    own = history["own_acc"]
    np.testing.assert_allclose(marks["A on A, B on B"].low, own.min(1))
    np.testing.assert_allclose(marks["A on A, B on B"].y, np.median(own, 1))


def row(ratio: float, merged: float = 0.9) -> dict[str, float]:
    return {"ratio": ratio, "merged_acc": merged, "distance": 10 * ratio}


SWEEP = [(steps, seed) for steps in (0, 300, 10) for seed in (0, 1)]
ROWS = {
    **{(Config(pretrain_steps=steps), seed): row(0.1 / (1 + steps) + 0.01 * seed) for steps, seed in SWEEP},
    (Config(pretrain_steps=1000), 1): row(0.02),
    (Config(pretrain_steps=0, shared_init=False), 0): row(0.3, 0.4),
    (Config(pretrain_steps=0, lr=0.2), 0): row(0.5),
}


def test_drawn_are_the_runs_that_differ_in_pretraining_steps_only() -> None:
    (line, level), _, (points, slope) = (panel.marks for panel in sweep_panels(ROWS))
    assert isinstance(line, Line)
    assert isinstance(level, Level)
    assert line.x.tolist() == [ZERO, 10, 300, 1000]
    assert line.y == pytest.approx([0.105, 0.1 / 11 + 0.005, 0.1 / 301 + 0.005, 0.02])
    assert line.high == pytest.approx([0.11, 0.1 / 11 + 0.01, 0.1 / 301 + 0.01, 0.02])
    assert level.y == 0.3
    assert len(points.x) == 7
    assert slope.y == pytest.approx(slope.x / 10)


def test_merged_accuracy_has_its_own_level() -> None:
    line, level = sweep_panels(ROWS)[1].marks
    assert line.y == pytest.approx(np.full(4, 0.9))
    assert level.y == 0.4


@pytest.mark.slow
def test_one_run_or_a_hidden_ratio_is_drawn_too() -> None:
    for rows in ({(Config(), 0): row(0.02)}, {(Config(), 0): row(np.nan)}):
        assert still_png(sweep_panels(rows)).startswith(b"\x89PNG")


def test_the_experiment_shows_them() -> None:
    assert EXPERIMENT.sweep_panels is sweep_panels
