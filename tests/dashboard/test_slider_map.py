"""The map of any metric or claim over any two sliders."""

from dataclasses import replace

import numpy as np
import pytest

from dyntoolkit.dashboard.slider_map import GRIDS, number_fields, quantities, slider_map
from dyntoolkit.dashboard.trained_map import MOST, TrainedMap
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.config import number
from dyntoolkit.experiment.training import to_the_end


def trained(tiny, of, x="lr", y="noise_std", config=None):
    config = config or tiny.configure(steps=50)
    over = slider_map(tiny, config, x, y, of)
    grid = TrainedMap(replace(tiny, map=over), config, 0, GRIDS)
    for stage in grid.stages:  # which grow
        history, frames = stage()
        to_the_end(history, frames, lambda _, history=history: grid.fill(history))
    return over, grid


def test_a_metric_over_two_sliders_is_that_of_the_runs(tiny):
    over, grid = trained(tiny, "ratio")
    assert (len(over.xs), len(over.ys)) == (17, 17)
    assert 25 < grid._tried.sum() <= MOST
    z = grid._z
    row, column = np.argwhere(np.isfinite(z))[-1]
    config = tiny.configure(steps=50, lr=over.xs[column], noise_std=over.ys[row])
    assert z[row, column] == pytest.approx(tiny.metrics(tiny.run(config))["ratio"][0], rel=1e-5)


def test_it_is_coarse_at_first(tiny):
    over = slider_map(tiny, tiny.configure(steps=50), "lr", "noise_std", "ratio")
    grid = TrainedMap(replace(tiny, map=over), tiny.configure(steps=50), 0, GRIDS)
    assert len(grid.stages) == 5
    assert grid._tried.sum() == 25
    assert np.isnan(grid.panel().marks[0].z).all()
    history, frames = grid.stages[0]()
    to_the_end(history, frames, lambda _: grid.fill(history))
    shown = grid.panel().marks[0].z
    assert np.isfinite(shown[0]).all()  # cells between have the value of the nearest
    assert np.isnan(shown[-1]).all()


def test_it_is_refined_where_it_changes_only(tiny):
    def metrics(history):
        return {"beyond": np.array([float(config.lr > 0.1) for config in history.configs])}

    over, grid = trained(replace(tiny, metrics=metrics), "beyond")
    tried = grid._tried
    border = int(np.searchsorted(over.xs, 0.1))
    assert tried[:, border - 1 : border + 1].sum() > 20
    assert tried[:, 0].sum() == tried[:, -1].sum() == 5
    assert (grid.panel().marks[0].z == (np.array(over.xs) > 0.1)).all()


def test_a_flat_map_stays_coarse(tiny):
    def metrics(history):
        return {"one": np.ones(len(history.seeds))}

    _, grid = trained(replace(tiny, metrics=metrics), "one")
    assert grid._tried.sum() == 25
    assert (grid.panel().marks[0].z == 1).all()


def test_a_claim_holds_or_does_not_or_is_not_expected(tiny):
    _, grid = trained(tiny, "claim shrinks")
    z = grid._z
    assert z[0, 0] == 0  # in 50 tiny steps without noise
    assert z[0, 16] == 1
    assert np.isnan(z[16]).all()  # with noise


def test_whole_numbers_give_fewer_cells(tiny):
    over, grid = trained(tiny, "ratio", "lr", "dim")
    assert over.ys == [1, 2, 3, 4, 5, 6, 7]
    assert grid.panel().marks[0].z.shape == (7, 17)


def test_a_cell_knows_its_settings(tiny):
    over, grid = trained(tiny, "ratio", "lr", "dim")
    heat = grid.panel().marks[0]
    assert grid.settings(heat.x[2], heat.y[1]) == {"lr": over.xs[2], "dim": 2}


def test_what_can_be_mapped_are_metrics_and_claims_about_one_run(tiny):
    assert quantities(tiny, tiny.run()) == ["norm_end", "ratio", "claim shrinks", "claim stays"]


def test_sliders_are_the_numbers_that_are_trained_the_main_ones_first(tiny):
    class Watching(tiny.config):
        look: int = number(1, 0, 5, live=True)

    assert number_fields(tiny.configure()) == ["lr", "init_scale", "noise_std", "select", "steps", "dim"]
    assert "look" not in number_fields(Watching())


def test_a_map_on_which_nothing_is_known_says_so(tiny):
    def metrics(history):
        return {"gone": np.full(len(history.seeds), np.nan)}

    over, grid = trained(replace(tiny, metrics=metrics), "gone")
    assert grid.panel().note == "No cell has a value: refused, diverged, never, or not expected here."
    assert trained(tiny, "ratio")[1].panel().note == ""
    empty = TrainedMap(replace(tiny, map=over), tiny.configure(steps=50), 0, GRIDS)
    assert empty.panel().note == "No cell has a value yet."


def test_there_is_something_to_map(tiny):
    with pytest.raises(InputError, match="a map needs a metric or a claim; they are known once a run has finished"):
        slider_map(tiny, tiny.configure(), "lr", "noise_std", "")


def test_two_sliders_are_needed(tiny):
    with pytest.raises(InputError, match="a map takes two different sliders, got lr twice"):
        slider_map(tiny, tiny.configure(), "lr", "lr", "ratio")
    with pytest.raises(InputError, match="unknown field 'kind'"):
        slider_map(tiny, tiny.configure(), "lr", "kind", "ratio")
