import numpy as np
import pytest
import torch
from any_settings import any_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from dyntoolkit.engine.two_layer_linear import forward
from dyntoolkit.errors import InputError
from dyntoolkit.phenomena.label_noise import linear
from dyntoolkit.phenomena.label_noise.linear import (
    EXPERIMENT,
    Batch,
    State,
    draw_data,
    initial_state,
    make_batches,
    make_step,
)
from dyntoolkit.phenomena.label_noise.linear_config import Config

SMALL = Config(width=16, dim=4, n_train=40, batch_size=5, steps=500)


def pieces(configs, seeds, steps):
    """Data, initial state, step function and the first batches of runs."""
    data = draw_data(configs, seeds)
    return data, initial_state(configs, seeds), make_step(configs), list(make_batches(configs, seeds, data)(0, steps))


def labels(data):
    return (data.X @ data.beta[:, :, None])[:, :, 0]  # (R, n)


def test_data_are_white_where_asked_for_and_the_truth_has_its_length():
    white, raw = (draw_data([SMALL.replace(whiten=w, target_norm=2.5)], [3]) for w in (True, False))
    identity = torch.eye(4)
    torch.testing.assert_close(white.X[0].T @ white.X[0] / 40, identity, atol=1e-5, rtol=0)
    assert (raw.X[0].T @ raw.X[0] / 40 - identity).abs().max() > 0.05
    assert white.beta.norm() == pytest.approx(2.5)
    torch.testing.assert_close(white.beta, raw.beta)


def test_a_run_and_its_control_share_data_weights_batches_and_signs():
    configs = [SMALL, SMALL.replace(noise_std=1.0, init_scale=0.6, lr=0.1)]
    data, state, _, batches = pieces(configs, [7, 7], 20)
    torch.testing.assert_close(data.X[0], data.X[1])
    torch.testing.assert_close(state.W[0], 2 * state.W[1])
    for batch in batches:
        torch.testing.assert_close(batch.x[0], batch.x[1])
        clean = (batch.x @ data.beta[:, :, None])[:, :, 0]
        noise = batch.target - clean
        torch.testing.assert_close(noise[0], 2 * noise[1], atol=1e-5, rtol=0)
        torch.testing.assert_close(noise[1].abs(), torch.ones(5), atol=1e-5, rtol=0)


def test_noise_free_controls_see_the_same_batches():
    noisy, quiet = (pieces([SMALL.replace(noise_std=tau)], [7], 20)[3] for tau in (2.0, 0.0))
    torch.testing.assert_close([batch.x for batch in noisy], [batch.x for batch in quiet])


def test_batches_draw_samples_of_the_data_with_replacement():
    data, _, _, batches = pieces([SMALL.replace(noise_std=0.0)], [1], 200)
    rows = [[int((data.X[0] == x).all(1).nonzero()) for x in batch.x[0]] for batch in batches]
    assert any(len(set(drawn)) < 5 for drawn in rows)
    assert {row for drawn in rows for row in drawn} == set(range(40))
    torch.testing.assert_close(batches[0].target[0], labels(data)[0, rows[0]])


def test_a_large_batch_is_all_samples_once_with_fresh_noise():
    data, _, _, batches = pieces([SMALL.replace(batch_size=400)], [1], 3)
    noise = torch.stack([batch.target - labels(data) for batch in batches])  # (steps, R, n)
    assert all(batch.x.equal(data.X) for batch in batches)
    assert not noise[0].equal(noise[1])


def test_fixed_noise_is_one_sign_per_sample_and_is_kept():
    data, _, _, batches = pieces([SMALL.replace(batch_size=400, fixed_noise=True)], [1], 3)
    noise = torch.stack([batch.target - labels(data) for batch in batches])  # (steps, R, n)
    assert noise[0].equal(noise[1])
    assert noise[0].equal(noise[2])
    assert 5 < int((noise[0] > 0).sum()) < 35


