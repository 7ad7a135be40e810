"""The regression: difficulty, target, start and samples as the recipe has them."""

import numpy as np
import pytest
import torch

from dyntoolkit.phenomena.schedules import _regression as regression
from dyntoolkit.phenomena.schedules._regression import Samples, excess_risk, initial_errors, problem
from dyntoolkit.phenomena.schedules._theory import Moments, Update
from dyntoolkit.phenomena.schedules.batch_size import Config


def test_the_excess_risk_of_the_target_falls_with_the_source():
    configs = [Config(source=0.2), Config(source=1, capacity=2, init_scale=2)]
    variances, target, start = problem(configs)
    j = np.arange(1.0, 301)
    np.testing.assert_allclose((variances * target).sum(1), 1)
    for r, (s, beta) in enumerate([(0.2, 1.5), (1, 2)]):
        part = variances[r] * target[r]
        np.testing.assert_allclose(part / part[0], j ** (-1 - s * beta))
    np.testing.assert_allclose(start[0], target[0])
    np.testing.assert_allclose((variances * start).sum(1), [1, 1 + 2**2])
    assert [regression.hardness(c) > 0 for c in configs] == [True, False]


def test_the_start_scatters_about_the_target_with_the_signs_of_the_seed():
    configs = [Config(init_scale=scale) for scale in (0, 2, 0)]
    v = initial_errors(configs, [3, 3, 4])
    assert not torch.equal(v[0].sign(), v[2].sign())
    np.testing.assert_allclose(v[0].square(), problem(configs).target[0], rtol=1e-5)
    w = (v[1] - v[0]).double().numpy() * np.sqrt(problem(configs).variances[0].sum())
    assert w.std() == pytest.approx(2, rel=0.15)


def test_samples_have_the_variances_and_go_on_where_they_ended():
    configs = [Config(n_features=100, noise_std=std) for std in (0.5, 0)]
    x, noise = Samples(configs, [1, 2]).draw(40, 100)
    assert x.shape == (40, 2, 100, 100)
    ratio = x.double().square().mean((0, 2)).numpy() / problem(configs).variances
    assert np.abs(ratio - 1).max() < 0.12
    assert float(noise[:, 0].std()) == pytest.approx(0.5, rel=0.05)
    assert not noise[:, 1].any()
    parts = Samples(configs[:1], [1])
    again = [parts.draw(steps, 100) for steps in (15, 25)]
    assert torch.equal(torch.cat([part[0] for part in again]), x[:, :1])
    assert torch.equal(torch.cat([part[1] for part in again]), noise[:, :1])


def test_the_excess_risk_is_the_error_on_samples_without_noise():
    configs = [Config(n_features=100, noise_std=0)]
    v = initial_errors(configs, [5])[:, None]  # (1, 1, M)
    x, _ = Samples(configs, [6]).draw(200, 100)
    measured = (x.double() @ v[0].T.double()).square().mean()
    variances = torch.from_numpy(problem(configs).variances)[:, None]
    assert float(excess_risk(variances, v)) == pytest.approx(float(measured), rel=0.05)


def test_the_expectation_diverges_where_the_gain_of_noise_is_above_1():
    configs = [Config(lr=lr, small_batch=2, capacity=1.2, n_features=100) for lr in (0.7, 0.74, 0.79, 0.8)]
    gains = [regression.noise_gain(c, 2) for c in configs]
    assert gains[0] < gains[1] < 1 < gains[2] < gains[3]
    variances, _, start = problem(configs)
    moments = Moments.start(variances, start)
    update = Update.of(variances, np.ones((4, 1)), np.array([[c.lr] for c in configs]), 2)
    for _ in range(3000):
        before, moments = moments, update(moments)
    grows = moments.risks(variances)[0] / before.risks(variances)[0] > 1 + 1e-4
    assert grows.tolist() == [False, False, True, True]
    assert [bool(c.warnings()) for c in configs] == [False, False, True, True]
