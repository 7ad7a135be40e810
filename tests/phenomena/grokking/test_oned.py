"""One dimension: data and metrics against the recipe, training against torch's own AdamW, the whole Config."""

import math

import numpy as np
import pytest
import torch

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.loop import geometrically
from dyntoolkit.phenomena.grokking import oned
from dyntoolkit.phenomena.grokking.oned import EXPERIMENT, Config

SMALL = Config(width=20, steps=500, n_uniform=12, n_aliased=20)


def spectrum(y, x):
    """|F_k| for k = 0..15, the sum written out."""
    return [abs(sum(v * np.exp(-1j * k * p) for v, p in zip(y, x, strict=True))) / len(x) for k in range(16)]


def test_the_training_points_are_those_of_the_recipe():
    points = oned.training_points(Config())
    assert len(points) == 120
    aliased = points[:100]
    sites = np.array(
        [k * math.pi / 7 for k in (-7, -5, -3, -1, 1, 3, 5, 7)] + [k * math.pi / 5 for k in (-4, -2, 0, 2, 4)]
    )
    nearest = np.abs(aliased[:, None] - sites).argmin(1)
    assert np.abs(aliased - sites[nearest]).max() < 0.009
    by_size = {abs(round(sites[i], 6)): int((nearest == i).sum()) for i in range(len(sites))}
    sizes = {0: 4, 1 / 7: 4, 2 / 5: 15, 3 / 7: 15, 5 / 7: 6, 4 / 5: 6, 1: 2}
    assert by_size == {abs(round(at * math.pi, 6)): size for at, size in sizes.items()}
    np.testing.assert_allclose(points[100:], np.linspace(-math.pi, math.pi, 20))
    three = oned.training_points(Config(n_aliased=0, n_aliased3=10))[:10]
    assert np.abs(np.sin(3 * three) - np.sin(6 * three)).max() < 0.01


@pytest.mark.parametrize(("n", "first", "sixth"), [(100, 0.5721, 0.6513), (50, 0.499, None), (150, 0.610, None)])
def test_the_labels_have_the_spectrum_of_the_recipe(n, first, sixth):
    x = oned.training_points(Config(n_aliased=n))
    F = spectrum(np.sin(6 * x), x)
    assert F[1] == pytest.approx(first, abs=6e-4)
    assert sixth is None or F[6] == pytest.approx(sixth, abs=1e-4)


def test_noise_is_drawn_once_for_each_run_and_only_on_training_labels():
    data = oned.draw_data([SMALL, SMALL.replace(noise_std=0.4), SMALL.replace(noise_std=0.2)], [1, 1, 2])
    clean, noise = torch.sin(6 * data.train_x), data.train_y - torch.sin(6 * data.train_x)
    torch.testing.assert_close(data.train_y[0], clean, atol=1e-5, rtol=0)
    torch.testing.assert_close(data.test_y, torch.sin(6 * data.test_x), atol=1e-5, rtol=0)
    many = oned.draw_data([SMALL.replace(n_uniform=1000, noise_std=0.4)], [1])
    assert float((many.train_y[0] - torch.sin(6 * many.train_x)).std()) == pytest.approx(0.4, rel=0.1)
    assert not torch.allclose(noise[1] / 0.4, noise[2] / 0.2)


def test_the_start_is_that_of_the_recipe():
    config = Config(width=400, init_scale=2, readout_scale=0.5)
    theta = oned.initial_theta([config], [1])[0]
    for part, bound in zip(theta[:-1].view(3, 400), (2, 6.28, 0.5), strict=True):
        assert 0.95 * bound < float(part.abs().max()) <= bound
        assert float(part.std()) == pytest.approx(bound / 3**0.5, rel=0.1)
    assert theta[-1] == 0