def test_noise_goes_on_and_off():
    configs = [SMALL.replace(noise_period=3)]
    data = draw_data(configs, [1])
    draw = make_batches(configs, [1], data)
    batches = [*draw(0, 4), *draw(4, 9)]
    on = [bool(((batch.x @ data.beta[:, :, None])[:, :, 0] - batch.target).abs().max() > 1) for batch in batches]
    assert on == [True] * 3 + [False] * 3 + [True] * 3


def test_steps_are_those_of_torch_sgd_on_the_twin_network():
    configs = [SMALL, SMALL.replace(lr=0.05, init_scale=0.5, noise_std=1.0)]
    _, state, step, batches = pieces(configs, [1, 2], 20)
    end = state
    for batch in batches:
        end = step(end, batch)
    for r, config in enumerate(configs):
        twin = nn.Sequential(nn.Linear(4, 16, bias=False), nn.Linear(16, 1, bias=False))
        twin[0].weight.data, twin[1].weight.data = state.W[r].clone(), state.a[r : r + 1].clone()
        optimizer = torch.optim.SGD(twin.parameters(), lr=config.lr)
        for batch in batches:
            optimizer.zero_grad()
            ((config.scale * twin(batch.x[r])[:, 0] - batch.target[r]) ** 2).mean().div(2).backward()
            optimizer.step()
        torch.testing.assert_close(end.W[r], twin[0].weight.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(end.a[r], twin[1].weight[0].detach(), rtol=1e-4, atol=1e-5)


def autograd(batch, W, a, scale):
    leaves = W.clone().requires_grad_(), a.clone().requires_grad_()
    loss = (forward(batch.x, *leaves, scale) - batch.target).square().mean(1) / 2
    return torch.autograd.grad(loss.sum(), leaves)


def random_state(runs):
    draw = torch.Generator().manual_seed(0)
    return State(torch.randn(runs, 16, 4, generator=draw), torch.randn(runs, 16, generator=draw))


def test_a_sam_step_takes_the_gradient_at_rho_along_the_joint_gradient():
    config = SMALL.replace(sam_rho=0.5)
    _, _, step, (batch,) = pieces([config], [1], 1)
    W, a = random_state(1)
    dW, da = autograd(batch, W, a, config.scale)
    norm = torch.cat([dW.flatten(), da.flatten()]).norm()
    dW, da = autograd(batch, W + 0.5 * dW / norm, a + 0.5 * da / norm, config.scale)
    torch.testing.assert_close(step(State(W, a), batch), State(W - config.lr * dW, a - config.lr * da))


def test_a_run_without_sam_among_others_with_it_makes_plain_steps():
    _, _, mixed, (batch,) = pieces([SMALL, SMALL.replace(sam_rho=0.5)], [1, 1], 1)
    plain = make_step([SMALL, SMALL])
    state = random_state(2)
    with_sam, without = mixed(state, batch), plain(state, batch)
    torch.testing.assert_close(with_sam.W[0], without.W[0])
    torch.testing.assert_close(with_sam.a[0], without.a[0])
    assert (with_sam.W[1] - without.W[1]).abs().max() > 1e-3


def test_sam_stays_finite_where_the_gradient_is_zero():
    config = SMALL.replace(sam_rho=0.5)
    nothing = State(torch.zeros(1, 16, 4), torch.zeros(1, 16))
    batch = Batch(torch.ones(1, 5, 4), torch.zeros(1, 5), None)
    torch.testing.assert_close(make_step([config])(nothing, batch), nothing)


def test_a_kick_moves_only_where_the_gradient_is_taken():
    config = SMALL.replace(kick_std=0.1, noise_std=0.0, batch_size=400)
    _, _, step, batches = pieces([config], [1], 2)
    W, a = random_state(1)
    kick = batches[0].kick
    torch.testing.assert_close(kick.abs(), torch.full((1, 16), 0.1))
    assert not kick.equal(batches[1].kick)
    dW, da = autograd(batches[0], W, a + kick, config.scale)
    torch.testing.assert_close(step(State(W, a), batches[0]), State(W - config.lr * dW, a - config.lr * da))


def test_a_run_alone_equals_the_same_run_among_sixteen_others():
    rng = np.random.default_rng(0)
    configs = [
        SMALL.replace(lr=rng.uniform(0.05, 0.3), init_scale=rng.uniform(0.1, 1), kick_std=0.05 * (i % 2))
        for i in range(17)
    ]
    _, frames = EXPERIMENT.start(configs, range(17))
    *_, together = (frame for frame in frames if frame.values)
    for r in (0, 7, 16):
        alone = EXPERIMENT.run(configs[r], [r])
        for name, values in together.values.items():
            np.testing.assert_allclose(values[r], alone.last(name)[0], rtol=1e-3, atol=1e-5, err_msg=name)


def test_no_number_depends_on_how_many_batches_are_drawn_at_once(monkeypatch):
    config = SMALL.replace(noise_period=77, kick_std=0.05)
    large = EXPERIMENT.run(config)
    monkeypatch.setattr(linear, "HELD", 7 * config.batch * config.dim)  # 7 steps
    small = EXPERIMENT.run(config)
    for name in large.names():
        np.testing.assert_array_equal(large[name], small[name], err_msg=name)


def test_frames_are_evenly_spaced_and_follow_the_switches():
    steps = EXPERIMENT.run(SMALL.replace(steps=600, noise_period=77)).at("w2")
    assert set(range(0, 601, 5)) <= set(steps)
    assert set(steps) - set(range(0, 601, 5)) == {k for k in range(0, 601, 77) if k % 5}
    every = EXPERIMENT.run(SMALL.replace(noise_period=1)).at("w2")
    assert len(every) < 250


def test_the_first_and_last_frames_measure_the_weights():
    history = EXPERIMENT.run(SMALL.replace(noise_std=0.0, whiten=False), [5])
    W = initial_state([SMALL], [5]).W
    assert history["w2"][0, 0] == pytest.approx(float(W.square().sum()))
    assert history["loss"][0, 0] == pytest.approx(
        float(labels(draw_data([SMALL.replace(whiten=False)], [5])).square().mean() / 2)
    )
    np.testing.assert_allclose(history["row_norm"][0, 0], W[0, :8].norm(dim=1), rtol=1e-6)
    assert history["a2"][0, 0] == history["ntk"][0, 0] == 0
    assert history["loss"][-1, 0] < 1e-9  # SGD without noise fits the clean labels


@pytest.mark.parametrize("preset", EXPERIMENT.presets)
def test_every_preset_runs(preset):
    history = EXPERIMENT.run(EXPERIMENT.configure(preset, steps=500), [0, 1])
    assert history.done
    assert all(np.isfinite(history[name]).all() for name in history.names() if not name.startswith("flow"))
    assert set(EXPERIMENT.metrics(history)) >= {"w2_ratio", "align_end", "ntk_end", "t_ntk"}
    assert len(EXPERIMENT.panels(history)) == 4


def test_a_run_that_diverges_is_marked_and_measured():
    wild = Config(lr=0.4, init_scale=1.5, batch_size=400, width=16, dim=30, n_train=40, whiten=False, steps=500)
    history = EXPERIMENT.run(wild, [0])
    assert history.diverged[0] > 0
    EXPERIMENT.metrics(history)
    EXPERIMENT.panels(history)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_settings(Config, steps=550), st.integers(1, 2))
def test_any_settings_are_refused_or_run_to_the_end(fields, runs):
    try:
        config = Config(**fields)
    except InputError:
        return
    history, frames = EXPERIMENT.start([config] * runs, range(runs))
    marks = None
    for frame in frames:
        history.append(frame)
        if not frame.values:
            continue
        values = [value for name, value in frame.values.items() if not name.startswith("flow")]
        assert all(np.isfinite(value).all() for value in values)  # a diverged run is frozen at finite weights
        if frame.step % 3 == 0 or history.done:
            now = [[type(mark).__name__ + mark.name for mark in panel.marks] for panel in EXPERIMENT.panels(history)]
            assert marks in (None, now)
            marks = now
            EXPERIMENT.metrics(history)
    assert history.done
    metrics = EXPERIMENT.metrics(history)
    assert all(value.shape == (runs,) for value in metrics.values())
    for claim in EXPERIMENT.claims:
        claim.expected(config)
