import numpy as np
import pytest
import torch
from run_together import run_together
from torch import nn

from dyntoolkit.engine.batches import unbind
from dyntoolkit.engine.two_layer_linear import forward
from dyntoolkit.errors import InputError
from dyntoolkit.figure.panels import Level, Line
from dyntoolkit.phenomena.label_noise import linear
from dyntoolkit.phenomena.label_noise.linear import (
    EXPERIMENT,
    PRESETS,
    Batch,
    Config,
    State,
    draw_data,
    initial_state,
    make_batches,
    make_step,
)

SMALL = Config(width=16, dim=4, n_train=40, batch_size=5, steps=500)
SHORT = {"steps": 500, "width": 16, "dim": 4, "n_train": 40}  # of a preset


def pieces(configs, seeds, steps):
    """Data, initial state, step function and the first batches of runs."""
    data = draw_data(configs, seeds)
    drawn = unbind(make_batches(configs, seeds, data)(0, steps), steps)
    return data, initial_state(configs, seeds), make_step(configs, seeds), list(drawn)


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
        assert len(batch.x) == 1
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
    batches = [*unbind(draw(0, 4), 4), *unbind(draw(4, 9), 5)]
    on = [bool(((batch.x @ data.beta[:, :, None])[:, :, 0] - batch.target).abs().max() > 1) for batch in batches]
    assert on == [True] * 3 + [False] * 3 + [True] * 3


@pytest.mark.parametrize("changes", [{}, {"batch_size": 400}, {"fixed_noise": True}, {"kick_std": 0.1}])
def test_runs_of_one_seed_among_others_do_as_each_alone(changes):
    configs = [SMALL.replace(lr=lr, noise_std=tau, **changes) for lr, tau in ((0.2, 2.0), (0.1, 1.0), (0.05, 0.0))]
    seeds = [7, 2, 7]
    _, state, step, batches = pieces(configs, seeds, 20)
    assert batches[0].x.shape[0] == 2
    for batch in batches:
        state = step(state, batch)
    for r, (config, seed) in enumerate(zip(configs, seeds, strict=True)):
        _, alone, one_step, own = pieces([config], [seed], 20)
        for batch in own:
            alone = one_step(alone, batch)
        torch.testing.assert_close(State(*(leaf[r : r + 1] for leaf in state)), alone)


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
    plain = make_step([SMALL, SMALL], [1, 1])
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
    together = run_together(EXPERIMENT, configs, range(17))
    for r in (0, 7, 16):
        alone = EXPERIMENT.run(configs[r], [r])
        for name in alone.names():
            np.testing.assert_allclose(together.last(name)[r], alone.last(name)[0], rtol=1e-3, atol=1e-5, err_msg=name)


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


def test_numbers_of_the_theory_at_the_defaults():
    config = Config()
    assert config.scale == 1 / 8
    assert config.rate == pytest.approx(0.2**2 * 4 / 64 / 20)
    assert config.log_ratio == pytest.approx(3.49, abs=0.005)
    assert config.excess == pytest.approx(4.0, abs=0.02)
    assert config.end_norm == pytest.approx(8 * 10**0.5)


def test_sam_adds_its_rate_and_on_off_noise_counts_for_half():
    assert Config(noise_std=0, sam_rho=0.5, lr=0.05, batch_size=1).rate == pytest.approx(0.05 * 0.25 / 64)
    always, half = Config(), Config(noise_period=3000)
    assert half.excess + half.log_ratio == pytest.approx((always.excess + always.log_ratio) / 2)


@pytest.mark.parametrize(("init_scale", "level"), [(0.05, 0.849), (0.25, 0.22)])
def test_noise_free_alignment(init_scale, level):
    along, across = Config(init_scale=init_scale).noise_free_norms
    assert along / (along + across) == pytest.approx(level, abs=0.005)


