"""Spawning: phases against torch, conditions against numpy, claims and figure."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from run_together import run_together
from torch import nn
from torch_twin import between, descend, forward, he_start, layers_of, loss_and_error, one_minus_cosine, twin

from dyntoolkit.data import noisy_labels, rotated_digits
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.claims import Metrics
from dyntoolkit.experiment.judging import run_metrics
from dyntoolkit.figure.panels import Bars, Level, Line
from dyntoolkit.figure.still import still_png
from dyntoolkit.phenomena.cross_task_linearity import spawn
from dyntoolkit.phenomena.cross_task_linearity.spawn import APART, EXPERIMENT, PRESETS, ZERO, Config, sweep_panels

Array = np.ndarray
TINY = Config(spawn_step=20, steps=100, anneal_steps=30, width=16, depth=2, batch_size=8, lr=0.01)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}

run = partial(run_together, EXPERIMENT)


def by_torch(config: Config, seed: int) -> Iterator[tuple[list[nn.Sequential], Array]]:
    """The two networks after each phase, and the losses of its steps, (steps, 2)."""
    x, y = rotated_digits(0).train_x, noisy_labels(config.label_noise)
    networks = [he_start(config, seed, "init" if config.shared_init else name) for name in ("init", "init B")]
    phases = (("shared", config.spawn_step, 1.0), ("copy", config.steps, 1.0), ("anneal", config.anneal_steps, 0.1))
    for phase, steps, factor in phases:
        losses = []
        for letter, network in zip("AB", networks, strict=True):
            alike = phase == "shared" and config.shared_init
            batches = Stream([seed], f"{phase} {'A' if alike else letter}").indices(1200, steps, config.batch_size)[0]
            losses.append(descend(network, x, y, batches, factor * config.lr, config.momentum))
        yield networks, np.array(losses).T


def relative(A: Array, B: Array) -> float:
    return float(((A - B) ** 2).sum() / (np.sqrt((A**2).sum() * (B**2).sum()) + 1e-12))


def measured(first: nn.Sequential, second: nn.Sequential) -> dict[str, Array]:
    """Everything that a frame shows of two networks, from the recipe's formulas."""
    digits, ends = rotated_digits(0), [layers_of(network) for network in (first, second)]
    x, y = digits.test_x.numpy(), digits.test_y.numpy()
    way = np.array([loss_and_error(between(*ends, k / 10), x, y) for k in range(11)])
    found: dict[str, Any] = {"loss_path": way[:, 0], "error_path": way[:, 1]}
    f_i, f_j, middle = (forward(layers, x) for layers in (*ends, between(*ends, 0.5)))
    layers = list(zip(f_i, f_j, middle, strict=True))
    found["ctl_l"] = [one_minus_cosine(half, (a + b) / 2) for a, b, half in layers]
    found["base_l"] = [one_minus_cosine(a, b) for a, b, _ in layers]
    for name in ("com", "dist_W", "dist_H", "additivity"):
        found[name] = []
    for k, ((W_i, b_i), (W_j, b_j)) in enumerate(zip(*ends, strict=True)):
        H_i, H_j = (x, x) if k == 0 else (f_i[k - 1], f_j[k - 1])
        found["com"].append(relative(H_i @ W_i + H_j @ W_j, H_i @ W_j + H_j @ W_i))
        found["dist_W"].append(relative(W_i, W_j))
        found["dist_H"].append(relative(H_i, H_j))
        if k < len(ends[0]) - 1:
            a, b = H_i @ W_i + b_i, H_j @ W_j + b_j
            found["additivity"].append(relative(np.maximum(a + b, 0), np.maximum(a, 0) + np.maximum(b, 0)))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("changes", [{}, APART], ids=["copies", "two starts"])
