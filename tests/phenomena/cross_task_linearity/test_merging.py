"""Merging: training against torch, the curves against networks cut by hand, claims and figure.

The merging itself is tested in probes/test_feature_merging.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from run_together import run_together
from torch_twin import descend, he_start, layers_of, loss_and_error

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.judging import run_metrics
from dyntoolkit.figure.panels import Level, Line
from dyntoolkit.figure.still import still_png
from dyntoolkit.phenomena.cross_task_linearity import merging
from dyntoolkit.phenomena.cross_task_linearity.merging import EXPERIMENT, PRESETS, RULES, Config, fewest_units

Array = np.ndarray
GRID = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8)
TINY = Config(steps=200, width=64, init_scale=0.5)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}

run = partial(run_together, EXPERIMENT)


@pytest.fixture(scope="module")
def trained() -> tuple[MLP, torch.Tensor]:
    """A network of 64 hidden units that knows the digits: its test error is below a tenth."""
    digits, network = rotated_digits(0), he_start(Config(width=64, init_scale=1.0), 3)
    descend(network, digits.train_x, digits.train_y, Stream([3], "batch").indices(1200, 400, 32)[0], 0.05, 0.9)
    (W, b), (V, c) = layers_of(network)
    assert loss_and_error([(W, b), (V, c)], digits.test_x.numpy(), digits.test_y.numpy())[1] < 0.1
    parts = (W, b, V, c)
    return MLP((64, 64, 10), torch.relu), torch.from_numpy(np.concatenate([part.ravel() for part in parts])).float()


def right(W: Array, b: Array, V: Array, c: Array) -> float:
    """Test accuracy of such a network."""
    digits = rotated_digits(0)
    return 1 - loss_and_error([(W, b), (V, c)], digits.test_x.numpy(), digits.test_y.numpy())[1]


def parts_of(model: MLP, theta: torch.Tensor) -> tuple[Array, Array, Array, Array]:
    (W, b), (V, c) = model.split(theta[None].double())
    assert b is not None
    assert c is not None
    return W[0].numpy(), b[0, 0].numpy(), V[0].numpy(), c[0, 0].numpy()


def test_the_curves_start_with_the_whole_network(trained: tuple[MLP, torch.Tensor]) -> None:
    found = merging.curves(*merging.hidden_units(*trained), (64, 16), np.random.default_rng(0))
    for rule in RULES:
        assert found[rule][0] == pytest.approx(right(*parts_of(*trained))), rule
    assert np.isnan(found["merge_cost"][0])
    assert found["merge_cost"][1] > 0


def test_the_largest_are_kept_and_others_dropped_at_random_one_within_the_other(
    trained: tuple[MLP, torch.Tensor],
) -> None:
    W, b, V, c = parts_of(*trained)
    grid = (48, 24, 12)
    found = merging.curves(*merging.hidden_units(*trained), grid, np.random.default_rng(5))
    size = [np.sqrt((W[:, k] ** 2).sum() + b[k] ** 2) * np.sqrt((V[k] ** 2).sum()) for k in range(64)]
    largest = sorted(range(64), key=lambda k: -size[k])
    at_random = np.random.default_rng(5).permutation(64)  # one order for the whole curve
    for i, k in enumerate(grid):
        for rule, order in (("largest", largest), ("random_drop", at_random)):
            kept = order[:k]
            assert found[rule][i] == pytest.approx(right(W[:, kept], b[kept], V[kept], c)), (rule, k)
    assert found["largest"][2] > found["random_drop"][2]


def test_units_that_are_there_four_times_merge_for_nothing_and_not_at_random(trained: tuple[MLP, torch.Tensor]) -> None:
    W, b, V, c = parts_of(*trained)
    sizes = np.random.default_rng(1).uniform(0.5, 2, 256)  # a positive factor moves through the ReLU
    copies = np.tile(np.arange(64), 4)
    parts = (W[:, copies] * sizes, b[copies] * sizes, V[copies] / sizes[:, None] / 4, c)
    theta = torch.from_numpy(np.concatenate([part.ravel() for part in parts])).float()
    model = MLP((64, 256, 10), torch.relu)
    found = merging.curves(*merging.hidden_units(model, theta), (256, 128, 64, 32), np.random.default_rng(0))
    whole = right(W, b, V, c)
    np.testing.assert_allclose(found["merge"][:3], whole, atol=1.5 / 597)
    np.testing.assert_allclose(found["merge_cost"][1:3], 0, atol=1e-6)
    assert found["merge_cost"][3] > 0.01
    assert found["merge"][2] > max(found["random_merge"][2], found["random_drop"][2]) + 0.02
    assert fewest_units(found["merge"][None], np.array([whole]), (256, 128, 64, 32))[0] <= 64


def test_training_is_that_of_torch() -> None:
    """Of a run among others, with settings of its own."""
    own = TINY.replace(lr=0.02, momentum=0.5, init_scale=0.3)
    history = run([TINY, own], [1, 9]).run(1)
    digits, network = rotated_digits(0), he_start(own, 9)
    batches = Stream([9], "batch").indices(1200, 200, 64)[0]
    losses = descend(network, digits.train_x, digits.train_y, batches, 0.02, 0.5)
    since = [np.mean(losses[k0:k1]) for k0, k1 in pairwise([0, *history.at("loss")])]
    np.testing.assert_allclose(history["loss"][:, 0], since, rtol=1e-3)
    _, error = loss_and_error(layers_of(network), digits.test_x.numpy(), digits.test_y.numpy())
    assert history.last("accuracy")[0] == pytest.approx(1 - error, abs=1.5 / 597)


def test_thirty_frames_and_the_curves_at_the_last() -> None:
    history = run([TINY], [0])
    steps = [k * 200 // 29 for k in range(30)]
    assert history.at("accuracy").tolist() == steps
    assert history.at("loss").tolist() == steps[1:]
    for name in (*RULES, "merge_cost"):
        assert history.at(name).tolist() == [200]
        assert history.last(name).shape == (1, 7)
    for rule in RULES:  # the width is the first of the grid
        np.testing.assert_allclose(history.last(rule)[:, 0], history.last("accuracy"), atol=1.5 / 597)


def test_a_run_alone_is_merged_as_among_others() -> None:
    """Its random controls come from its own seed, too; to rounding, since 200 steps are too few for it to grow."""
    configs = [TINY, TINY.replace(lr=0.02, init_scale=0.3), TINY.replace(momentum=0.2)]
    together, alone = run(configs, [1, 2, 3]).run(1), run(configs[1:2], [2])
    assert together.names() == alone.names()
    for name in alone.names():
        np.testing.assert_array_equal(together.at(name), alone.at(name))
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-2, atol=4e-3, err_msg=name)


@pytest.mark.parametrize(
    ("width", "grid"), [(256, GRID), (512, GRID), (255, GRID[1:]), (100, GRID[3:]), (64, GRID[4:])]
)
def test_the_grid_is_that_of_the_recipe_up_to_the_width(width: int, grid: tuple[int, ...]) -> None:
    assert Config(width=width).grid == grid


def test_the_fewest_units_are_the_last_before_the_accuracy_is_lost() -> None:
    rows = {  # accuracies at 64, 48, 32, 24 units; the whole network has .97
        64: [0.96, 0.94, 0.93, 0.2],
        48: [0.97, 0.96, 0.94, 0.97],  # what comes back later does not count
        24: [0.97, 0.97, 0.96, 0.98],
        None: [0.94, 0.97, 0.97, 0.97],
    }
    found = fewest_units(np.array(list(rows.values())), np.full(4, 0.97), (64, 48, 32, 24))
    np.testing.assert_array_equal(found, [64, 48, 24, np.nan])
    own = fewest_units(np.array([[0.9, 0.85], [0.9, 0.85]]), np.array([0.86, 0.91]), (64, 48))
    np.testing.assert_array_equal(own, [48, 64])  # each run by its own network


def finished(config: Config, values: dict[str, Any]) -> History:
    """A finished history of hand-written last values, name -> (R, ...)."""
    runs = len(next(iter(values.values())))
    history, _ = EXPERIMENT.start([config] * runs, range(runs))
    arrays = {name: np.array(value, dtype=float) for name, value in values.items()}
    history.append(Frame(config.steps, config.steps, arrays, np.full(runs, -1)))
    return history


def falling(kept: int) -> list[float]:
    """Accuracies that are kept for so many entries of the grid of seven."""
    return [0.97] * kept + [0.5] * (7 - kept)


VALUES: dict[str, Any] = {  # of two runs of width 64: at 64, 48, 32, 24, 16, 12, 8 units
    "accuracy": [0.97, 0.98],
    "loss": [0.01, 0.03],
    "merge": [falling(5), falling(3)],
    "random_merge": [falling(2), falling(1)],
    "largest": [falling(3), falling(2)],
    "random_drop": [falling(1), falling(0)],
    "merge_cost": [[np.nan, 1, 2, 3, 4, 5, 6], [np.nan, 3, 4, 5, 6, 7, 8]],
}


def test_the_metrics_are_the_fewest_units_by_each_rule() -> None:
    found = EXPERIMENT.metrics(finished(TINY, VALUES))
    expected = {
        "k_star": [16, 32],
        "k_random_merge": [48, 64],
        "k_largest": [32, 48],
        "k_random_drop": [64, np.nan],
        "accuracy": [0.97, 0.98],
        "loss": [0.01, 0.03],
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def test_before_the_last_frame_nothing_is_merged() -> None:
    history, frames = EXPERIMENT.start([TINY] * 2, [0, 1])
    history.append(next(frames))
    found = EXPERIMENT.metrics(history)
    assert {name for name, values in found.items() if np.isfinite(values).all()} == {"accuracy"}
    for frame in frames:
        history.append(frame)
    assert set(EXPERIMENT.metrics(history)) == set(found)
    assert all(values.shape == (2,) for values in EXPERIMENT.metrics(history).values())


def test_where_claims_are_expected() -> None:
    assert list(CLAIMS) == ["few_features", "merging_beats_random", "merging_beats_largest"]
    for claim in CLAIMS.values():
        for scale in (0.01, 0.05, 0.1):
            assert claim.where(Config(init_scale=scale))
        for changes in ({"init_scale": 0.2}, {"init_scale": 1.0}, {"width": 128}, {"steps": 3000}, {"momentum": 0.5}):
            assert not claim.where(Config(**changes)), changes
        for control in claim.controls:
            assert not claim.where(Config(**control.changes))


@pytest.mark.claims
def test_claims_hold_for_fresh_seeds() -> None:
    config = EXPERIMENT.configure()
    metrics = run_metrics(EXPERIMENT, EXPERIMENT.run(config, (811, 812)))
    few, random, _ = CLAIMS.values()
    assert few.bound.holds(metrics["k_star"]).all(), metrics["k_star"]
    assert random.value is not None
    assert random.bound.holds(random.value(metrics, config)).all()


@pytest.mark.claims
def test_at_the_standard_initialization_many_units_are_needed() -> None:
    metrics = run_metrics(EXPERIMENT, EXPERIMENT.run(EXPERIMENT.configure("standard_init"), (811,)))
    claim = CLAIMS["few_features"]
    assert [dict(control.changes) for control in claim.controls] == [{"init_scale": 1.0}]
    assert not claim.bound.holds(metrics["k_star"]).any()


def test_merging_is_judged_against_the_better_of_the_random_controls() -> None:
    claim = CLAIMS["merging_beats_random"]
    assert claim.value is not None
    found = {
        "k_star": np.array([60.0, 60.0, 60.0, np.nan]),
        "k_random_merge": np.array([120.0, 240.0, np.nan, 120.0]),
        "k_random_drop": np.array([240.0, 80.0, 120.0, 120.0]),
    }
    np.testing.assert_allclose(claim.value(found, Config()), [0.5, 0.75, 0.5, np.nan])
    assert claim.bound.holds(claim.value(found, Config())).tolist() == [True, False, True, False]


def test_merging_is_judged_against_the_largest_in_the_mean() -> None:
    claim = CLAIMS["merging_beats_largest"]
    assert claim.sweep is not None
    assert claim.sweep.changes == ({},)
    assert claim.sweep.least_seeds == 5
    rows = [{"k_star": np.array([20.0, 40.0, 60.0]), "k_largest": np.array([80.0, 60.0, 40.0])}]
    np.testing.assert_allclose(claim.sweep.value(rows), [2 / 3])
    assert claim.bound.holds(claim.sweep.value(rows)).all()
    rows[0]["k_largest"] = np.array([50.0, 40.0, 48.0])
    assert not claim.bound.holds(claim.sweep.value(rows)).any()


def test_presets_are_those_of_the_recipe_and_wrong_settings_are_refused() -> None:
    assert {name: dict(preset.changes) for name, preset in PRESETS.items()} == {
        "condensed": {},
        "tiny_init": {"init_scale": 0.01},
        "standard_init": {"init_scale": 1.0},
    }
    assert not any(EXPERIMENT.configure(name).warnings() for name in PRESETS)
    (warning,) = Config(lr=0.1, batch_size=16).warnings()
    assert "kills the network" in warning
    for name, value in (("width", 63), ("width", 513), ("init_scale", 1.5), ("steps", 100), ("depth", 2)):
        with pytest.raises(InputError, match=name):
            Config().replace(**{name: value})


@pytest.mark.slow
def test_curves_are_medians_of_what_was_recorded_and_merging_comes_last() -> None:
    history, frames = EXPERIMENT.start([TINY] * 2, [0, 1])
    for frame in frames:
        if frame.step == 200:  # until then nothing is merged
            assert all(np.isnan(mark.y).all() for mark in EXPERIMENT.panels(history)[2].marks if isinstance(mark, Line))
        history.append(frame)
    for panel, name in zip(EXPERIMENT.panels(history), ("loss", "accuracy"), strict=False):
        (line,) = panel.marks
        assert isinstance(line, Line)
        np.testing.assert_allclose(line.y, np.median(history[name], axis=1))
        np.testing.assert_allclose(line.high, history[name].max(1))
    for shown in (history, history.run(0)):
        assert still_png(EXPERIMENT.panels(shown)).startswith(b"\x89PNG")


def test_the_figure_shows_the_four_rules_and_how_many_units_are_enough() -> None:
    loss, accuracy, curves, cost = EXPERIMENT.panels(finished(TINY, VALUES))
    *lines, enough, fewest = curves.marks
    assert len(lines) == 4
    for line, rule in zip(lines, ("merge", "random_merge", "largest", "random_drop"), strict=True):
        assert isinstance(line, Line)
        assert line.x.tolist() == [64, 48, 32, 24, 16, 12, 8]
        np.testing.assert_allclose(line.y, np.mean(VALUES[rule], axis=0), err_msg=rule)
    assert isinstance(enough, Level)
    assert enough.y == pytest.approx(0.975 - 0.02)
    assert isinstance(fewest, Level)
    assert fewest.x == 24  # the median of 16 and 32
    (merges,) = cost.marks
    assert isinstance(merges, Line)
    np.testing.assert_allclose(merges.y, [np.nan, 2, 3, 4, 5, 6, 7])
    assert curves.x.log
    assert cost.y.log
    assert "units" in curves.x.label
    assert "accuracy" in curves.y.label
    assert curves.y.range == accuracy.y.range == (0, 1)
    assert "nats" in loss.y.label
    assert loss.x.range == (0, 200)
