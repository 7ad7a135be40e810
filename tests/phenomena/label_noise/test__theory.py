import numpy as np
import pytest
import torch

from dyntoolkit.engine.two_layer_linear import gradients
from dyntoolkit.phenomena.label_noise import _theory
from dyntoolkit.phenomena.label_noise._theory import clean_descent, noise_is_on, sam_factor
from dyntoolkit.phenomena.label_noise.linear import Config, draw_data, initial_state, make_flow

SMALL = Config(width=16, dim=3, n_train=40, init_scale=0.8, target_norm=2)


def start(*configs):
    """W (R, m, d), S (R, d, d) and beta (R, d) as `simulate` makes them, run r from seed r."""
    seeds = range(len(configs))
    data, W = draw_data(configs, seeds), initial_state(configs, seeds).W.double().numpy()
    X = data.X.double().numpy()
    return W, X.mT @ X / configs[0].n_train, data.beta.double().numpy()


def test_the_noise_is_on_in_even_periods():
    assert noise_is_on(np.arange(7), 2).tolist() == [True, True, False, False, True, True, False]
    assert noise_is_on(np.arange(3), 0).all()


def test_sam_factor_solves_its_equation():
    stretch, d = np.array([0.01, 0.05]), 10
    c, h = np.sqrt(2 / np.pi), stretch * (d + 2)
    u = np.sqrt(sam_factor(stretch, d) - 1 + c**2) - c  # of F = 1 + 2cu + u^2
    assert (u > 0).all()
    np.testing.assert_allclose((1 - h) * u**2 + c * (1 - 2 * h) * u - h, 0, atol=1e-12)
    assert sam_factor(np.array([0.0]), d) == 1


def test_clean_descent_is_gradient_descent_on_the_data():
    configs = [SMALL.replace(whiten=False)]
    W, S, beta = start(*configs)
    end_W, end_a, t_fit = clean_descent(W, S, beta, np.array([0.2]))
    data = draw_data(configs, [0])
    X, y = data.X.double(), (data.X @ data.beta[:, :, None])[:, :, 0].double()
    W, a = torch.from_numpy(W), torch.zeros(1, SMALL.width, dtype=torch.float64)
    loss = []
    for _ in range(2000):
        u = (a[:, None] @ W)[:, 0]
        loss.append(float((SMALL.scale * (X @ u[:, :, None])[:, :, 0] - y).square().mean() / 2))
        dW, da = gradients(X, y, W, a, SMALL.scale)
        W, a = W - 0.2 * dW, a - 0.2 * da
    np.testing.assert_allclose(end_W, W, atol=1e-6)
    np.testing.assert_allclose(end_a, a, atol=1e-6)
    assert t_fit[0] == np.flatnonzero(np.array(loss) < 1e-3 * loss[0])[0]


@pytest.mark.parametrize(
    "config", [SMALL.replace(whiten=False), SMALL.replace(noise_std=0, sam_rho=0.5, batch_size=1, lr=0.05)]
)
def test_the_flow_is_that_of_the_weights_themselves(config):
    """dW = k (-W S + a lam^T), da = k (-tr(S) a + W lam) keeps W^T a = b; here in steps of a tenth of an update."""
    W, S, beta = start(config)
    found = make_flow([config], W, S, beta)
    assert np.isnan(found.at(0)).all()
    shown = [np.array(found.at(step))[:, 0] for step in (300, 1000)]
    (W,), (a,), _ = clean_descent(W, S, beta, np.array([config.lr]))
    S, beta, s2, d, B = S[0], beta[0], config.scale**2, config.dim, config.batch
    b, tr = beta / config.scale, np.trace(S)
    for step in range(1, 10_001):
        G, A = W.T @ W, a @ a
        gain = s2 * (np.trace(G) + d * A) / d
        k = config.lr**2 * config.noise_std**2 * s2 / (2 * B) / max(0.05, 1 - config.lr / 2 * gain * (1 + (d + 1) / B))
        k += config.lr * config.sam_rho**2 * s2 * float(sam_factor(np.array(config.lr / 2 * gain), d))
        lam = np.linalg.solve(G + A * np.eye(d), tr * b + S @ b)
        W, a = W + 0.1 * k * (-W @ S + np.outer(a, lam)), a + 0.1 * k * (-tr * a + W @ lam)
        if step in (3000, 10_000):
            W2, along = (W**2).sum(), (W @ beta) @ (W @ beta) / (beta @ beta)
            np.testing.assert_allclose(shown.pop(0), [W2, along / W2], rtol=0.01)
    np.testing.assert_allclose(W.T @ a, b, rtol=0.01)


def test_the_flow_comes_to_rest_aligned_at_the_end_norm():
    config = SMALL.replace(noise_std=4)
    W2, align = make_flow([config], *start(config)).at(20_000)
    assert W2[0] == pytest.approx(config.end_norm, rel=1e-3)
    assert align[0] == pytest.approx(1, abs=1e-3)


def test_the_flow_stands_still_while_the_noise_is_off():
    config = SMALL.replace(noise_period=500)
    found = make_flow([config], *start(config))
    (W2, _), (same, _), (less, _) = found.at(500), found.at(1000), found.at(1500)
    assert same == W2
    assert less < 0.95 * same


def test_a_run_alone_has_the_flow_it_has_among_others():
    configs = [SMALL, SMALL.replace(noise_std=4), SMALL.replace(kick_std=0.1), SMALL.replace(lr=0.05)]
    W, S, beta = start(*configs)
    together = make_flow(configs, W, S, beta)
    both = np.array([together.at(300), together.at(900)])  # (2, 2, R)
    assert np.isnan(both[:, :, 2]).all()  # kicks
    for r in (0, 1, 3):
        alone = make_flow(configs[r : r + 1], W[r : r + 1], S[r : r + 1], beta[r : r + 1])
        np.testing.assert_allclose(both[:, :, [r]], np.array([alone.at(300), alone.at(900)]), rtol=1e-9)


@pytest.mark.parametrize(
    "changes",
    [{"noise_std": 0}, {"kick_std": 0.1}, {"fixed_noise": True}, {"sam_rho": 0.5}, {"init_scale": 0.05, "lr": 0.01}],
    ids=["no noise", "kick", "fixed noise", "SAM on several samples", "does not fit in time"],
)
def test_where_no_flow_is_drawn(changes):
    config = SMALL.replace(**changes)
    assert np.isnan(make_flow([config], *start(config)).at(500)).all()


def test_nothing_is_drawn_before_the_data_are_fitted():
    config = SMALL.replace(lr=0.01)
    found = make_flow([config], *start(config))
    assert np.isnan(found.at(5)).all()
    assert 5 < found.t_fit[0] < 3000
    assert np.isfinite(found.at(3000)).all()


def test_a_flow_that_costs_too_much_ends(monkeypatch):
    monkeypatch.setattr(_theory, "BUDGET", 20)
    found = make_flow([SMALL], *start(SMALL))
    assert np.isfinite(found.at(100)).all()
    assert np.isnan(found.at(20_000)).all()


def test_an_unstable_descent_is_not_drawn():
    config = SMALL.replace(whiten=False)
    W, S, beta = start(config)
    assert np.isnan(make_flow([config], 100 * W, S, beta).at(500)).all()
