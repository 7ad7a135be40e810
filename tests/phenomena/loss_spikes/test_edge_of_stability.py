"""Gradient descent at the edge of stability."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from dyntoolkit.phenomena import _sines as sines
from dyntoolkit.phenomena.loss_spikes._trace import trace
from dyntoolkit.phenomena.loss_spikes.edge_of_stability import EXPERIMENT, Config

SHORT = Config(steps=1000, width=5, n_train=20)


def test_it_is_gradient_descent_and_measures_the_sharpness_of_every_20th_step():
    history = EXPERIMENT.run(SHORT, (3,))
    data, theta = sines.draw_data([SHORT], [3]), sines.initial_theta([SHORT], [3])
    losses, sharp = trace(history, "loss")[:, 0], trace(history, "sharpness")[:, 0]
    for i in range(121):
        value, gradient = sines.loss_and_gradient(theta, data)
        assert losses[i] == pytest.approx(float(value), rel=1e-9)
        if i % 20 == 0:
            assert sharp[i] == pytest.approx(float(torch.linalg.eigvalsh(sines.hessian(theta, data))[0, -1]), rel=1e-9)
        else:
            assert np.isnan(sharp[i])
        theta = theta - SHORT.lr * gradient


def test_metrics_look_at_the_end():
    history = EXPERIMENT.run(Config(steps=3000, width=5, n_train=20, lr=0.05), (1,))
    metrics, sharp = EXPERIMENT.metrics(history), trace(history, "sharpness")[:, 0] * 0.025
    assert metrics["limit_start"][0] == pytest.approx(sharp[0])
    assert metrics["limit_end"][0] == pytest.approx(np.nanmean(sharp[1000:]))
    assert metrics["limit_max"][0] == pytest.approx(np.nanmax(sharp))
    losses = trace(history, "loss")[1000:, 0]
    assert metrics["rising"][0] == pytest.approx(np.mean([b > a for a, b in pairwise(losses)]))


def test_a_diverged_run_keeps_its_history_and_the_others_go_on():
    configs = [Config(steps=1000, width=60, lr=lr) for lr in (0.15, 0.02)]
    history, frames = EXPERIMENT.start(configs, [0, 0])
    for frame in frames:
        history.append(frame)
    assert history.diverged[0] > 0
    assert history.diverged[1] == -1
    assert history.done
    assert np.isfinite(trace(history, "loss")[:20, 0]).all()  # until the square of the error overflows
    assert np.isfinite(trace(history, "loss")[:, 1]).all()
    assert [len(panel.marks) for panel in EXPERIMENT.panels(history)] == [2, 1]
