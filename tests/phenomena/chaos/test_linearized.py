"""Linearized training: its outputs and gradient against torch.func, its course against a naive one, metrics, claims."""

from contextlib import closing
from itertools import takewhile

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.layers import MLP
from dyntoolkit.experiment.judging import run_metrics
from dyntoolkit.phenomena.chaos import _training
from dyntoolkit.phenomena.chaos.linearized import EXPERIMENT, Config, linearized_gradient, starts, tangent_pass

TINY = Config(n_train=200, batch=16, hidden=1, width=16, steps=500)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}


def linear_model(model, base, delta, x):
    """f(x; base) + J(x; base) delta of one network, by forward differentiation."""
    value, tangent = torch.func.jvp(lambda theta: model(theta[None], x[None])[0], (base,), (delta,))
    return value + tangent


@pytest.mark.parametrize("hidden", [(), (7,), (7, 6)])
def test_outputs_and_gradient_are_those_of_forward_and_backward_differentiation(hidden):
    model, generator = MLP((5, *hidden, 10), torch.relu), torch.Generator().manual_seed(0)
    shapes = ((3, model.parameters), (3, model.parameters), (3, 8, 5))
    base, delta, x = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes)
    y = torch.randint(10, (3, 8), generator=generator)
    outputs, gradient = tangent_pass(model, base, delta, x)[0], linearized_gradient(model, base, delta, x, y)
    for m in range(3):
        torch.testing.assert_close(outputs[m], linear_model(model, base[m], delta[m], x[m]))
        expected = torch.func.grad(
            lambda d, m=m: torch.nn.functional.cross_entropy(linear_model(model, base[m], d, x[m]), y[m])
        )(delta[m])
        torch.testing.assert_close(gradient[m], expected)


def test_copies_are_those_of_a_naive_training():
    """Of a run among others, with settings of its own: linearized at steps 0 and 30, momentum carried over."""
    other = TINY.replace(decay="cosine")
    own = other.replace(lr=0.05, momentum=0.8, label_noise=0.3, init_scale=0.7)
    history, frames = EXPERIMENT.start([other, own], [1, 9])
    with asking(Asked("eager")), closing(frames):
        for frame in takewhile(lambda frame: frame.step <= 100, frames):
            history.append(frame)
    problem, model = _training.draw([own], [9]), _training.network(own)
    x, y = problem.x[0], problem.y[0]
    batches = _training.batches([own], [9])(0, 100)
    theta = _training.initial([own], [9])[0]
    velocity, copies = torch.zeros_like(theta), []
    entropy = torch.nn.functional.cross_entropy
    for k in range(100):
        if k in (0, 30):
            copies.append((theta, torch.zeros_like(theta), velocity))
        rows, lr = batches.samples[k, 0], own.lr * batches.factor[k]
        g = torch.func.grad(lambda t, rows=rows: entropy(model(t[None], x[None, rows])[0], y[rows]))(theta)
        velocity = own.momentum * velocity + g
        theta = theta - lr * velocity
        moved = []
        for base, delta, buffer in copies:
            g = torch.func.grad(
                lambda d, base=base, rows=rows: entropy(linear_model(model, base, d, x[rows]), y[rows])
            )(delta)
            buffer = own.momentum * buffer + g
            moved.append((base, delta - lr * buffer, buffer))
        copies = moved
    found = history["train_loss"][-1, 1]
    expected = [entropy(model(theta[None], x[None])[0], y)]
    expected += [entropy(linear_model(model, base, delta, x), y) for base, delta, _ in copies]
    np.testing.assert_allclose(found[:3], torch.stack(expected), rtol=1e-3)
    assert found[3] == pytest.approx(found[0], rel=1e-5)  # linearized at this very step
    assert np.isnan(found[4:]).all()
    right = (linear_model(model, *copies[0][:2], problem.test_x[0]).argmax(1) == problem.test_y[0]).double().mean()
    assert history["test_accuracy"][-1, 1, 1] == pytest.approx(right.item(), abs=0.002)