def test_every_phase_is_that_of_torch_and_every_measurement_that_of_numpy(changes: dict[str, Any]) -> None:
    """Of a run among others, with settings of its own: starts, batches, noisy labels, velocities, rates."""
    other = TINY.replace(**changes)
    own = other.replace(lr=0.02, momentum=0.8, label_noise=0.4, init_scale=0.8)
    history = run([other, own], [1, 9]).run(1)
    start, losses = own.spawn_step, []
    for steps, (networks, of_phase) in zip(
        (own.spawn_step, own.steps, own.anneal_steps), by_torch(own, 9), strict=True
    ):
        losses.append(of_phase)
        end = sum(len(some) for some in losses)
        row = int(np.flatnonzero(history.at("com") == end)[0])
        assert steps == len(of_phase)
        for name, values in measured(*networks).items():
            tolerance = {"rtol": 0, "atol": 1.5 / 597} if name == "error_path" else {"rtol": 1e-2, "atol": 1e-5}
            np.testing.assert_allclose(history[name][row, 0], values, err_msg=f"{name} at {end}", **tolerance)
    all_losses = np.concatenate(losses)
    for name, begin in (("shared_loss", 0), ("loss", start)):
        if name in history:
            bounds = [begin, *history.at(name)]
            expected = [all_losses[k0:k1].mean(0) for k0, k1 in pairwise(bounds)]
            expected = [pair[0] for pair in expected] if name == "shared_loss" else expected
            np.testing.assert_allclose(history[name][:, 0], expected, rtol=1e-3)
    assert ("shared_loss" in history) == (start > 0)


def test_conditions_are_those_of_the_recipe_layer_by_layer() -> None:
    sizes = (64, 5, 4, 10)
    model = MLP(sizes, torch.relu)
    first, second = 0.3 * torch.randn(2, 2, model.parameters, generator=torch.Generator().manual_seed(1))
    found = spawn.conditions(model, first, second)
    assert {name: values.shape for name, values in found.items()} == {
        "com": (2, 3),
        "dist_W": (2, 3),
        "dist_H": (2, 3),
        "additivity": (2, 2),
    }
    for r in range(2):
        expected = measured(twin(sizes, first[r]), twin(sizes, second[r]))
        for name, values in found.items():
            np.testing.assert_allclose(values[r], expected[name], rtol=1e-4, atol=1e-10, err_msg=name)
    assert found["com"][:, 0] == pytest.approx(0, abs=1e-10)  # both see the same digits
    assert (found["com"][:, 1:] > 0.1).all()


def thirtieths(begin: int, steps: int) -> list[int]:
    return sorted({begin + k * steps // 29 for k in range(30)})


def test_thirty_frames_of_each_phase_and_the_pair_from_the_copy_on() -> None:
    history = run([TINY.replace(spawn_step=58, anneal_steps=40)], [0])
    assert history.at("com").tolist() == [*thirtieths(58, 100), *thirtieths(158, 40)[1:]]
    assert history.at("shared_loss").tolist() == thirtieths(0, 58)[1:]
    assert history.at("loss").tolist() == history.at("com").tolist()[1:]
    assert (history.step, history.total) == (198, 198)
    for name in ("loss_barrier", "error_barrier", "com", "dist_W", "dist_H"):
        np.testing.assert_allclose(history[name][0], 0, atol=1e-10, err_msg=name)  # still one network
        assert (history[name].max(0) > 0).any(), name


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"anneal_steps": 0}, thirtieths(20, 100)),
        ({"spawn_step": 0}, [*thirtieths(0, 100), *thirtieths(100, 30)[1:]]),
        (APART, [*thirtieths(0, 100), *thirtieths(100, 30)[1:]]),
        ({"shared_init": False}, [*thirtieths(0, 20), *thirtieths(20, 100)[1:], *thirtieths(120, 30)[1:]]),
    ],
)
def test_a_phase_without_steps_is_left_out_and_two_starts_are_a_pair_all_along(
    changes: dict[str, Any], steps: list[int]
) -> None:
    history = run([TINY.replace(**changes)], [0])
    assert history.at("com").tolist() == steps
    assert history.done
    assert (history["dist_W"][0] > 0.5).all() == (not history.config.shared_init)


def test_the_shared_training_is_the_same_whenever_it_is_copied() -> None:
    early, late = (run([TINY.replace(spawn_step=steps)], [4])["shared_loss"][:, 0] for steps in (20, 29))
    np.testing.assert_allclose(late[:20], early, rtol=1e-4)


