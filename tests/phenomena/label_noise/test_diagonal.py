"""The diagonal model: training against autograd, measurements against their formulas."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.batches import unbind
from dyntoolkit.phenomena.label_noise import diagonal
from dyntoolkit.phenomena.label_noise.diagonal import EXPERIMENT, Config, State

SMALL = Config(n_train=20, dim=40, n_nonzero=3, batch_size=3, steps=1000)


def pieces(configs, seeds, steps):
    data = diagonal.draw_data(configs[0], seeds)
    return data, list(unbind(diagonal.make_batches(configs, seeds, data)(0, steps), steps))


def clean(data, x):
    """Labels without noise of inputs x (R, B, d), (R, B)."""
    return (x @ data.beta[:, :, None])[:, :, 0]


def test_the_truth_is_one_in_a_few_random_coordinates():
    data = diagonal.draw_data(Config(), range(30))
    assert (data.beta.sum(1) == 5).all()
    assert set(data.beta.flatten().tolist()) == {0, 1}
    assert len({tuple(row.nonzero().flatten().tolist()) for row in data.beta}) == 30
    assert data.X.shape == (30, 40, 100)
    assert data.X.std() == pytest.approx(1, abs=0.02)


def test_batches_are_drawn_with_replacement_and_carry_fresh_signs():
    data, batches = pieces([SMALL.replace(noise_std=1.5)], [4], 100)
    rows = [[int((data.X[0] == x).all(1).nonzero()) for x in batch.x[0]] for batch in batches]
    assert any(len(set(drawn)) < 3 for drawn in rows)
    assert {row for drawn in rows for row in drawn} == set(range(20))
    noise = torch.cat([batch.target - clean(data, batch.x) for batch in batches], dim=1)
    torch.testing.assert_close(noise.abs(), torch.full((1, 300), 1.5))
    assert 100 < int((noise > 0).sum()) < 200


def test_a_run_and_its_control_share_data_and_batches():
    data, noisy = pieces([SMALL, SMALL.replace(noise_std=0)], [4, 4], 20)
    torch.testing.assert_close(data.X[0], data.X[1])
    for batch in noisy:
        torch.testing.assert_close(batch.x[0], batch.x[1])
        torch.testing.assert_close(batch.target[1], clean(data, batch.x)[1])


def test_steps_are_those_of_torch_sgd():
    configs = [SMALL.replace(lr=0.004), SMALL.replace(noise_std=1.0, lr=0.01)]
    _, batches = pieces(configs, [1, 2], 30)
    weights = torch.tensor([[0.3], [0.2]]).expand(2, 40)
    state, lr = State(weights, weights), torch.tensor([[0.004], [0.01]])
    for batch in batches:
        state = diagonal.step(state, batch, lr)
    for r in range(2):
        u, v = (torch.nn.Parameter(weights[r].clone()) for _ in range(2))
        optimizer = torch.optim.SGD([u, v], lr=float(lr[r]))
        for batch in batches:
            optimizer.zero_grad()
            ((batch.x[r] @ (u * u - v * v) - batch.target[r]) ** 2).mean().div(2).backward()
            optimizer.step()
        torch.testing.assert_close(state.u[r], u.detach(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(state.v[r], v.detach(), rtol=1e-4, atol=1e-6)


def test_measurements_are_those_of_the_recipe():
    data = diagonal.draw_data(SMALL, [1, 2])
    draw = torch.Generator().manual_seed(0)
    state = State(torch.randn(2, 40, generator=draw), torch.randn(2, 40, generator=draw))
    start = torch.full((2, 40), 0.18)
    found = diagonal.measure(state, data, start)
    for r in range(2):
        u, v, X, truth = (t[r].double().numpy() for t in (*state, *data))
        beta = u**2 - v**2
        K, K0 = X @ np.diag(u**2 + v**2) @ X.T, X @ np.diag(np.full(40, 0.18)) @ X.T
        expected = {
            "test": ((beta - truth) ** 2).sum() / 2,
            "train": np.mean((X @ beta - X @ truth) ** 2) / 2,
            "l1": np.abs(beta).sum(),
            "size": (u**2).sum() + (v**2).sum(),
            "ntk": np.linalg.norm(K - K0) / np.linalg.norm(K0),
            "cos": beta @ truth / np.linalg.norm(beta) / np.linalg.norm(truth),
        }
        for name, value in expected.items():
            assert found[name][r] == pytest.approx(value, rel=1e-6), name
        np.testing.assert_allclose(found["beta"][r], beta)


def test_the_first_frame_is_the_start_and_the_end_is_the_mean_of_three():
    history = EXPERIMENT.run(SMALL, [3])
    assert history["size"][0, 0] == pytest.approx(SMALL.start_size)
    assert history["l1"][0, 0] == 0
    assert history["ntk"][0, 0] == pytest.approx(0, abs=1e-6)
    assert history["test"][0, 0] == pytest.approx(1.5)
    assert history.at("test").tolist() == [k * 1000 // 30 for k in range(31)]
    found = EXPERIMENT.metrics(history)
    assert found["test_end"][0] == pytest.approx(history["test"][[28, 29, 30], 0].mean())
    assert EXPERIMENT.map.value(history) == pytest.approx(found["test_end"])
    assert found["sparsity"][0] == pytest.approx(found["l1_end"][0] / 3)
    assert found["w_ratio"][0] == pytest.approx(history["size"][-3:, 0].mean() / (2 * 40 * 0.09))


def test_a_run_alone_equals_the_same_run_among_others():
    configs = [SMALL, SMALL.replace(init_scale=0.1, lr=0.002, noise_std=0.5), SMALL.replace(noise_std=0)]
    together = run_together(EXPERIMENT, configs, [1, 2, 3])
    for r in range(3):
        alone = EXPERIMENT.run(configs[r], [r + 1])
        for name in alone.names():
            np.testing.assert_allclose(together.last(name)[r], alone.last(name)[0], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.claims
def test_claims_hold_with_noise_and_not_without():
    seeds, default = range(110, 115), EXPERIMENT.configure()
    noisy, quiet = (EXPERIMENT.metrics(EXPERIMENT.run(c, seeds)) for c in (default, default.replace(noise_std=0)))
    for claim in EXPERIMENT.claims:
        assert claim.where(default)
        assert claim.bound.holds(noisy[claim.metric]).all(), (claim.id, noisy[claim.metric])
        assert not claim.bound.holds(quiet[claim.metric]).any(), (claim.id, quiet[claim.metric])
    # at given beta the sum of u^2 + v^2 is least, |beta|_1, where u v = 0
    np.testing.assert_allclose(noisy["w_ratio"] * default.start_size, noisy["l1_end"], rtol=0.05)


def test_where_claims_are_expected():
    expected = {claim.id: claim.where for claim in EXPERIMENT.claims}
    for changes in ({"noise_std": 1.4}, {"steps": 14000}, {"n_nonzero": 6}, {"n_train": 39}, {"init_scale": 0.7}):
        assert not any(e(Config(**changes)) for e in expected.values()), changes
    assert [name for name, e in expected.items() if e(Config(init_scale=0.25))] == ["generalizes", "sparse"]


def test_unstable_settings_are_warned_of():
    assert not any(EXPERIMENT.configure(name).warnings() for name in EXPERIMENT.presets)
    assert "unstable" in Config(init_scale=0.7).warnings()[0]
    shrunk = EXPERIMENT.metrics(EXPERIMENT.run(Config(init_scale=0.8, noise_std=0, steps=3000), range(3)))["w_ratio"]
    assert (shrunk < 0.8).all()  # without any noise


def test_the_figure_shows_the_measured():
    history = EXPERIMENT.run(SMALL, [0, 1])
    losses, coefficients, sums, _ = EXPERIMENT.panels(history)
    for mark, name in ((losses.marks[0], "train"), (losses.marks[1], "test"), (sums.marks[0], "size")):
        np.testing.assert_allclose(mark.y, np.median(history[name], axis=1))
        np.testing.assert_array_equal(mark.high, history[name].max(1))
    beta, truth = history.last("beta")[0], history["truth"][0, 0]
    model = coefficients.marks[0].y
    np.testing.assert_allclose(model[:3], np.sort(beta[truth == 1])[::-1])
    np.testing.assert_allclose(model[3:], np.sort(beta[truth == 0])[::-1])
    assert sums.marks[2].y == 3
