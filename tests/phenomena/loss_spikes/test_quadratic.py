"""Adam on a parabola: against a loop of plain numbers, and the theory against its own sentences."""

import numpy as np
import pytest

from dyntoolkit.phenomena.loss_spikes.quadratic import (
    EXPERIMENT,
    Config,
    Run,
    critical_eps,
    decoupling,
    envelope,
    observed_crossing,
    peaks,
    predicted_crossing,
    run,
)


def plain(c, steps):
    """theta, v and curvature before each update, by the formulas of the recipe."""
    theta, m, v, rows = c.theta0, 0.0, 0.0, []
    for n in range(1, steps + 1):
        g = c.curvature * theta
        m, v = c.beta1 * m + (1 - c.beta1) * g, c.beta2 * v + (1 - c.beta2) * g * g
        corrected = v / (1 - c.beta2**n)
        mu = (1 - c.beta1) / ((1 + c.beta1) * (1 - c.beta1**n))
        rows.append((theta, corrected, mu * c.curvature / (corrected**0.5 + c.eps)))
        theta -= c.lr * m / (1 - c.beta1**n) / (corrected**0.5 + c.eps)
    return np.array(rows).T


def test_it_is_adam_in_plain_numbers():
    config = Config(steps=200, curvature=2.0, eps=1e-3, theta0=0.7)
    seen = run(EXPERIMENT.run(config), 0)
    theta, v, curvature = plain(config, 100)
    np.testing.assert_allclose(seen.theta[:100], theta, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(seen.v[:100], v, rtol=1e-8)
    np.testing.assert_allclose(seen.curvature[:100], curvature, rtol=1e-8)
    np.testing.assert_allclose(seen.loss, seen.theta**2)
    assert len(seen.loss) == 200


def test_the_seed_has_no_effect():
    history = EXPERIMENT.run(Config(steps=300), (0, 9))
    np.testing.assert_array_equal(run(history, 0).theta, run(history, 1).theta)


def test_the_envelope_bridges_pits_and_peaks_need_a_decade():
    loss = 10.0 ** np.array([0, 0, -9, 0, 0, -1, -2, -3, -3, -3, -3, -3, 1, -3, -3, -3, -3, -3, -3, -3])
    assert envelope(loss)[:9].tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert len(peaks(loss)) == 1
    assert peaks(loss)[0] in range(12, 17)
    assert len(peaks(np.where(loss == 10.0, 10**-2.2, loss))) == 0


def test_decoupling_and_crossing_are_the_first_steps_of_their_kind():
    g2, v = np.ones(100), np.ones(100)
    g2[40:70] = 1e-4
    curvature = np.concatenate([np.full(10, 9.0), np.full(60, 1.0), np.full(30, 9.0)])
    seen = Run(g2, g2, v, curvature, g2)
    assert decoupling(seen) == 40
    assert decoupling(seen, 1e-5) == -1
    assert observed_crossing(seen, Config(lr=0.3)) == 70


def test_the_prediction_is_when_the_forgetting_root_reaches_its_critical_value():
    config = Config(lr=0.1, beta2=0.99)
    v = 1e-2 * 0.99 ** np.arange(3000)
    seen = Run(np.zeros(3000), np.full(3000, 1e-30), v, v, v)
    t = predicted_crossing(seen, config)
    raw = v[0] * (1 - 0.99)
    assert np.sqrt(raw * 0.99**t) == pytest.approx(config.critical_root, rel=1e-9)
    assert np.isnan(predicted_crossing(seen, config.replace(eps=0.1)))


def test_claims_of_the_default_run_and_the_control_of_the_first():
    metrics = EXPERIMENT.metrics(EXPERIMENT.run(EXPERIMENT.configure(theta0=1.37)))
    assert abs(metrics["crossing_error"][0]) <= 3
    assert metrics["spikes"][0] >= 15
    assert np.isnan(metrics["growth_error"][0])
    alone = EXPERIMENT.metrics(EXPERIMENT.run(EXPERIMENT.configure("beta1_0")))
    assert not abs(alone["crossing_error"][0]) <= 3


def test_the_closed_form_holds_without_momentum():
    metrics = EXPERIMENT.metrics(EXPERIMENT.run(Config(beta1=0.0, beta2=0.99, lr=0.05, theta0=1.2)))
    assert metrics["growth_error"][0] < 0.05


def test_a_closed_form_beyond_all_floats_leaves_a_gap():
    wild = Config(lr=0.3, beta1=0.0, beta2=0.5, eps=0.0625, steps=200, curvature=0.1, theta0=0.5)
    line = EXPERIMENT.panels(EXPERIMENT.run(wild))[-1].marks[1]
    assert len(line.y) > 1
    assert np.isnan(line.y).any()
    assert np.nanmax(line.y) < np.finfo(np.float32).max


def test_at_the_critical_eps_the_curvature_of_a_vanished_v_is_at_its_limit():
    lr, h, beta1 = 0.05, 2.0, 0.8
    mu = (1 - beta1) / (1 + beta1)  # of the momentum, after many steps
    assert mu * h / critical_eps(lr, h, beta1) == pytest.approx(2 / lr)


def test_claims_are_expected_for_any_start_and_an_eps_that_is_next_to_nothing():
    (counted,) = (claim for claim in EXPERIMENT.claims if claim.id == "spike_count")
    assert counted.where(Config(theta0=2.0, eps=1e-8))
    assert not counted.where(Config(eps=1.05e-8))
    assert not counted.where(Config(steps=3001))
