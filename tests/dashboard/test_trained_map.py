"""A map over two settings: which runs it trains, how it fills in, and how it is drawn."""

from dataclasses import replace

import numpy as np
import pytest

from dyntoolkit.dashboard.trained_map import TrainedMap
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Map
from dyntoolkit.figure.plotly_figure import panel_to_dict


def ratio(history):
    return history["norm"][-1] / history["norm"][0]


@pytest.fixture
def mapped(tiny):
    over = Map("Shrinking", "ratio", "lr", "dim", (0.01, 0.1), (1, 3, 9), tiny.simulate, ratio)
    return replace(tiny, map=over)


def trained(grid):
    for start in grid.stages:
        history, frames = start()
        for frame in frames:
            history.append(frame)
            grid.fill(history)
    (heat,) = grid.panel().marks
    return heat.z


def test_every_cell_is_the_run_of_its_settings(mapped):
    config = mapped.configure(noise_std=0.2)
    z = trained(TrainedMap(mapped, config, 5))
    assert z.shape == (3, 2)
    for row, dim in enumerate((1, 3, 9)):
        for column, lr in enumerate((0.01, 0.1)):
            alone = mapped.run(config.replace(lr=lr, dim=dim), (5,))
            assert z[row, column] == pytest.approx(ratio(alone)[0], rel=1e-5)


def test_it_fills_in_stage_by_stage(mapped):
    grid = TrainedMap(mapped, mapped.configure(), 0)
    assert np.isnan(grid.panel().marks[0].z).all()
    history, frames = grid.stages[1]()
    history.append(next(frames))
    grid.fill(history)
    assert np.isfinite(grid.panel().marks[0].z).tolist() == [[False, False], [True, True], [False, False]]


def test_a_stage_that_was_broken_off_begins_anew_and_the_finished_ones_do_not(mapped):
    grid = TrainedMap(mapped, mapped.configure(), 0)
    history, frames = grid.left()[0]()
    for frame in frames:
        history.append(frame)
        grid.fill(history)
    history, frames = grid.left()[0]()
    history.append(next(frames))
    grid.fill(history)  # and no more of it
    assert len(grid.left()) == 2
    assert np.array_equal(trained(grid), trained(TrainedMap(mapped, mapped.configure(), 0)))
    assert grid.left() == []


def test_a_refused_or_diverged_cell_stays_empty(mapped):
    class Picky(mapped.config):
        def check(self):
            if self.dim == 9:
                raise InputError("dim must not be 9.", "dim")

    over = replace(mapped.map, xs=(0.1, 4.0))
    grid = TrainedMap(replace(mapped, map=over, config=Picky), Picky(dim=1, steps=1000), 0)
    assert np.isfinite(trained(grid)).tolist() == [[True, False], [True, False], [False, False]]


def test_it_says_what_it_was_trained_with(mapped):
    grid = TrainedMap(mapped, mapped.configure(lr=0.2, noise_std=0.3), 7)
    count = len(mapped.map.xs) * len(mapped.map.ys)
    assert grid.panel().title == f"Shrinking (seed 7, noise_std 0.3); 0 of {count} runs finished"
    trained(grid)
    assert grid.panel().title == "Shrinking (seed 7, noise_std 0.3)"


def test_it_names_no_seed_where_nothing_is_random(mapped):
    exact = replace(mapped, map=replace(mapped.map, random=False))
    for settings, words in (({}, "Shrinking"), ({"noise_std": 0.3}, "Shrinking (noise_std 0.3)")):
        grid = TrainedMap(exact, exact.configure(**settings), 7)
        trained(grid)
        assert grid.panel().title == words


def test_its_cells_are_of_one_size_under_the_names_of_the_values(mapped):
    figure = panel_to_dict(TrainedMap(mapped, mapped.configure(), 0).panel())
    assert figure["data"][0]["x"] == ["0.01", "0.1"]
    assert figure["data"][0]["y"] == ["1", "3", "9"]
    assert figure["layout"]["xaxis"]["type"] == figure["layout"]["yaxis"]["type"] == "category"
    assert figure["layout"]["xaxis"]["title"]["text"] == "Learning rate (lr)"
