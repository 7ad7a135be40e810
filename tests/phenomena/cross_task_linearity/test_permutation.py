"""Permutation: training against torch, the four versions of a network, claims and figure.

The matching itself is tested in probes/test_permutation_matching.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from run_together import run_together
from torch_twin import between, descend, he_start, layers_of, loss_and_error

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.judging import run_metrics
from dyntoolkit.figure.panels import Bars, Line
from dyntoolkit.figure.still import still_png
from dyntoolkit.phenomena.cross_task_linearity import permutation
from dyntoolkit.phenomena.cross_task_linearity.permutation import EXPERIMENT, PRESETS, VERSIONS, Config, sweep_panels

Array = np.ndarray
TINY = Config(steps=100, width=16, batch_size=16, lr=0.02)
MODEL = MLP((64, 6, 5, 10), torch.relu)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}

run = partial(run_together, EXPERIMENT)


def draw(seed: int) -> torch.Tensor:
    """Weights (P,)."""
    return 0.4 * torch.randn(MODEL.parameters, generator=torch.Generator().manual_seed(seed))


def reordered(theta: torch.Tensor, first: list[int], second: list[int]) -> torch.Tensor:
    """The same network with its units of both hidden layers in another order."""
    (W1, b1), (W2, b2), (W3, b3) = MODEL.split(theta[None])
    assert b1 is not None
    assert b2 is not None
    assert b3 is not None
    parts = (W1[0][:, first], b1[0, 0, first], W2[0][first][:, second], b2[0, 0, second], W3[0][second], b3[0, 0])
    return torch.cat([part.flatten() for part in parts])


FIRST, SECOND = [3, 0, 5, 1, 2, 4], [4, 3, 0, 1, 2]


def test_the_four_versions_are_one_function_in_their_order() -> None:
    i, j, x = draw(1), draw(2), rotated_digits(0).test_x
    found = permutation.versions(MODEL, i, j, np.random.default_rng(0))
    assert found.shape == (4, MODEL.parameters)
    assert torch.equal(found[0], j)
    for version in found[1:]:
        assert not torch.equal(version, j)
        torch.testing.assert_close(version.sort().values, j.sort().values)  # the same numbers elsewhere
        torch.testing.assert_close(MODEL(version[None], x), MODEL(j[None], x), rtol=1e-4, atol=1e-4)
    assert (found @ i).argmax() == 1  # its weights are the most similar
    features = MODEL.features(torch.stack([i, *found]), rotated_digits(0).train_x)[0]  # (5, 1200, 6)
    units = (features - features.mean(1, keepdim=True)) / (features.std(1, keepdim=True) + 1e-6)
    assert (units[0] * units[1:]).sum((1, 2)).argmax() == 2  # its units are


def test_a_reordered_copy_is_put_back_by_both_matchings_and_not_at_random() -> None:
    i = draw(1)
    copy = reordered(i, FIRST, SECOND)
    plain, weight, activation, random = permutation.versions(MODEL, i, copy, np.random.default_rng(0))
    assert torch.equal(plain, copy)
    torch.testing.assert_close(weight, i)
    torch.testing.assert_close(activation, i)
    assert not torch.allclose(random, i)


def test_the_control_permutes_every_hidden_layer_uniformly() -> None:
    j = draw(2)
    model, copies = MLP((64, 3, 3, 10), torch.relu), []
    j = j[: model.parameters]
    for seed in range(400):
        version = permutation.versions(model, j, j, np.random.default_rng(seed))[3]
        (_, b1), (_, b2), _ = model.split(version[None])
        assert b1 is not None
        assert b2 is not None
        copies.append((tuple(b1.flatten().tolist()), tuple(b2.flatten().tolist())))
    counts = np.array([copies.count(orders) for orders in set(copies)])
    assert len(counts) == 36  # 6 orders of either layer
    assert ((counts - 400 / 36) ** 2 / (400 / 36)).sum() < 70  # chi squared: mean 35, sd 8.4


def test_all_four_versions_are_compared_with_the_first_network() -> None:
    i, j, digits = draw(1), draw(2), rotated_digits(0)
    others = permutation.versions(MODEL, i, j, np.random.default_rng(0))
    found = permutation.compared(MODEL, i, others)
    layers = [MODEL.split(theta[None]) for theta in (i, *others)]
    first, *rest = (
        [(W[0].double().numpy(), b[0, 0].double().numpy()) for W, b in some if b is not None] for some in layers
    )
    for k, second in enumerate(rest):
        ways = [
            loss_and_error(between(first, second, a / 10), digits.test_x.numpy(), digits.test_y.numpy())
            for a in range(11)
        ]
        np.testing.assert_allclose(found["loss_path_4"][k], [loss for loss, _ in ways], rtol=1e-4)
        np.testing.assert_allclose(found["error_path_4"][k], [error for _, error in ways], atol=1.5 / 597)
    assert found["ctl_l_4"].shape == found["base_l_4"].shape == found["coef_l_4"].shape == (4, 3)


def test_weights_decay_and_biases_do_not() -> None:
    model = permutation.network(TINY)
    found = permutation.decay([TINY.replace(weight_decay=0.01), TINY.replace(weight_decay=0.002)], model)
    for theta, strength in zip(found, (0.01, 0.01, 0.002, 0.002), strict=True):  # both networks of each run
        for weight, bias in model.split(theta[None]):
            torch.testing.assert_close(weight, torch.full_like(weight, strength))
            assert bias is not None
            assert not bias.any()


def test_training_is_that_of_torch() -> None:
    """Both networks of a run among others, with settings of its own: starts, batches, decay of the weights."""
    own = TINY.replace(lr=0.04, momentum=0.7, weight_decay=0.01, init_scale=0.8)
    history = run([TINY, own], [1, 9]).run(1)
    digits, networks, losses = rotated_digits(0), [he_start(own, 9, name) for name in ("init", "init B")], []
    for letter, network in zip("AB", networks, strict=True):
        batches = Stream([9], f"batch {letter}").indices(1200, 100, 16)[0]
        losses.append(descend(network, digits.train_x, digits.train_y, batches, 0.04, 0.7, 0.01))
    since = [np.mean(np.array(losses)[:, k0:k1], axis=1) for k0, k1 in pairwise([0, *history.at("loss")])]
    np.testing.assert_allclose(history["loss"][:, 0], since, rtol=1e-3)
    a, b = (layers_of(network) for network in networks)
    way = [loss_and_error(between(a, b, k / 10), digits.test_x.numpy(), digits.test_y.numpy()) for k in range(11)]
    np.testing.assert_allclose(history.last("loss_path")[0], [loss for loss, _ in way], rtol=1e-3)
    np.testing.assert_allclose(history.last("error_path")[0], [error for _, error in way], atol=1.5 / 597)


def test_thirty_frames_and_the_versions_at_the_last() -> None:
    history = run([TINY], [0])
    steps = [k * 100 // 29 for k in range(30)]
    assert history.at("error_barrier").tolist() == steps
    assert history.at("loss").tolist() == steps[1:]
    assert {name: history.at(name).tolist() for name in history.names() if name.endswith("_4")} == {
        f"{name}_4": [100]
        for name in ("loss_path", "error_path", "loss_barrier", "error_barrier", "ctl_l", "base_l", "coef_l")
    }
    for name in ("loss_path", "error_path"):
        four = history.last(f"{name}_4")[0]  # (4, 11)
        np.testing.assert_allclose(four[0], history.last(name)[0], rtol=1e-4)
        for end in (0, -1):  # there, all are the networks as trained
            np.testing.assert_allclose(four[:, end], four[0, end], rtol=1e-4)
    assert len({*np.round(history.last("loss_path_4")[0, :, 5], 4)}) == 4


def test_a_run_alone_is_permuted_as_among_others() -> None:
    """Its order at random comes from its own seed, too; to rounding, since 100 steps are too few for it to grow."""
    configs = [TINY.replace(lr=0.05), TINY.replace(weight_decay=0.01, init_scale=0.7), TINY.replace(momentum=0.2)]
    together, alone = run(configs, [1, 2, 3]).run(1), run(configs[1:2], [2])
    assert together.names() == alone.names()
    for name in alone.names():
        np.testing.assert_array_equal(together.at(name), alone.at(name))
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-2, atol=2e-3, err_msg=name)


def finished(config: Config, values: dict[str, Any]) -> History:
    """A finished history of hand-written last values, name -> (R, ...)."""
    runs = len(next(iter(values.values())))
    history, _ = EXPERIMENT.start([config] * runs, range(runs))
    arrays = {name: np.array(value, dtype=float) for name, value in values.items()}
    history.append(Frame(config.steps, config.steps, arrays, np.full(runs, -1)))
    return history


WAY = np.arange(11) / 100
VALUES: dict[str, Any] = {  # of two runs, depth 1: the hidden layer and the logits
    "loss": [[0.1, 0.3], [0.2, 0.2]],
    "error_path": [WAY, 3 * WAY],
    "loss_path": [WAY, 3 * WAY],
    "error_barrier": [0.4, 0.0],
    "error_path_4": [[WAY, WAY + 1, WAY + 2, WAY + 3], [3 * WAY, 3 * WAY + 1, 3 * WAY + 2, 3 * WAY + 3]],
    "loss_path_4": [[WAY] * 4, [3 * WAY] * 4],
    "error_barrier_4": [[0.4, 0.1, 0.04, 0.5], [0.0, 0.0, 0.0, 0.1]],
    "loss_barrier_4": [[4.0, 3.0, 2.0, 1.0], [0.4, 0.3, 0.2, 0.1]],
    "ctl_l_4": [[[0.1, 9]] * 4, [[0.1, 9], [0.2, 9], [0.3, 9], [0.4, 9]]],
    "base_l_4": [[[0.5, 1]] * 4, [[1.0, 1]] * 4],
    "coef_l_4": [[[0.5, 1], [0.6, 1], [0.7, 1], [0.8, 1]], [[0.1, 1]] * 4],
}
ONE_LAYER = TINY.replace(depth=1)


def test_the_metrics_are_those_of_each_version() -> None:
    found = EXPERIMENT.metrics(finished(ONE_LAYER, VALUES))
    expected = {
        "error": [[0.4, 0.0], [0.1, 0.0], [0.04, 0.0], [0.5, 0.1]],
        "loss": [[4, 0.4], [3, 0.3], [2, 0.2], [1, 0.1]],
        "ratio": [[0.2, 0.1], [0.2, 0.2], [0.2, 0.3], [0.2, 0.4]],
        "coef": [[0.5, 0.1], [0.6, 0.1], [0.7, 0.1], [0.8, 0.1]],
        "share": [[1, np.nan], [0.25, np.nan], [0.1, np.nan], [1.25, np.nan]],  # no barrier, nothing to lower
    }
    for k, version in enumerate(("plain", "weight", "activation", "random")):
        for name in ("error", "loss", "ratio", "coef"):
            np.testing.assert_allclose(found[f"{name}_{version}"], expected[name][k], err_msg=f"{name}_{version}")
        if k:
            np.testing.assert_allclose(found[f"{version}_share"], expected["share"][k])
    np.testing.assert_allclose(found["loss"], [0.2, 0.2])


def test_before_the_last_frame_nothing_is_matched() -> None:
    history, frames = EXPERIMENT.start([TINY] * 2, [0, 1])
    names = set(EXPERIMENT.metrics(history))
    assert len(names) == 4 * 4 + 3 + 1
    assert all(np.isnan(values).all() for values in EXPERIMENT.metrics(history).values())
    for frame in frames:
        if frame.step == 100:
            found = EXPERIMENT.metrics(history)
            assert {name for name, values in found.items() if np.isfinite(values).all()} == {"loss"}
        history.append(frame)
    assert set(EXPERIMENT.metrics(history)) == names
    assert all(values.shape == (2,) for values in EXPERIMENT.metrics(history).values())


def test_where_claims_are_expected() -> None:
    assert list(CLAIMS) == ["weight_matching", "activation_matching", "wider_is_flatter"]

    def expected(**changes: Any) -> list[str]:
        return [name for name, claim in CLAIMS.items() if claim.where(Config(**changes))]

    assert expected() == expected(width=32) == list(CLAIMS)
    assert expected(width=128) == expected(width=256) == expected(width=48) == ["wider_is_flatter"]
    for changes in ({"depth": 3}, {"weight_decay": 0.001}, {"lr": 0.1}, {"steps": 1000}, {"init_scale": 0.5}):
        assert expected(**changes) == [], changes


@pytest.mark.claims
def test_matching_claims_hold_for_fresh_seeds_and_fail_at_random() -> None:
    metrics = run_metrics(EXPERIMENT, EXPERIMENT.run(seeds=(811, 812)))
    for name in ("weight_matching", "activation_matching"):
        claim = CLAIMS[name]
        assert claim.bound.holds(metrics[claim.metric]).all(), (name, metrics[claim.metric])
        (control,) = claim.controls
        assert (control.metric, dict(control.changes)) == ("random_share", {})
        assert not claim.bound.holds(metrics[control.metric]).any(), (name, metrics[control.metric])
    assert (metrics["ratio_activation"] < metrics["ratio_plain"]).all()


def test_the_widest_is_judged_against_the_narrowest_in_the_mean() -> None:
    claim = CLAIMS["wider_is_flatter"]
    assert claim.sweep is not None
    assert [change["width"] for change in claim.sweep.changes] == [32, 64, 128, 256]
    assert claim.sweep.least_seeds == 5
    barriers = ([0.4, 0.6], [0.3, 0.3], [0.9, 0.9], [0.05, 0.25])
    rows = [{"error_plain": np.array(barrier)} for barrier in barriers]
    np.testing.assert_allclose(claim.sweep.value(rows), [0.3])
    assert claim.bound.holds(claim.sweep.value(rows)).all()
    assert not claim.bound.holds(claim.sweep.value(rows[::-1])).any()


def test_presets_are_those_of_the_recipe_and_wrong_settings_are_refused() -> None:
    assert {name: dict(preset.changes) for name, preset in PRESETS.items()} == {
        "match": {},
        "narrow": {"width": 32},
        "wide": {"width": 256},
        "deep": {"depth": 3},
    }
    assert not any(EXPERIMENT.configure(name).warnings() for name in PRESETS)
    (warning,) = Config(lr=0.1, batch_size=16).warnings()
    assert "kills the network" in warning
    for name, value in (("width", 257), ("depth", 4), ("weight_decay", 0.02), ("batch_size", 8), ("lr", 0.2)):
        with pytest.raises(InputError, match=name):
            Config(**{name: value})


@pytest.mark.slow
def test_curves_are_medians_of_what_was_recorded_and_the_versions_come_last() -> None:
    history, frames = EXPERIMENT.start([TINY] * 2, [0, 1])
    for frame in frames:
        if frame.step == 100:  # until then only the way to the network as trained is known
            plain, *others = EXPERIMENT.panels(history)[1].marks
            assert isinstance(plain, Line)
            np.testing.assert_allclose(plain.y, np.median(history.last("error_path"), axis=0))
            assert all(isinstance(mark, Line) and np.isnan(mark.y).all() for mark in others)
        history.append(frame)
    training = EXPERIMENT.panels(history)[0].marks
    for mark, values in zip(training, (*history["loss"].transpose(2, 0, 1), history["error_barrier"]), strict=True):
        assert isinstance(mark, Line)
        np.testing.assert_allclose(mark.y, np.median(values, axis=1))
    for shown in (history, history.run(0)):
        assert still_png(EXPERIMENT.panels(shown)).startswith(b"\x89PNG")


def test_the_figure_shows_the_four_ways_and_what_is_left() -> None:
    training, error, loss, left = EXPERIMENT.panels(finished(ONE_LAYER, VALUES))
    assert len(error.marks) == len(loss.marks) == len(VERSIONS) == 4
    for k, mark in enumerate(error.marks):
        assert isinstance(mark, Line)
        np.testing.assert_allclose(mark.x, np.arange(11) / 10)
        np.testing.assert_allclose(mark.y, 2 * WAY + k)
        np.testing.assert_allclose(mark.high, 3 * WAY + k)
    barrier, ratio = left.marks
    assert isinstance(barrier, Bars)
    assert isinstance(ratio, Bars)
    np.testing.assert_allclose(barrier.y, [0.2, 0.05, 0.02, 0.3])
    np.testing.assert_allclose(ratio.y, [0.15, 0.2, 0.25, 0.3])
    assert len(barrier.x) == 4
    assert training.x.range == (0, 100)
    assert training.y.log
    assert "nats" in training.y.label
    assert "error rate" in error.y.label
    assert "nats" in loss.y.label
    assert "α" in error.x.label
    assert error.x.range == loss.x.range == (0, 1)


def test_the_sweep_shows_runs_that_differ_in_nothing_but_the_width() -> None:
    def row(plain: float) -> dict[str, float]:
        return {f"error_{version}": plain + k for k, version in enumerate(VERSIONS)}

    rows = {
        **{(Config(width=width), seed): row(1 / width + seed) for width in (256, 32, 64) for seed in (0, 1)},
        (Config(width=128), 1): row(0.5),
        (Config(width=64, depth=3), 0): row(9.0),
    }
    (panel,) = sweep_panels(rows)
    for k, mark in enumerate(panel.marks):
        assert isinstance(mark, Line)
        assert mark.x.tolist() == [32, 64, 128, 256]
        np.testing.assert_allclose(mark.y, np.array([1 / 32 + 0.5, 1 / 64 + 0.5, 0.5, 1 / 256 + 0.5]) + k)
        np.testing.assert_allclose(mark.high, np.array([1 / 32 + 1, 1 / 64 + 1, 0.5, 1 / 256 + 1]) + k)
    assert len(panel.marks) == 4
    assert panel.x.log
    assert "error" in panel.y.label
    assert EXPERIMENT.sweep_panels is sweep_panels
    for some in (rows, {(Config(), 0): row(0.1)}, {(Config(), 0): row(np.nan)}):
        assert still_png(sweep_panels(some)).startswith(b"\x89PNG")
