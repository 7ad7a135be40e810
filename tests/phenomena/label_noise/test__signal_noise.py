"""The Gram form against gradient descent by autograd on all weights of the network."""

import numpy as np
import pytest
import torch

from dyntoolkit.engine.streams import Stream
from dyntoolkit.phenomena.label_noise import _signal_noise as signal_noise
from dyntoolkit.phenomena.label_noise.features import Config

SMALL = Config(width=3, dim=50, n_train=20, flip_rate=0.3, signal_norm=2, input_noise_std=0.7, init_scale=0.1)


def whole(config, seed):
    """Filters, signal and noise patches in all dim coordinates: w (2m, dim), mu (dim,), xi (n, dim), test (N, dim)."""
    w = config.init_scale * Stream([seed], "init").normal(2 * config.width, config.dim)[0]
    mu = torch.zeros(config.dim)
    mu[0] = config.signal_norm
    patches = []
    for name, n in (("data", config.n_train), ("test", signal_noise.N_TEST)):
        noise = config.input_noise_std * Stream([seed], name).normal(n, config.dim - 1)[0]
        patches.append(torch.cat([torch.zeros(n, 1), noise], dim=1))
    return w, mu, *patches


def network(w, mu, y, xi, power):
    """f of the two-patch network, written out."""
    m = len(w) // 2
    plus, minus = (
        (torch.relu(y[:, None] * (mu @ half.T)) ** power + torch.relu(xi @ half.T) ** power).sum(1) / m
        for half in (w[:m], w[m:])
    )
    return plus - minus


@pytest.mark.parametrize("power", [1, 2])
def test_it_is_gradient_descent_on_all_weights(power):
    problem, start = signal_noise.draw([SMALL], [5], power)
    w, mu, xi, test = whole(SMALL, 5)
    torch.testing.assert_close(signal_noise.test_output(problem, start)[0], network(w, mu, problem.test_y, test, power))
    labels = torch.where(problem.flipped, -problem.y, problem.y)
    state, lr = start, torch.tensor([[0.3]])
    state = state._replace(keep=torch.cat([torch.ones(1, 15), torch.zeros(1, 5)], dim=1))
    leaf = w.clone().requires_grad_()
    for _ in range(20):
        f = network(leaf, mu, problem.y, xi, power)
        found = signal_noise.output(problem, problem.y, state.signal, state.noise)[0]
        torch.testing.assert_close(found, f.detach(), rtol=1e-3, atol=1e-5)
        each = signal_noise.losses(f.unsqueeze(0), labels)[0]
        torch.testing.assert_close(each, torch.log(1 + torch.exp(-labels[0] * f)))
        (gradient,) = torch.autograd.grad(each[:15].mean(), leaf)
        along, across = gradient[:, :1], gradient[:, 1:]
        ratio = float(across.norm() / along.norm())
        assert float(signal_noise.gradient_ratio(problem, state, labels)) == pytest.approx(ratio, rel=1e-3)
        leaf = (leaf - 0.3 * gradient).detach().requires_grad_()
        state = signal_noise.descend(problem, state, labels, lr)
    w_end = leaf.detach()
    torch.testing.assert_close(
        signal_noise.test_output(problem, state)[0],
        network(w_end, mu, problem.test_y, test, power),
        rtol=1e-3,
        atol=1e-4,
    )
    gamma = (problem.signs * ((w_end - w) @ mu)).mean()
    assert float(signal_noise.signal_learned(problem, state, start)) == pytest.approx(float(gamma), rel=1e-3)
    rebuilt = w + (state.signal - start.signal)[0][:, None] * mu / mu.square().sum() + state.C[0].T @ xi
    torch.testing.assert_close(rebuilt, w_end, rtol=1e-3, atol=1e-5)


def test_memory_is_the_mean_over_the_filters_of_the_labels_sign():
    problem, state = signal_noise.draw([SMALL], [5], 1)
    C = torch.arange(20 * 6.0).view(1, 20, 6)
    labels = torch.where(problem.flipped, -problem.y, problem.y)
    found = signal_noise.noise_memorized(problem, state._replace(C=C), labels)[0]
    for i in range(20):
        own = C[0, i, :3] if labels[0, i] > 0 else C[0, i, 3:]
        assert float(found[i]) == pytest.approx(float(own.mean() * problem.gram[0, i, i]), rel=1e-5)


def test_runs_with_other_scales_share_their_numbers_and_flips_are_exact():
    problem, state = signal_noise.draw([SMALL, SMALL.replace(init_scale=0.2, flip_rate=0.1)], [5, 5], 1)
    assert problem.flipped.sum(1).tolist() == [6, 2]
    torch.testing.assert_close(2 * state.noise[0], state.noise[1])
    torch.testing.assert_close(problem.gram[0], problem.gram[1])
    assert problem.y.tolist() == [-1.0, 1.0] * 10


def test_the_steps_are_those_of_the_recipe():
    found = signal_noise.record_steps(2000, 60, 20)
    spaced = [int(x) for x in np.logspace(0, np.log10(2000), 60)]
    assert found == tuple(sorted({0, 20, 2000, *spaced}))
    assert signal_noise.record_steps(100, 60, 2000)[-1] == 100