@pytest.fixture(scope="module")
def tiny():
    with asking(Asked("eager")):
        return run_together(EXPERIMENT, [TINY, TINY.replace(lr=0.01)], [0, 1])


def test_copies_that_begin_too_late_are_left_out(tiny):
    assert starts(2000) == [0, 30, 100, 300, 1000]
    assert starts(1000) == starts(500) == [0, 30, 100, 300]
    assert tiny.at("train_loss").tolist() == [0, 30, 100, 200, 300, 400, 500]
    metrics = EXPERIMENT.metrics(tiny)
    assert np.isnan(metrics["gap_1000"]).all()
    assert np.isfinite([metrics[f"{name}_{t0}"] for name in ("gap", "ratio") for t0 in (0, 30, 100, 300)]).all()
    for name in ("train_loss", "test_accuracy"):  # where it begins, a copy is the network
        for row, k in enumerate((0, 30, 100)):
            np.testing.assert_allclose(tiny[name][row, :, 1 + k // 30 - k // 100], tiny[name][row, :, 0], rtol=1e-4)


def test_the_metrics_and_what_the_figure_shows_are_those_of_the_recipe():
    history, _ = EXPERIMENT.start([Config()] * 2, [0, 1])
    loss = np.array([[0.1, 0.2, 0.1, 0.05, 0.3, 0.1], [0.01, 1, 0.1, 0.02, 0.01, 0.01]])
    right = np.array([[0.9, 0.8, 0.9, 0.95, 0.9, 0.9], [0.95, 0.9, 0.9, 0.9, 0.96, 0.95]])
    history.append(Frame(2000, 2000, {"train_loss": loss, "test_accuracy": right}, np.full(2, -1)))
    found = EXPERIMENT.metrics(history)
    expected = {
        "gap_0": [0.1, 0.05],
        "gap_100": [-0.05, 0.05],
        "gap_300": [0, -0.01],
        "ratio_0": [2, 100],
        "ratio_100": [0.5, 2],
        "ratio_300": [3, 1],
        "train_loss": [0.1, 0.01],
        "test_accuracy": [0.9, 0.95],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(CLAIMS["late_phase_is_linear"].value(found, Config()), [np.nan, 0.01])
    losses, errors, gap, ratio = EXPERIMENT.panels(history)
    assert losses.marks[1].y[-1] == pytest.approx(0.6)  # the median of both runs
    assert errors.marks[0].y[-1] == pytest.approx(0.075)
    np.testing.assert_allclose(gap.marks[0].y, np.median(right[:, :1] - right[:, 1:], 0))
    np.testing.assert_allclose(ratio.marks[0].high, [100, 10, 2, 3, 1], rtol=2e-4)
    np.testing.assert_allclose(ratio.marks[0].x, [10, 30, 100, 300, 1000])


def test_without_hidden_layers_the_network_is_its_linearization_as_theory_says():
    config = TINY.replace(hidden=0)
    with asking(Asked("eager")):
        found = EXPERIMENT.metrics(EXPERIMENT.run(config))
    for t0 in starts(500):
        for name in (f"gap_{t0}", f"ratio_{t0}"):
            theory = EXPERIMENT.predictions[name]
            assert found[name] == pytest.approx(theory(config), abs=1e-3), name
            assert np.isnan(theory(TINY))


@pytest.mark.claims
def test_claims_hold_for_a_fresh_seed_and_their_controls_fail():
    found = run_metrics(EXPERIMENT, EXPERIMENT.run(seeds=(811,)))
    for claim in CLAIMS.values():
        assert claim.where(Config())
        assert not any(claim.where(EXPERIMENT.configure(name)) for name in ("standard_start", "noisy", "softmax"))
        value = claim.value(found, Config()) if claim.value else found[claim.metric]
        assert claim.bound.holds(value).all(), (claim.id, value)
        for control in claim.controls:
            if not control.changes:
                bound = control.bound or claim.bound
                assert bound.holds(found[control.metric]).all() == (control.bound is not None), control.label
