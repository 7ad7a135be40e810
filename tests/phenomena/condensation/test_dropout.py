"""Dropout beside its twin: masks, penalty, claims in a real run."""

import itertools

import numpy as np
import pytest
import torch

from dyntoolkit.phenomena.condensation import dropout
from dyntoolkit.phenomena.condensation.dropout import EXPERIMENT, Config, X, Y

SHORT = Config(steps=500, width=20)


def test_the_penalty_is_what_dropout_adds_to_the_loss_in_the_mean():
    theta = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(2))
    parts = torch.relu(theta[0, 0] * X[:, None] + theta[0, 1]) * theta[0, 2]  # (n, m)
    kept = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))  # all masks
    chance = torch.prod(torch.where(kept > 0, 0.9, 0.1), 1)
    losses = ((parts[None] * kept[:, None] / 0.9).sum(2) - Y).square().mean(1)
    plain = (parts.sum(1) - Y).square().mean()
    assert float(dropout.penalty(theta, "relu")[0]) == pytest.approx(float(chance @ losses - plain), rel=1e-4)


def test_without_silent_neurons_the_twins_are_equal_and_with_them_they_part():
    same, apart = EXPERIMENT.run(SHORT.replace(keep_prob=1.0)), EXPERIMENT.run(SHORT)
    assert (same["loss"][:, 0, 0] == same["loss"][:, 0, 1]).all()
    assert (apart["loss"][0, 0, 0], apart["loss"][1:, 0, 0].tolist()) != (0, apart["loss"][1:, 0, 1].tolist())
    np.testing.assert_array_equal(same["loss"][:, :, 1], apart["loss"][:, :, 1])  # the twin knows nothing of dropout


@pytest.mark.claims
def test_the_claims_hold_in_a_default_run_and_their_controls_do_not():
    history = EXPERIMENT.run(seeds=(771,))
    metrics = EXPERIMENT.metrics(history)
    for claim in EXPERIMENT.claims:
        assert claim.where(history.config)
        assert claim.bound.holds(metrics[claim.metric])[0]
        assert not claim.bound.holds(metrics[claim.controls[0].metric])[0]
    neurons, *curves = EXPERIMENT.panels(history)
    assert [len(mark.x) for mark in neurons.marks] == [100, 100]
    assert all(len(panel.marks[0].x) == len(history.at("loss")) - 1 for panel in curves)
