"""Splittings keep the function, isometric ones the lengths; claims and controls; Adam."""

import numpy as np
import pytest
import torch

from dyntoolkit.phenomena.condensation import isometric
from dyntoolkit.phenomena.condensation.isometric import EXPERIMENT, Config

SHORT = Config(steps=50, width=3, n_train=10)


@pytest.mark.parametrize("splitting", ["isometric", "plain"])
@pytest.mark.parametrize("copies", [2, 3])
def test_a_splitting_keeps_the_function_and_the_isometric_one_the_length(splitting, copies):
    data = isometric.draw_data(SHORT, [1])
    theta = torch.randn(1, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wide = isometric.split(theta, splitting, copies)
    assert wide.shape == (1, 3 * copies, 6)
    torch.testing.assert_close(isometric.loss(wide, data, "relu"), isometric.loss(theta, data, "relu"))
    assert (float(wide.norm()) == pytest.approx(float(theta.norm()))) == (splitting == "isometric")


@pytest.mark.claims
def test_the_claim_holds_in_a_run_and_its_controls_are_apart():
    (claim,) = EXPERIMENT.claims
    for changes in ({}, {"copies": 3}, {"activation": "leaky"}):
        config = Config(**changes)
        assert claim.where(config)
        assert claim.bound.holds(EXPERIMENT.metrics(EXPERIMENT.run(config, (771,)))["commute_error"])[0]
    for control in claim.controls:
        error = EXPERIMENT.metrics(EXPERIMENT.run(Config(**control.changes), (771,)))["commute_error"]
        assert control.bound.holds(error)[0]


def test_adam_is_torchs():
    config = SHORT.replace(optimizer="adam", lr=0.01)
    history = EXPERIMENT.run(config, (5,))
    data = isometric.draw_data(config, [5])
    draw = isometric.Stream([5], "init").normal(3, 6, dtype=torch.float64)
    weights = (config.init_scale * draw).requires_grad_()
    rule = torch.optim.Adam([weights], lr=0.01)
    for _ in range(50):
        rule.zero_grad()
        isometric.loss(weights, data, "relu").sum().backward()
        rule.step()
    expected = isometric.loss(weights.detach(), data, "relu")
    np.testing.assert_allclose(history.last("loss"), expected.numpy(), rtol=1e-9)
