"""The theory's lines, the step of gd, metrics and claims of a real run."""

import numpy as np
import pytest
import torch

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.phenomena.condensation import directions
from dyntoolkit.phenomena.condensation.directions import ANGLES, EXPERIMENT, Config, lines, q_curve


def cubic():
    data = directions.draw_data(Config(), [0])
    return data.x[0, :, 0].numpy(), data.y[0].numpy()


@pytest.mark.parametrize(("p", "expected"), [(1, [0]), (2, [45, 135]), (3, [0, 70, 110])])
def test_the_lines_are_those_of_the_recipe(p, expected):
    assert lines(*cubic(), p) == pytest.approx(expected, abs=1.5)


def test_q_is_the_mean_of_labels_times_powers():
    x, y = cubic()
    j = 100
    by_hand = np.mean([y[i] * (np.cos(ANGLES[j]) * x[i] + np.sin(ANGLES[j])) ** 2 for i in range(40)])
    assert q_curve(x, y, 2)[j] == pytest.approx(by_hand)


def test_the_loss_is_that_of_the_written_network():
    data = directions.draw_data(Config(data="sine_5d"), [7])
    theta = torch.randn(1, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    total = 0.0
    for x, y in zip(data.x[0], data.y[0], strict=True):
        f = sum(float(theta[0, 6, k] * torch.tanh(theta[0, :6, k] @ x)) for k in range(3))
        total += (f - float(y)) ** 2 / 80
    assert float(directions.loss(theta, data, ACTIVATIONS["tanh"])[0]) == pytest.approx(total)
    assert data.x[..., :5].min() >= -4
    assert data.x[..., :5].max() < 2
    assert (data.x[..., 5] == 1).all()


def test_gradient_descent_multiplies_small_weights_by_e_to_the_lr_per_step():
    config = EXPERIMENT.configure("five_d", steps=100, init_scale=1e-8)
    history = EXPERIMENT.run(config)
    v = directions.mean_direction(directions.draw_data(config, [0]))[0].numpy()
    part = [
        np.abs(w[0].T @ v).max() for w in history["w"]
    ]  # along v it grows, against the other weights' sign it falls
    assert np.log(part[-1] / part[-2]) / 10 == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("preset", ["2p_tanh", "2p_xtanh", "2p_x2tanh", "five_d"])
def test_the_claims_hold_in_a_run_and_not_in_its_control(preset):
    config = EXPERIMENT.configure(preset)
    expected = [claim for claim in EXPERIMENT.claims if claim.where(config)]
    assert expected
    metrics = EXPERIMENT.metrics(EXPERIMENT.run(config, (771,)))
    for claim in expected:
        (control,) = claim.controls
        other = EXPERIMENT.metrics(EXPERIMENT.run(config.replace(**control.changes), (771,)))
        value = claim.value or (lambda found, _, name=claim.metric: found[name])
        assert claim.bound.holds(value(metrics, config))[0], claim.id
        assert not claim.bound.holds(value(other, config))[0], claim.id
