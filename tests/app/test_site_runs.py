"""What is trained for a page, and what the page gets of it."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_experiment
from tiny_experiment import TINY

from dyntoolkit.app.site_runs import GRID, MOMENTS, Grid, grid_of, shown_runs
from dyntoolkit.catalog.registry import experiments
from dyntoolkit.figure.panels import Axis, Line, Panel


def panels(history):
    x = history["x"]
    long = Line("long", np.arange(5000.0), np.full(5000, x[-1, 0]), "#0072B2")
    return [Panel("x", Axis("step"), Axis("x"), [Line("x", history.at("x"), x[:, 0], "#0072B2"), long])]


DRAWN = replace(TINY, panels=panels)


def test_two_sliders_have_up_to_five_values_and_one_has_more():
    assert {name: len(values) for name, values in grid_of(TINY, 3).values.items()} == {"lr": 3, "pull": 3}
    assert {name: len(values) for name, values in grid_of(TINY, GRID + 2).values.items()} == {"lr": GRID + 2}


@pytest.mark.parametrize("experiment", experiments(), ids=lambda experiment: experiment.name)
def test_the_first_settings_of_any_experiment_are_among_those_shown(experiment):
    grid = grid_of(experiment, 3)
    assert experiment.configure() in grid.configs


def test_each_setting_has_its_own_seeds_whatever_shares_its_loop():
    grid = Grid(TINY.configure(), {"lr": [0.25, 0.5], "steps": [20, 30]})
    shown = shown_runs(DRAWN, grid, range(3))
    for config, run in zip(grid.configs, shown, strict=True):
        alone = DRAWN.run(config, range(3))
        (panel,) = run.moments[-1].panels
        assert panel.marks[0].y[-1] == alone["x"][-1, 0]
        assert run.moments[-1].step == config.steps
        assert f"lr={config.lr}" in run.link or config.lr == 0.5
        assert "n_seeds=3" in run.link
        assert "x shrinks" in run.claims


def test_moments_are_few_end_with_the_last_one_and_have_thinned_curves():
    grid = Grid(TINY.configure(steps=1000), {"lr": [0.5]})
    (run,) = shown_runs(replace(DRAWN, simulate=often), grid, [0])
    assert len(run.moments) == MOMENTS
    assert run.moments[0].step == 0
    assert run.moments[-1].step == 1000
    assert len(run.moments[-1].panels[0].marks[1].x) < 1000


def often(configs, seeds):
    for k in range(1001):
        yield tiny_experiment.Frame(k, 1000, {"x": np.full(len(seeds), 0.5**k)}, np.full(len(seeds), -1))


def test_refused_and_diverged_settings_say_so():
    grid = Grid(TINY.configure(steps=100), {"lr": [0.5, 3.0], "pull": [0.0, 1.0]})
    fine, _, lost, refused = shown_runs(DRAWN, grid, [0])
    assert fine.note == ""
    assert lost.note.startswith("The run diverged")
    assert (refused.note, refused.moments) == ("lr 3 allows no pull.", ())
