import numpy as np
import pytest

from dyntoolkit.figure.panels import Level, Line
from dyntoolkit.figure.still import still_png
from dyntoolkit.phenomena.cross_task_linearity.digits import EXPERIMENT
from dyntoolkit.phenomena.cross_task_linearity.digits_config import Config
from dyntoolkit.phenomena.cross_task_linearity.digits_sweep import ZERO, sweep_panels


def metrics(ratio: float, merged: float = 0.9) -> dict[str, float]:
    return {"ratio": ratio, "merged_acc": merged, "distance": 10 * ratio}


SWEEP = [(steps, seed) for steps in (0, 300, 10) for seed in (0, 1)]
ROWS = {
    **{(Config(pretrain_steps=steps), seed): metrics(0.1 / (1 + steps) + 0.01 * seed) for steps, seed in SWEEP},
    (Config(pretrain_steps=1000), 1): metrics(0.02),
    (Config(pretrain_steps=0, shared_init=False), 0): metrics(0.3, 0.4),
    (Config(pretrain_steps=0, lr=0.2), 0): metrics(0.5),
}


def test_drawn_are_the_runs_that_differ_in_pretraining_steps_only():
    (line, level), _, (points, slope) = (panel.marks for panel in sweep_panels(ROWS))
    assert isinstance(line, Line)
    assert isinstance(level, Level)
    assert line.x.tolist() == [ZERO, 10, 300, 1000]
    assert line.y == pytest.approx([0.105, 0.1 / 11 + 0.005, 0.1 / 301 + 0.005, 0.02])
    assert line.high == pytest.approx([0.11, 0.1 / 11 + 0.01, 0.1 / 301 + 0.01, 0.02])
    assert level.y == 0.3
    assert len(points.x) == 7
    assert slope.y == pytest.approx(slope.x / 10)


def test_merged_accuracy_has_its_own_level():
    line, level = sweep_panels(ROWS)[1].marks
    assert line.y == pytest.approx(np.full(4, 0.9))
    assert level.y == 0.4


def test_one_run_or_a_hidden_ratio_is_drawn_too():
    for rows in ({(Config(), 0): metrics(0.02)}, {(Config(), 0): metrics(np.nan)}):
        assert still_png(sweep_panels(rows)).startswith(b"\x89PNG")


def test_the_experiment_shows_them():
    assert EXPERIMENT.sweep_panels is sweep_panels