def finished(config: Config, values: dict[str, Any]) -> History:
    """A finished history of hand-written last values, name -> (R, ...)."""
    runs = len(next(iter(values.values())))
    history, _ = EXPERIMENT.start([config] * runs, range(runs))
    arrays = {name: np.array(value, dtype=float) for name, value in values.items()}
    history.append(Frame(config.total, config.total, arrays, np.full(runs, -1)))
    return history


VALUES: dict[str, Any] = {  # of two runs, depth 2: layers 1, 2 and the output
    "loss": [[0.9, 1.1], [2.5, 1.0]],
    "loss_path": [[1.0] * 11] * 2,
    "error_path": [[0.05, *[0.3] * 9, 0.07], [0.09, *[0.1] * 9, 0.02]],
    "loss_barrier": [0.5, 0.25],
    "error_barrier": [0.24, 0.05],
    "ctl_l": [[0.1, 0.1, 0.9], [0.01, 0.03, 0.9]],
    "base_l": [[0.2, 0.4, 1.0], [0.1, 0.1, 1.0]],
    "coef_l": [[0.1, 0.7, 0.3], [0.2, 0.8, 0.4]],
    "com": [[0.0, 0.02, 0.3], [0.0, 0.04, 0.5]],
    "dist_W": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]],
    "dist_H": [[0.0, 0.7, 0.8], [0.0, 0.9, 1.0]],
    "additivity": [[0.1, 0.11], [0.2, 0.22]],
}


