"""Catching up on digits: the step against torch's own layers, noise and batches, windows of the metrics."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.phenomena.schedules import digits
from dyntoolkit.phenomena.schedules.digits import EXPERIMENT, Config

TINY = Config(steps=500, width=16, n_train=300, small_batch=2, large_batch=16, lr=0.1)


def torch_losses(config, seed, steps):
    """Test losses of small, large and switched after so many steps, with torch's layers, loss and optimizer."""
    data = digits.draw_data(config, [seed])
    theta = digits.initial_theta([config], [seed])
    batch, ends = digits.make_batches([config], [seed])(0, steps), []
    for switch in (config.steps, 0, config.switch_step):
        net = torch.nn.Sequential(torch.nn.Linear(64, config.width), torch.nn.Tanh(), torch.nn.Linear(config.width, 10))
        with torch.no_grad():
            for layer, (weight, bias) in zip((net[0], net[2]), digits.network(config).split(theta), strict=True):
                layer.weight.copy_(weight[0].T)
                layer.bias.copy_(bias[0, 0])
        rule = torch.optim.SGD(net.parameters(), lr=config.lr)
        for k in range(steps):
            B = config.small_batch if k < switch else config.large_batch
            chosen = batch.images[k, 0, :B]
            error = net(data.x[0, chosen]) - data.y[0, chosen] - batch.noise[k, 0, :B]
            rule.zero_grad()
            (error.square().sum(1).mean() / 2).backward()
            rule.step()
        with torch.no_grad():
            ends.append(float((net(data.test_x[0]) - data.test_y[0]).square().sum(1).mean() / 2))
    return ends


def test_all_three_are_torchs_sgd_on_the_same_images_and_alone_as_in_a_batch():
    configs = [TINY.replace(switch=0.1), TINY.replace(switch=0.2, noise_std=0.0, init_scale=0.3)]
    history = run_together(EXPERIMENT, configs, [5, 6])
    (row,) = np.flatnonzero(history.at("test_loss") == 75)
    for r, (config, seed) in enumerate(zip(configs, (5, 6), strict=True)):
        np.testing.assert_allclose(history["test_loss"][row, r], torch_losses(config, seed, 75), rtol=1e-4)
        alone = EXPERIMENT.run(config, (seed,))
        np.testing.assert_allclose(alone["test_loss"][:, 0], history["test_loss"][:, r], rtol=1e-3)


def test_the_start_and_the_noise_are_those_of_the_recipe():
    theta = digits.initial_theta([Config(), Config(init_scale=2.0)], [1, 1])
    torch.testing.assert_close(2 * theta[0], theta[1])
    (first, bias), (second, _) = digits.network(Config()).split(theta)
    assert not bias.any()
    assert float(first[0].std()) == pytest.approx(1 / 8, rel=0.05)
    assert float(second[0].std()) == pytest.approx(1 / 8, rel=0.1)
    batch = digits.make_batches([Config(noise_std=0.5), Config(noise_std=0.0)], [1, 1])(0, 40)
    assert batch.noise.shape == (40, 2, 64, 10)
    assert float(batch.noise[:, 0].std()) == pytest.approx(0.5, rel=0.03)
    assert not batch.noise[:, 1].any()
    assert torch.equal(batch.images[:, 0], batch.images[:, 1])


def test_each_run_tests_on_all_images_that_it_does_not_train_on():
    data = digits.draw_data(TINY, [1, 2])
    assert data.x.shape == (2, 300, 64)
    assert data.test_x.shape == (2, 1497, 64)
    assert not torch.equal(data.x[0], data.x[1])
    assert (data.y.sum(2) == 1).all()


def test_the_metrics_are_those_of_the_recipe():
    config = Config(steps=3000, switch=0.5)
    history = History("schedules.digits", [config], [0])
    for k in range(0, 3001, 25):
        small = 3.0 if 1400 <= k <= 1500 else 2.5
        switched = {1800: 1.5, 1825: 1.7}.get(k, 1.25)
        row = np.array([[small, 1.0, switched]])
        values = {"train_loss": row, "test_loss": row, "accuracy": np.array([[0.5, 0.9, 0.8 + (k > 2800) * 0.05]])}
        history.append(Frame(k, 3000, values, np.array([-1])))
    found = EXPERIMENT.metrics(history)
    expected = {"before": 2, "after300": 0.6, "closed300": 0.7, "end": 0.25, "never": 1.5}
    expected |= {"accuracy_small": 0.5, "accuracy_large": 0.9, "accuracy_switched": 0.85}
    assert found == {name: pytest.approx([value]) for name, value in expected.items()}


def test_the_figure_shows_the_gap_from_the_switch_on():
    history = EXPERIMENT.run(TINY, (1, 2))
    loss, accuracy, gap = EXPERIMENT.panels(history)
    assert loss.marks[-1].x == accuracy.marks[-1].x == 375
    small, switched, _ = gap.marks
    last = history.last("test_loss")
    assert switched.y[-1] == pytest.approx(np.median(last[:, 2] / last[:, 1] - 1))
    assert small.x.tolist() == [25, 50, 75, 100, 125]


@pytest.mark.claims
def test_claims_hold_at_the_defaults():
    metrics = EXPERIMENT.metrics(EXPERIMENT.run(seeds=(902, 903)))
    for claim in EXPERIMENT.claims:
        assert claim.where(EXPERIMENT.configure(claim.preset or None))
        if not claim.preset:
            assert claim.bound.holds(metrics[claim.metric]).all(), claim.id
