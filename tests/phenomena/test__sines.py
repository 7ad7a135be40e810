"""The written-out gradient and Hessian against torch's, and data that belong to a run's seed alone."""

import numpy as np
import torch

from dyntoolkit.phenomena._sines import (
    Data,
    draw_data,
    hessian,
    initial_theta,
    loss,
    loss_and_gradient,
    loss_gradient_hessian,
    loss_gradient_product,
)
from dyntoolkit.phenomena.loss_spikes.mlp import Config

CONFIGS = [Config(width=6, n_train=20, noise_std=0.3), Config(width=6, n_train=20, init_scale=2.0)]
SEEDS = [3, 4]


def test_the_network_is_the_one_of_the_docstring():
    data, theta = draw_data(CONFIGS, SEEDS), initial_theta(CONFIGS, SEEDS)
    w, b, a, c = theta[1, :6], theta[1, 6:12], theta[1, 12:18], theta[1, 18]
    f = [sum(a[j] * torch.tanh(w[j] * x + b[j]) for j in range(6)) + c for x in data.x]
    naive = np.mean([(float(f[i]) - float(data.y[1, i])) ** 2 for i in range(20)])
    assert np.isclose(loss(theta, data)[1], naive, rtol=1e-12)


def test_gradient_and_hessian_agree_with_autograd():
    data, theta = draw_data(CONFIGS, SEEDS), initial_theta(CONFIGS, SEEDS)
    theta[:, -1] = 0.3
    values, gradients = loss_and_gradient(theta, data)
    full = hessian(theta, data)
    for r in range(2):

        def one(at, r=r):
            return loss(at, Data(data.x, data.y[r]))

        torch.testing.assert_close(values[r], one(theta[r]))
        torch.testing.assert_close(gradients[r], torch.func.grad(one)(theta[r]))
        torch.testing.assert_close(full[r], torch.func.hessian(one)(theta[r]))


def test_what_is_taken_at_once_is_what_is_taken_one_by_one():
    data, theta = draw_data(CONFIGS, SEEDS), torch.stack([initial_theta(CONFIGS, SEEDS)] * 3)  # (T, R, P)
    theta = theta * torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)[:, None, None]
    full, u = hessian(theta, data), torch.cos(torch.arange(theta.numel(), dtype=torch.float64)).view_as(theta)
    values, gradients = loss_and_gradient(theta, data)
    *found, again = loss_gradient_hessian(theta, data)
    assert all(map(torch.equal, (*found, again), (values, gradients, full)))
    *found, product = loss_gradient_product(theta, data)
    assert all(map(torch.equal, found, (values, gradients)))
    torch.testing.assert_close(product(u), (full @ u.unsqueeze(-1)).squeeze(-1), rtol=1e-12, atol=1e-12)


def test_steps_may_be_stacked_in_front_of_the_runs():
    data, theta = draw_data(CONFIGS, SEEDS), initial_theta(CONFIGS, SEEDS)
    stacked = torch.stack([theta, 2 * theta, -theta])  # (T, R, P)
    torch.testing.assert_close(hessian(stacked, data)[1], hessian(2 * theta, data))
    torch.testing.assert_close(loss_and_gradient(stacked, data)[1][2], loss_and_gradient(-theta, data)[1])


def test_data_have_the_range_and_noise_of_the_recipe():
    data = draw_data(CONFIGS, SEEDS)
    assert np.isclose(float(data.x[0]), -np.pi)
    assert np.isclose(float(data.x[-1]), np.pi)
    clean = torch.sin(data.x) + torch.sin(4 * data.x)
    torch.testing.assert_close(data.y[1], clean)
    assert 0.1 < float((data.y[0] - clean).std()) < 0.6


def test_the_start_has_the_standard_deviations_of_the_recipe():
    configs = [Config(width=60, init_scale=2.0)] * 40
    theta = initial_theta(configs, range(40))
    assert np.isclose(float(theta[:, :120].std()), 2.0, rtol=0.05)
    assert np.isclose(float(theta[:, 120:180].std()), 2.0 / 60**0.5, rtol=0.05)
    assert not theta[:, 180].any()
    torch.testing.assert_close(initial_theta(configs[:1], [7])[0], theta[7])
