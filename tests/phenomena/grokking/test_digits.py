"""Grokking on digits: data, start and training against their definitions, and the whole Config."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from dyntoolkit.data import shuffled_images
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.loop import geometrically
from dyntoolkit.phenomena.grokking import digits
from dyntoolkit.phenomena.grokking.digits import EXPERIMENT, Config
from dyntoolkit.probes.gaussian_filter import frequency_errors, gaussian_filter, high_frequency_share

SMALL = Config(n_train=100, width=16, steps=200)


def torch_net(theta, width):
    """The same weights in torch's own layers."""
    sizes = (64, width, width, 10)
    net = torch.nn.Sequential()
    for k, (fan_in, out) in enumerate(pairwise(sizes)):
        layer = torch.nn.Linear(fan_in, out)
        weight, theta = theta[: fan_in * out], theta[fan_in * out :]
        bias, theta = theta[:out], theta[out:]
        layer.weight.data, layer.bias.data = weight.view(fan_in, out).T.clone(), bias.clone()
        net.extend([torch.nn.ReLU(), layer] if k else [layer])
    return net


def test_each_run_has_its_own_order_of_the_digits():
    data = digits.draw_data(SMALL, [1, 2])
    images, labels = shuffled_images()
    known = {image.tobytes(): label for image, label in zip(images.reshape(-1, 64).astype("f4"), labels, strict=True)}
    for r in range(2):
        seen = torch.cat([data.train_x[r], data.test_x[r]])
        assert len(seen) == len({image.numpy().tobytes() for image in seen}) == 600
        given = torch.cat([data.train_y[r], data.test_y[r]])
        assert [known[image.numpy().tobytes()] for image in seen] == given.argmax(1).tolist()
        assert (given.sum(1) == 1).all()
    assert float(data.train_x.max()) == 1
    assert not torch.equal(data.train_x[0], data.train_x[1])


def test_all_parameters_of_a_layer_are_uniform_in_the_range_of_the_recipe():
    net, theta = digits.network(Config()), digits.initial_theta([Config(), Config(init_scale=1)], [1, 1])
    assert net.parameters == 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    torch.testing.assert_close(theta[0], 4 * theta[1])
    for weight, bias in net.split(theta):
        assert 0.9 * 0.5 < float(bias[0].abs().max()) <= 0.5 + 1e-6 or bias.shape[2] == 10
        assert float(weight[0].abs().max()) == pytest.approx(0.5, rel=0.01)
        assert float(weight[0].std()) == pytest.approx(0.5 / 3**0.5, rel=0.03)


def test_training_is_torchs_adamw_and_the_measurements_are_those_of_the_recipe():
    config = SMALL.replace(weight_decay=0.5, eps=1e-6, init_scale=2)
    history, data = EXPERIMENT.run(config, (5,)), digits.draw_data(config, [5])
    net = torch_net(digits.initial_theta([config], [5])[0], 16)
    rule = torch.optim.AdamW(net.parameters(), lr=3e-3, eps=1e-6, weight_decay=0.5)
    S, x, y = gaussian_filter(data.test_x), data.test_x[0], data.test_y
    assert history["hf_target"][0] == pytest.approx(high_frequency_share(S, y).numpy())
    for k in range(21):
        value = torch.nn.functional.mse_loss(net(data.train_x[0]), data.train_y[0])
        if k in history.at("hf"):
            (row,) = np.flatnonzero(history.at("hf") == k)
            with torch.no_grad():
                F = net(x).unsqueeze(0)
            low, high = frequency_errors(S, F, y)
            expected = {
                "train_loss": value.detach(),
                "test_loss": torch.nn.functional.mse_loss(F, y),
                "hf": high_frequency_share(S, F),
                "e_low": low,
                "e_high": high,
                "norm": torch.cat([p.detach().flatten() for p in net.parameters()]).norm(),
            }
            for name, number in expected.items():
                assert history[name][row, 0] == pytest.approx(float(number), rel=1e-3), (k, name)
            right = (F[0].argmax(1) == y[0].argmax(1)).double().mean()
            assert history["test_accuracy"][row, 0] == pytest.approx(float(right), abs=0.003)
        rule.zero_grad()
        value.backward()
        rule.step()


def test_the_metrics_are_those_of_the_recipe():
    history = History("grokking.digits", [SMALL], [0])
    rows = {  # step: train accuracy, test accuracy, hf
        0: (0.1, 0.1, 0.2),
        2: (0.9, 0.6, 0.9),
        4: (0.96, 0.85, 0.8),
        10: (1.0, 0.86, 0.7),
    }
    for step, (train, test, hf) in rows.items():
        values = {"train_accuracy": train, "test_accuracy": test, "hf": hf, "norm": 1.0, "test_loss": 0.1}
        values |= {} if step else {"hf_target": 0.6}
        history.append(Frame(step, 10, {name: np.array([value]) for name, value in values.items()}, np.array([-1])))
    metrics = EXPERIMENT.metrics(history)
    assert metrics["gap_at_90"] == pytest.approx([0.3])  # at exactly .9, which counts
    assert metrics["delay_accuracy"] == pytest.approx([2.5])  # .85 itself does not count
    assert metrics["hf_excess"] == pytest.approx([0.3])
    (excess,) = (claim for claim in EXPERIMENT.claims if claim.id == "high_frequency_excess")
    assert excess.value(metrics, SMALL) == pytest.approx([0.9])
    assert np.isnan(excess.value({**metrics, "hf_excess": np.array([-0.1])}, SMALL))


@pytest.mark.claims
def test_default_run_claims_metrics_and_figure():
    history = EXPERIMENT.run(seeds=(901,))
    metrics = EXPERIMENT.metrics(history)
    assert tuple(history.at("hf")) == geometrically(2500, 60)
    for claim in EXPERIMENT.claims:
        assert claim.where(history.config)
        assert not claim.where(EXPERIMENT.configure("standard_init"))
        assert claim.bound.holds(metrics[claim.metric])[0], claim.id
    _, _, share, _ = EXPERIMENT.panels(history)
    assert share.marks[0].y.max() == metrics["hf_max"][0]
    assert share.marks[1].y == metrics["hf_target"][0]
