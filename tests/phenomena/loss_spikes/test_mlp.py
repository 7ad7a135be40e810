"""The default experiment: training against torch.optim, probes that only read, divergence, figure."""

from functools import partial

import numpy as np
import pytest
import torch

from dyntoolkit.engine.history import History
from dyntoolkit.engine.update import adam
from dyntoolkit.phenomena import _sines as sines
from dyntoolkit.phenomena.loss_spikes import mlp
from dyntoolkit.phenomena.loss_spikes._trace import trace
from dyntoolkit.phenomena.loss_spikes.mlp import EXPERIMENT, Config
from dyntoolkit.probes.sharpness import sharpness

SHORT = Config(steps=520, width=5, n_train=20)


def pulled(simulate, configs, seeds):
    history = History("loss_spikes.mlp", configs, seeds)
    for frame in simulate(configs, seeds):
        history.append(frame)
    return history


def test_it_is_torchs_adam_on_the_loss_of_the_recipe():
    history = pulled(mlp.simulate_untraced, [SHORT], [5])
    data = sines.draw_data([SHORT], [5])
    theta = torch.nn.Parameter(sines.initial_theta([SHORT], [5]))
    optimizer = torch.optim.Adam([theta], lr=SHORT.lr, betas=(SHORT.beta1, SHORT.beta2), eps=SHORT.eps)
    expected = []
    for _ in range(100):
        optimizer.zero_grad()
        value = sines.loss(theta, data).sum()
        value.backward()
        optimizer.step()
        expected.append(float(value.detach()))
    np.testing.assert_allclose(trace(history, "loss")[:100, 0], expected, rtol=1e-7)


@pytest.mark.parametrize("changes", [{}, {"amsgrad": True}, {"grad_noise_std": 0.01, "grad_clip": 0.1}])
def test_measuring_does_not_change_one_bit(changes):
    config = SHORT.replace(**changes)
    measured = pulled(mlp.simulate, [config] * 2, [1, 2])
    untraced = pulled(mlp.simulate_untraced, [config] * 2, [1, 2])
    np.testing.assert_array_equal(trace(measured, "loss"), trace(untraced, "loss"))


def test_another_rule_takes_the_place_of_adam():
    def slower(state, gradient, lr, beta1, beta2, eps):
        return adam(state, gradient, lr / 2, beta1, beta2, eps)

    other = pulled(partial(mlp.simulate, rule=slower), [SHORT], [1])
    halved = pulled(mlp.simulate, [SHORT.replace(lr=SHORT.lr / 2)], [1])
    np.testing.assert_array_equal(trace(other, "loss"), trace(halved, "loss"))


def test_the_curvatures_are_those_of_the_recipe():
    history = pulled(mlp.simulate, [SHORT], [2])
    data, state = sines.draw_data([SHORT], [2]), mlp.initial_state([SHORT], [2])
    step = mlp.make_step([SHORT], data)
    for i in range(61):
        before, state = state, step(state, None)
        if i in (0, 49, 60):
            n = i + 1
            _, g = sines.loss_and_gradient(before.theta, data)
            H = sines.hessian(before.theta, data)[0]
            D = 1 / ((state.square[0] / (1 - SHORT.beta2**n)).sqrt() + SHORT.eps)
            mu = (1 - SHORT.beta1) / ((1 + SHORT.beta1) * (1 - SHORT.beta1**n))
            largest = np.linalg.eigvals((D[:, None] * H).numpy()).real.max()
            along = float((g[0] * (D * (H @ g[0]))).sum() / g[0].square().sum())
            assert trace(history, "sharpness")[i, 0] == pytest.approx(float(sharpness(H)), rel=1e-9)
            assert trace(history, "preconditioned")[i, 0] == pytest.approx(mu * largest, rel=1e-7)
            assert trace(history, "along_gradient")[i, 0] == pytest.approx(mu * along, rel=1e-7)
            assert trace(history, "gradient_norm")[i, 0] == pytest.approx(float(g.norm()), rel=1e-9)


def test_every_step_is_in_the_trace_once():
    history = pulled(mlp.simulate, [SHORT], [0])
    assert trace(history, "loss").shape == (520, 1)
    assert np.isfinite(trace(history, "along_gradient")).all()
    assert history.done


def test_noise_is_fresh_at_each_step_and_the_runs_own():
    config = SHORT.replace(grad_noise_std=0.01)
    batches = mlp.make_batches([config] * 2, [1, 2], 4)
    first, second = batches(0, 2)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    torch.testing.assert_close(mlp.make_batches([config], [2], 4)(0, 1)[0, 0], first[1])


@pytest.mark.claims
def test_metrics_claims_and_figure_of_the_default_run():
    history = EXPERIMENT.run(seeds=(901,))
    metrics = EXPERIMENT.metrics(history)
    assert metrics["spikes"] == mlp.spike_count(history)
    for claim in EXPERIMENT.claims:
        if claim.sweep is None:
            assert claim.where(history.config)
            assert claim.bound.holds(metrics[claim.metric])[0], claim.id
    loss, _, curvature, timing = EXPERIMENT.panels(history)
    assert len(loss.marks[2].x) == metrics["spikes"][0]
    assert len(loss.marks[1].x) == metrics["alarms"][0]
    assert np.nanmax(curvature.marks[2].y) == pytest.approx(metrics["along_gradient_max"][0])
    assert timing.marks[0].y.sum() <= metrics["spikes"][0]


def test_no_trained_map_differs_from_the_experiment():
    assert EXPERIMENT.map.simulate is mlp.simulate_untraced
    assert EXPERIMENT.map.x in Config.sliders()
    assert EXPERIMENT.map.y in Config.sliders()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lr": 0.05, "eps": 1e-3, "width": 15, "init_scale": 1.5, "steps": 20000}, True),
        ({"lr": 0.06}, False),
        ({"width": 41}, False),
        ({"beta1": 0.8}, False),
        ({"grad_clip": 0.1}, False),
    ],
)
def test_spikes_are_expected_around_the_defaults(changes, expected):
    assert all(claim.where(Config(**changes)) is expected for claim in EXPERIMENT.claims)