def test_the_metrics_are_those_of_the_recipe() -> None:
    found = EXPERIMENT.metrics(finished(TINY, VALUES))
    expected = {
        "loss_barrier": [0.5, 0.25],
        "error_barrier": [0.24, 0.05],
        "error_ends": [0.07, 0.09],
        "ratio": [0.375, 0.2],  # means of .5 and .25, of .1 and .3: without the logits
        "coef_last": [0.7, 0.8],
        "com_2": [0.02, 0.04],
        "dist_W_2": [0.2, 0.5],
        "dist_H_2": [0.7, 0.9],
        "additivity_2": [0.11, 0.22],
        "loss": [1.0, 1.75],
        "loss_flag": [0, 1],
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def test_before_the_copy_there_is_nothing_to_judge() -> None:
    history, frames = EXPERIMENT.start([TINY] * 2, [0, 1])
    names = set(EXPERIMENT.metrics(history))
    history.append(next(frames))
    found = EXPERIMENT.metrics(history)
    assert set(found) == names
    assert all(np.isnan(values).all() for values in found.values())
    for frame in frames:
        history.append(frame)
    assert set(EXPERIMENT.metrics(history)) == names
    assert all(np.isfinite(values).all() for values in EXPERIMENT.metrics(history).values())


def test_where_claims_are_expected() -> None:
    assert list(CLAIMS) == ["small_error_barrier", "commutativity", "barrier_falls", "llfc_follows"]
    assert all(claim.where(Config()) for claim in CLAIMS.values())
    pairs = ["barrier_falls", "llfc_follows"]  # the spawn step is what they change
    assert [name for name, claim in CLAIMS.items() if claim.where(EXPERIMENT.configure("early_spawn"))] == pairs
    for changes in (APART, {"label_noise": 0.0}, {"lr": 0.02}, {"width": 128}, {"anneal_steps": 0}, {"momentum": 0.5}):
        assert not any(claim.where(Config(**changes)) for claim in CLAIMS.values()), changes


@pytest.fixture(scope="module")
def fresh() -> dict[str, Metrics]:
    """Full-size runs of a seed that was not used to write the claims."""
    presets = ("late_spawn", "early_spawn", "independent")
    return {name: run_metrics(EXPERIMENT, EXPERIMENT.run(EXPERIMENT.configure(name), (811,))) for name in presets}


@pytest.mark.claims
def test_claims_hold_for_a_fresh_seed_and_their_controls_fail(fresh: dict[str, Metrics]) -> None:
    for name in ("small_error_barrier", "commutativity"):
        claim = CLAIMS[name]
        assert claim.bound.holds(fresh["late_spawn"][claim.metric]).all(), name
        assert [dict(control.changes) for control in claim.controls] == [{"spawn_step": 0}, APART]
        for control in ("early_spawn", "independent"):
            assert not claim.bound.holds(fresh[control][claim.metric]).any(), (name, control)
    assert all(metrics["loss_flag"] == 0 for metrics in fresh.values())


@pytest.mark.claims
def test_the_barrier_falls_for_a_fresh_seed(fresh: dict[str, Metrics]) -> None:
    claim = CLAIMS["barrier_falls"]
    assert claim.sweep is not None
    assert [change["spawn_step"] for change in claim.sweep.changes] == [600, 200, 50, 10, 0]
    ends = [fresh["late_spawn"], fresh["early_spawn"]]
    assert claim.bound.holds(claim.sweep.value(ends)).all()
    assert not claim.bound.holds(claim.sweep.value(ends[::-1])).any()
    for claim in (CLAIMS["barrier_falls"], CLAIMS["llfc_follows"]):
        (control,) = claim.controls
        assert control.bound is not None
        assert control.bound.holds(fresh["independent"][control.metric]).all()
        assert not control.bound.holds(fresh["late_spawn"][control.metric]).any()


def test_sweeps_judge_by_the_numbers_of_all_runs() -> None:
    falls, follows = CLAIMS["barrier_falls"], CLAIMS["llfc_follows"]
    assert falls.sweep is not None
    assert follows.sweep is not None
    assert [change["spawn_step"] for change in follows.sweep.changes] == [600, 0]
    rows = [
        {"loss_barrier": np.array(b), "ratio": np.array(r)} for b, r in (([0.1, 0.5], [0.1, 0.2]), ([1, 1], [0, 0.5]))
    ]
    np.testing.assert_allclose(falls.sweep.value(rows), [0.1, 0.5])  # seed by seed
    np.testing.assert_allclose(follows.sweep.value(rows), [0.6])  # means of all seeds
    assert falls.bound.holds(falls.sweep.value(rows)).tolist() == [True, False]
    assert follows.bound.holds(follows.sweep.value(rows)).tolist() == [True]
    assert (falls.sweep.least_seeds, follows.sweep.least_seeds) == (1, 5)


def test_presets_are_those_of_the_recipe() -> None:
    assert {name: dict(preset.changes) for name, preset in PRESETS.items()} == {
        "late_spawn": {},
        "early_spawn": {"spawn_step": 0},
        "independent": {"shared_init": False, "spawn_step": 0},
        "clean_labels": {"label_noise": 0.0},
    }
    assert not any(EXPERIMENT.configure(name).warnings() for name in PRESETS)


def test_deadly_settings_are_warned_of_and_wrong_ones_refused() -> None:
    (warning,) = Config(lr=0.05, batch_size=4).warnings()
    assert "kills the network" in warning
    for changes in ({"momentum": 0.5}, {"batch_size": 16}, {"lr": 0.03}):
        assert not Config(**{"lr": 0.05, "batch_size": 4, **changes}).warnings(), changes
    for name, value in (("spawn_step", 601), ("lr", 0.06), ("label_noise", 0.6), ("depth", 5)):
        with pytest.raises(InputError, match=name):
            Config(**{name: value})


@pytest.mark.slow
def test_curves_are_medians_of_what_was_recorded() -> None:
    history = run([TINY] * 2, [0, 1])
    losses, barriers, *_ = EXPERIMENT.panels(history)
    shared, a, b, _, split = losses.marks
    assert isinstance(shared, Line)
    assert shared.x[[0, -1]].tolist() == [1, 20]
    for column, mark in enumerate((a, b)):
        assert isinstance(mark, Line)
        np.testing.assert_allclose(mark.y, np.median(history["loss"][:, :, column], axis=1))
        np.testing.assert_allclose(mark.high, history["loss"][:, :, column].max(1))
    assert split == Level("copied", x=20.0)
    for mark, name in zip(barriers.marks, ("loss_barrier", "error_barrier"), strict=False):
        assert isinstance(mark, Line)
        np.testing.assert_allclose(mark.y, np.median(history[name], axis=1))
    for shown in (history, history.run(0)):
        assert still_png(EXPERIMENT.panels(shown)).startswith(b"\x89PNG")


def test_the_figure_shows_the_way_the_conditions_and_the_layers_of_the_last_frame() -> None:
    _, _, loss, error, conditions, layers = EXPERIMENT.panels(finished(TINY, VALUES))
    measured, straight, bound = error.marks
    assert isinstance(measured, Line)
    assert isinstance(straight, Line)
    assert isinstance(bound, Level)
    np.testing.assert_allclose(measured.x, np.arange(11) / 10)
    np.testing.assert_allclose(measured.y[[0, 5, 10]], [0.07, 0.2, 0.045])
    np.testing.assert_allclose(straight.y, [0.07, 0.045])
    assert bound.y == pytest.approx(2 * 0.08)  # the median of .07 and .09, doubled
    assert len(loss.marks) == 2
    heights = {mark.name: mark.y for mark in conditions.marks if isinstance(mark, Bars)}
    np.testing.assert_allclose(heights["commutativity"], [0, 0.03, 0.4])
    np.testing.assert_allclose(heights["weights"], [0.25, 0.35, 0.45])
    np.testing.assert_allclose(heights["inputs"], [0, 0.8, 0.9])
    np.testing.assert_allclose(heights["additivity"], [0.15, 0.165, np.nan])  # the output has no ReLU
    ctl, base = layers.marks
    assert isinstance(ctl, Bars)
    assert isinstance(base, Bars)
    assert list(ctl.x) == ["layer 1", "layer 2", "logits"]
    np.testing.assert_allclose(ctl.y, [0.055, 0.065, 0.9])
    np.testing.assert_allclose(base.y, [0.15, 0.25, 1.0])


def test_axes_say_what_is_drawn_and_in_which_unit() -> None:
    losses, barriers, loss, error, conditions, layers = EXPERIMENT.panels(finished(TINY, VALUES))
    assert "nats" in losses.y.label
    assert losses.y.log
    assert losses.x.range == barriers.x.range == (0, 150)
    assert "nats" in loss.y.label
    assert "error" in error.y.label
    assert "α" in loss.x.label
    assert loss.x.range == (0, 1)
    assert "layer" in conditions.x.label
    assert "cosine" in layers.y.label
    assert layers.y.log
    early = EXPERIMENT.panels(finished(TINY.replace(spawn_step=0), VALUES))
    assert np.isnan(early[0].marks[-1].x)  # nothing was shared


def row(loss: float, error: float = 0.1) -> dict[str, float]:
    return {"loss_barrier": loss, "error_barrier": error}


def test_the_sweep_shows_runs_that_differ_in_nothing_but_the_spawn_step() -> None:
    rows = {
        **{(Config(spawn_step=steps), seed): row(1 / (1 + steps) + seed) for steps in (600, 0, 50) for seed in (0, 1)},
        (Config(spawn_step=10), 1): row(0.5),
        (Config(**APART), 0): row(1.8, 0.8),
        (Config(spawn_step=0, lr=0.05), 0): row(7.0),
    }
    loss, error = sweep_panels(rows)
    line, level = loss.marks
    assert isinstance(line, Line)
    assert isinstance(level, Level)
    assert line.x.tolist() == [ZERO, 10, 50, 600]
    np.testing.assert_allclose(line.y, [1.5, 0.5, 1 / 51 + 0.5, 1 / 601 + 0.5])
    np.testing.assert_allclose(line.high, [2, 0.5, 1 / 51 + 1, 1 / 601 + 1])
    assert level.y == 1.8
    assert error.marks[1].y == 0.8
    np.testing.assert_allclose(error.marks[0].y, 0.1)
    assert loss.x.log
    assert "nats" in loss.y.label
    assert EXPERIMENT.sweep_panels is sweep_panels
    one_of_each = {(Config(**APART), 0): row(1.8), (Config(spawn_step=0), 0): row(0.9)}
    line, level = sweep_panels(one_of_each)[0].marks
    assert isinstance(line, Line)
    assert isinstance(level, Level)
    assert (line.y.tolist(), level.y) == ([0.9], 1.8)
    for some in (rows, {(Config(), 0): row(0.1)}, {(Config(), 0): row(np.nan)}, {(Config(**APART), 0): row(1.8)}):
        assert still_png(sweep_panels(some)).startswith(b"\x89PNG")