def test_unstable_settings_are_refused_in_words():
    with pytest.raises(InputError, match=r"must stay below 1\.8.*lower lr or init_scale, or raise batch_size"):
        Config(batch_size=1)  # 3.5
    with pytest.raises(InputError, match=r"must stay below 1\.8"):
        Config(lr=0.4, init_scale=1.47)
    assert not Config(lr=0.3).warnings()
    (warning,) = Config(init_scale=1.8).warnings()  # 1.36
    assert "unstable" in warning


def test_a_batch_beyond_the_data_counts_as_all_of_them():
    assert Config(batch_size=400, n_train=50).instability == Config(batch_size=50, n_train=50).instability
    assert Config(batch_size=400, n_train=50).rate == Config(batch_size=50, n_train=50).rate


def test_fixed_noise_in_minibatches_is_warned_of():
    assert Config(fixed_noise=True).warnings()
    assert not Config(fixed_noise=True, batch_size=100).warnings()


def test_what_drives_the_flow():
    driven = {name: Config().replace(**preset.changes).fresh for name, preset in PRESETS.items()}
    assert driven == {
        "two_phase": True,
        "fast": True,
        "lazy_control": False,
        "small_init_rich": False,
        "sam": True,
        "on_off": True,
        "kick": False,
        "fixed_noise": False,
    }
    assert not Config(sam_rho=0.5).fresh  # on several samples


def marks(preset, seeds=(0,), **changes):
    """(panel number, mark name) -> mark, of a finished short run."""
    history = EXPERIMENT.run(EXPERIMENT.configure(preset, **SHORT, **changes), seeds)
    return {(p, mark.name): mark for p, panel in enumerate(EXPERIMENT.panels(history)) for mark in panel.marks}, history


def test_the_flow_is_drawn_dashed_over_the_measured_norm_and_alignment():
    found, history = marks("two_phase")
    for panel, name, values in ((0, "flow", "flow_w2"), (1, "flow: alignment", "flow_align")):
        assert found[panel, name].dash
        np.testing.assert_array_equal(found[panel, name].y, history[values][:, 0])
    np.testing.assert_array_equal(found[0, "measured"].y, history["w2"][:, 0])
    assert found[0, "end of the flow: √d ‖β*‖/s"].y == pytest.approx(history.config.end_norm)


def test_without_noise_the_noise_free_theory_is_drawn_and_met():
    found, history = marks("small_init_rich")
    assert not any("flow" in name for _, name in found)
    found, history = marks("lazy_control")
    assert history["w2"][-1, 0] == pytest.approx(found[0, "noise-free theory"].y, rel=0.2)  # one draw of W
    assert history["align"][-1, 0] == pytest.approx(found[1, "alignment without noise"].y, abs=0.1)


def test_the_law_of_kicks_starts_at_the_measured_norm_and_falls():
    found, history = marks("kick")
    law = next(mark for (_, name), mark in found.items() if name.startswith("law of kicks"))
    row = np.flatnonzero(history.at("w2") == law.x[0])[0]
    assert law.x[0] >= 125
    assert law.y[0] == history["w2"][row, 0]
    assert (np.diff(law.y) < 0).all()


def test_periods_with_noise_are_marked():
    found, _ = marks("on_off", noise_period=100)
    bar = found[0, "noise is on"]
    on = bar.x[~np.isnan(bar.y)]
    assert set(on // 100) == {0, 2, 4}
    assert (0, "noise is on") not in marks("two_phase")[0]


def test_one_run_shows_neurons_and_several_show_bands():
    one, _ = marks("two_phase")
    history = EXPERIMENT.run(EXPERIMENT.configure("two_phase", **SHORT))
    neurons = EXPERIMENT.panels(history)[2].marks
    assert len(neurons) == 16
    assert sum(mark.legend for mark in neurons) == 2
    several, history = marks("two_phase", seeds=(0, 1, 2))
    band = several[2, "rms a<sub>j</sub>"]
    np.testing.assert_allclose(band.high, np.sqrt(history["a2"] / 16).max(1))
    assert not any(isinstance(mark, Line) and mark.low is None for mark in several.values())
    assert {key for key, mark in one.items() if isinstance(mark, Level)} == {
        key for key, mark in several.items() if isinstance(mark, Level)
    }