@pytest.mark.parametrize("activation", ["tanh", "sin", "relu"])
def test_training_is_torchs_own_and_frames_show_what_they_say(activation):
    config = SMALL.replace(activation=activation, noise_std=0.1, weight_decay=0.5, eps=1e-6, lr=0.01)
    history = EXPERIMENT.run(config, (5,))
    x = torch.from_numpy(oned.training_points(config)).float()
    labels, test_x = oned.draw_data([config], [5]).train_y[0], torch.linspace(-math.pi, math.pi, 1000)
    w, b, a, c = oned.initial_theta([config], [5])[0].split([20, 20, 20, 1])
    leaves = [torch.nn.Parameter(part.clone()) for part in (w, b, a, c)]
    rule = torch.optim.AdamW(leaves, lr=0.01, eps=1e-6, weight_decay=0.5)

    def f(points):
        w, b, a, c = leaves
        return getattr(torch, activation)(points[:, None] * w + b) @ a + c

    for k in range(21):
        value = (f(x) - labels).square().mean()
        if k in history.at("train_loss"):
            (row,) = np.flatnonzero(history.at("train_loss") == k)
            with torch.no_grad():
                output, fitted = f(test_x), f(x)
            np.testing.assert_allclose(history["train_loss"][row, 0], float(value.detach()), rtol=1e-3)
            error = float((output - torch.sin(6 * test_x)).square().mean())
            np.testing.assert_allclose(history["test_loss"][row, 0], error, rtol=1e-3)
            np.testing.assert_allclose(history["output"][row, 0], output, atol=2e-3)
            np.testing.assert_allclose(
                history["train_spectrum"][row, 0], spectrum(fitted.numpy(), x.numpy()), atol=1e-3
            )
            np.testing.assert_allclose(
                history["test_spectrum"][row, 0], spectrum(output.numpy(), test_x.numpy()), atol=1e-3
            )
        rule.zero_grad()
        value.backward()
        rule.step()
    np.testing.assert_allclose(history["label_spectrum"][0, 0], spectrum(labels.numpy(), x.numpy()), atol=1e-5)


def test_the_metrics_are_those_of_the_recipe():
    history = History("grokking.oned", [SMALL], [0])
    rows = [  # train loss, test loss, F1, F6 on the test points; the first five frames are the random start
        (9.0, 9.0, 0.9, 0.0),
        *[(0.5, 2.0, 0.8, 0.1)] * 4,
        (0.2, 0.6, 0.3, 0.2),
        (0.1, 1.2, 0.5, 0.1),
        (0.1, 0.2, 0.4, 0.3),
        (0.1, 0.1, 0.02, 0.45),
    ]
    for step, (train, test, F1, F6) in enumerate(rows):
        F = np.zeros((1, 16))
        F[0, 1], F[0, 6] = F1, F6
        losses = {"train_loss": np.array([train]), "test_loss": np.array([test])}
        start = {} if step else {"label_spectrum": np.full((1, 16), 0.57)}
        history.append(
            Frame(step, 8, {**losses, **start, "test_spectrum": F, "train_spectrum": F + 0.5}, np.array([-1]))
        )
    found = {name: value[0] for name, value in EXPERIMENT.metrics(history).items()}
    assert (found["t_train"], found["t_test"]) == (6, 8)  # .2 itself does not count
    assert found["delay"] == pytest.approx(8 / 6)
    assert (found["test_peak"], found["F1_peak"], found["F6_at_F1_peak"]) == (1.2, 0.5, 0.1)
    assert (found["F1_end"], found["F6_end"], found["test_end"]) == (0.02, 0.45, 0.1)
    assert found["F1_error"] == pytest.approx(0.05)
    first, leaves = (claim for claim in EXPERIMENT.claims if claim.value)
    metrics = {name: np.array([value, value]) for name, value in found.items()}
    np.testing.assert_array_equal(
        first.value({**metrics, "F6_at_F1_peak": np.array([0.15, 0.16])}, SMALL), [0.5, np.nan]
    )
    np.testing.assert_array_equal(leaves.value({**metrics, "F6_end": np.array([0.4, 0.39])}, SMALL), [0.02, np.nan])


@pytest.mark.claims
def test_default_run_claims_metrics_and_figure():
    history = EXPERIMENT.run(seeds=(901,))
    metrics = EXPERIMENT.metrics(history)
    assert tuple(history.at("train_loss")) == geometrically(4000, 100)
    for claim in EXPERIMENT.claims:
        assert claim.where(history.config)
        assert not claim.where(EXPERIMENT.configure("uniform"))
        value = claim.value(metrics, history.config) if claim.value else metrics[claim.metric]
        assert claim.bound.holds(value)[0], claim.id
    losses, function, train_map, train_now, test_map, test_now = EXPERIMENT.panels(history)
    assert [level.x for level in losses.marks[2:]] == [metrics["t_train"][0], metrics["t_test"][0]]
    assert losses.marks[3].name.endswith("× as late")
    np.testing.assert_array_equal(test_map.marks[0].z, history["test_spectrum"][1:, 0].T)
    np.testing.assert_array_equal(train_map.marks[0].z, history["train_spectrum"][1:, 0].T)
    assert test_now.marks[0].x[6] == metrics["F6_end"][0]
    assert train_now.marks[1].x[4] == metrics["label_F1"][0]  # stems: 0, |F_k|, gap for each k
    assert len(function.marks[1].x) == 120
