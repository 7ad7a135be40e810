import numpy as np
import pytest
import torch

from dyntoolkit.engine.history import Frame
from dyntoolkit.phenomena.condensation import phase
from dyntoolkit.phenomena.condensation._two_layer import State, loss, make_step, ntk_step
from dyntoolkit.phenomena.condensation.phase import (
    CLAIMS,
    EXPERIMENT,
    PRESETS,
    Config,
    X,
    Y,
    boundary,
    initial_theta,
    predicted_slope,
    simulate_first,
    slopes,
)

SMALL = Config(n_gammas=3, width_min=20, width_factor=2.5, n_widths=2, steps=600)


def test_sizes_and_gammas():
    assert Config().widths == [50, 200, 800]
    assert SMALL.widths == [20, 50]
    np.testing.assert_allclose(Config().gammas, [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2])
    assert Config(n_gammas=1, gamma_min=1.5).gammas.tolist() == [1.5]


def test_only_large_networks_are_warned_of():
    assert not any(Config().replace(**preset.changes).warnings() for preset in PRESETS.values())
    assert "minutes" in Config(width_min=400, n_widths=4, width_factor=8).warnings()[0]


def test_initial_weights_have_the_std_of_their_gamma_and_gamma_prime_and_new_draws_at_each_width():
    config = Config(gamma_min=0.5, gamma_max=2.0, n_gammas=2, gamma_prime=0.5)
    theta = initial_theta([config, config], [1, 2], 5000).view(2, 2, 3, 5000)
    for g, gamma in enumerate((0.5, 2.0)):
        for row, exponent in enumerate((gamma - 0.5, gamma - 0.5, gamma + 0.5)):
            np.testing.assert_allclose(theta[:, g, row].std(1), 5000 ** (-exponent / 2), rtol=0.05)
    assert not torch.allclose(theta[0], theta[1])
    other = initial_theta([config], [1], 4000).view(1, 2, 3, 4000) * (4000 / 5000) ** 0.25
    assert not torch.allclose(other[0, 0, 0, :9], theta[0, 0, 0, :9], rtol=0.01)


def test_slopes_of_a_power_law():
    widths = [10, 40, 160, 640]
    distance = 3 * np.array(widths) ** np.array([[-0.4], [0.7]])
    np.testing.assert_allclose(slopes(distance, widths), [-0.4, 0.7])
    assert np.isnan(slopes(np.array([0.1, np.nan]), [5, 50]))


def test_theory():
    np.testing.assert_allclose(predicted_slope(Config().gammas), [-0.5, -0.25, 0, 0.125, 0.25, 0.375, 0.5])
    np.testing.assert_allclose(boundary(np.array([-0.5, 0, 0.5])), [1, 1, 1.5])


def naive(gamma, m, seed, config):
    """Loss, distance and step of settling of one network, trained by itself."""
    alone = config.replace(gamma_min=gamma, n_gammas=1)
    start = initial_theta([alone], [seed], m)
    step, state = make_step(X, Y, ntk_step(start, X, 1.0, config.lr_damping), "relu"), State(start)
    for k in range(1, config.steps + 1):
        state = step(state, None)
        if k % 50 == 0 and loss(state.theta, X, Y, "relu") < config.tol:
            break
    change = state.theta[0, :2] - start[0, :2]
    settled = k if loss(state.theta, X, Y, "relu") < config.tol else -1
    return loss(state.theta, X, Y, "relu").item(), (change.norm() / start[0, :2].norm()).item(), settled


def test_each_network_of_a_run_is_trained_as_if_alone_and_stops_by_itself():
    config = SMALL.replace(tol=1e-3)
    configs, seeds = [config, config.replace(gamma_min=1.0, gamma_prime=0.2, tol=1e-2)], [4, 5]
    history, frames = EXPERIMENT.start(configs, seeds)
    for frame in frames:
        history.append(frame)
    for r, (c, seed) in enumerate(zip(configs, seeds, strict=True)):
        for g, gamma in enumerate(c.gammas):
            for i, m in enumerate(c.widths):
                error, moved, settled = naive(gamma, m, seed, c)
                assert history.last("settled_at")[r, g, i] == settled
                assert history.last("loss")[r, g, i] == pytest.approx(error, rel=1e-3)
                assert history.last("distance")[r, g, i] == pytest.approx(moved, rel=1e-3)
    assert len(np.unique(history.last("settled_at"))) > 4


def test_a_network_that_diverges_is_nan_and_the_run_is_marked_only_when_all_did(monkeypatch):
    monkeypatch.setattr(phase, "ntk_step", lambda theta, *_: torch.where(theta[:, 0, 0] > 0, torch.nan, 0.01))
    history = EXPERIMENT.run(SMALL, range(6))
    assert np.isnan(history.last("loss")).any()
    assert (history.diverged < 0).any()
    monkeypatch.setattr(phase, "ntk_step", lambda theta, *_: torch.full((len(theta),), torch.nan))
    history = EXPERIMENT.run(SMALL, [0, 1])
    assert (history.diverged > 0).all()
    EXPERIMENT.metrics(history)
    EXPERIMENT.panels(history)


def test_the_map_trains_the_first_gamma_only():
    *_, last = (frame for frame in simulate_first([SMALL, SMALL], [0, 1]) if frame.values)
    whole = EXPERIMENT.run(SMALL, [0, 1])
    np.testing.assert_allclose(last.values["distance"][:, 0], whole.last("distance")[:, 0], rtol=1e-3)
    history, _ = EXPERIMENT.start([SMALL, SMALL], [0, 1])
    history.append(last)
    np.testing.assert_allclose(EXPERIMENT.map.value(history), EXPERIMENT.metrics(whole)["slope_1"], rtol=1e-2)


def test_metrics_name_the_slopes_of_each_side():
    history, _ = EXPERIMENT.start([Config()], [0])
    S = predicted_slope(Config().gammas)
    distance = np.array(Config().widths) ** S[:, None]
    values = {"distance": distance, "loss": np.full((7, 3), 1e-5), "settled_at": np.where(distance > 1, -1, 50)}
    history.append(Frame(4000, 4000, {name: value[None] for name, value in values.items()}, np.array([-1])))
    found = EXPERIMENT.metrics(history)
    assert found["slope_linear"][0] == pytest.approx(-0.25)
    assert found["slope_condensed"][0] == pytest.approx(0.125)
    assert found["fitted"][0] == pytest.approx(9 / 21)
    (claim, _) = CLAIMS
    assert claim.sweep.value([found])[0] == pytest.approx(0, abs=1e-12)
    off = found | {"slope_3": np.array([0.2, 0.0])}
    assert claim.sweep.value([off])[0] == pytest.approx(0.1)


def test_the_margin_is_that_of_the_worst_of_three():
    margin = CLAIMS[1].sweep.value
    rows = [{"slope_1": np.array([0.1, 0.2])}, {"slope_1": np.array([-0.06, -0.02])}, {"slope_1": np.array([-0.3])}]
    assert margin(rows)[0] == pytest.approx(0.06)
    assert margin(rows[::-1])[0] == pytest.approx(-0.3)


def test_panels_show_what_is_known():
    history = EXPERIMENT.run(SMALL, [0, 1])
    assert np.isfinite(EXPERIMENT.panels(history)[0].marks[0].y).all()
