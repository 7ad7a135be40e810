"""The circle: kernel and step against gradients by torch, metrics by hand, laws over a sweep, figure."""

import math

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.update import Sgd
from dyntoolkit.experiment.judging import run_metrics
from dyntoolkit.phenomena.kernels import width
from dyntoolkit.phenomena.kernels.width import EXPERIMENT, Config, Problem

TINY = Config(width=30, n_train=10, steps=100)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}


@pytest.mark.parametrize("activation", ["tanh", "erf", "relu"])
def test_kernel_and_step_are_those_of_all_gradients(activation):
    """Of a run among others, with settings of its own; g is written out."""
    own = TINY.replace(activation=activation, alpha=0.5, init_scale=1.5, noise_std=0.3, lr=0.8)
    problem = Problem([TINY.replace(activation=activation), own], [1, 9])
    phi, x, y, m = getattr(torch, activation), problem.data.x, problem.data.y[1], 30

    def g(theta, points):
        w, b, a = theta[: 2 * m].view(2, m), theta[2 * m : 3 * m], theta[3 * m :]
        return phi(points @ w + b) @ a / math.sqrt(m)

    theta = problem.theta[1]
    J, J_test = (torch.func.jacrev(lambda theta, at=at: g(theta, at))(theta) for at in (x, problem.data.test_x))
    torch.testing.assert_close(problem.K0[1], J @ J.T)
    found = width.tangent(problem.theta, problem.data.test_x, x, problem.phi)
    torch.testing.assert_close(found[1], J_test @ J.T)
    eta = 0.8 * 10 / (2 * torch.linalg.eigvalsh(J @ J.T)[-1])
    start = theta.clone().requires_grad_()
    moved = start + 0.1  # somewhere else, where f is not 0
    f = 0.5 * (g(moved, x) - g(theta, x))
    ((f - y) ** 2).mean().backward()
    after = width.make_step(problem)(Sgd(problem.theta + 0.1), None).theta[1]
    torch.testing.assert_close(after, theta + 0.1 - eta / 0.25 * start.grad)
    assert theta.std().item() == pytest.approx(1.5, rel=0.3)


def test_data_are_those_of_the_circle():
    data = width.draw([TINY, TINY.replace(noise_std=0.5)], [3, 3])
    angle = 2 * np.pi * np.arange(10) / 10
    np.testing.assert_allclose(data.x, np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-12)
    np.testing.assert_allclose(data.y[0], np.cos(angle) + np.cos(3 * angle), atol=1e-12)
    assert 0.1 < (data.y[1] - data.y[0]).std() < 1
    assert data.test_x.shape == (100, 2)
    assert width.target(torch.tensor([0.5]), 0) == pytest.approx(math.cos(0.5))


@pytest.fixture(scope="module")
def tiny():
    with asking(Asked("eager")):
        return run_together(EXPERIMENT, [TINY, TINY.replace(alpha=10.0), TINY.replace(alpha=0.1)], [0, 0, 0])


def test_a_large_scale_follows_its_closed_form_and_a_small_one_leaves_it(tiny):
    gap, moved = (EXPERIMENT.metrics(tiny)[name] for name in ("curve_gap", "kernel_move"))
    assert gap[1] < 0.03 < gap[2]  # the threshold of the claim
    assert moved[1] < moved[0] / 5 < moved[2] / 5
    np.testing.assert_allclose(tiny["train"][0], 1, rtol=1e-9)  # f is 0
    np.testing.assert_allclose(tiny["train_lin"][0], 1, rtol=1e-9)
    np.testing.assert_allclose(tiny["kernel_move"][0], 0, atol=1e-12)


def test_the_recorded_engine_finds_the_same(tiny):
    with asking(Asked("xla")):
        history = run_together(EXPERIMENT, tiny.configs, tiny.seeds)
    assert history.engine == "xla"
    for name, values in EXPERIMENT.metrics(history).items():
        np.testing.assert_allclose(values, EXPERIMENT.metrics(tiny)[name], rtol=1e-6, atol=1e-10, err_msg=name)


def test_the_metrics_are_those_of_the_recipe():
    history, _ = EXPERIMENT.start([TINY] * 2, [0, 1])
    points = {"function": np.zeros((2, 100)), "function_lin": np.full((2, 100), [[0.2], [0.4]])}
    rest = {name: np.array([0.1, 0.3]) for name in ("kernel_move", "kernel_turn", "weight_move", "test", "test_lin")}
    for step, train, linear, aligned in ((0, 1.0, 1.0, 0.2), (10, 0.5, 0.1, 0.4), (100, 0.001, 0.01, 0.5)):
        values = {name: np.full(2, value) for name, value in (("train", train), ("train_lin", linear))}
        values |= {"alignment": np.array([aligned, 0.2]), **rest, **points}
        history.append(Frame(step, 100, values | ({"size": np.array([1.0, 4])} if step == 0 else {}), np.full(2, -1)))
    found = EXPERIMENT.metrics(history)
    np.testing.assert_allclose(found["curve_gap"], 0.4)
    np.testing.assert_allclose(found["log_gap"], 1)
    np.testing.assert_allclose(found["function_gap"], [0.2, 0.2])
    np.testing.assert_allclose(found["turned_to_labels"], [0.3, 0])
    assert set(found) == set(width.METRICS)
    law = CLAIMS["width_law"].sweep
    runs = [{"kernel_move": np.array([1.0, 3]) / c["width"] ** 0.8} for c in law.changes]
    np.testing.assert_allclose(law.value(runs), [-0.8])
    one_width = CLAIMS["width_law"].controls[0].sweep
    np.testing.assert_allclose(one_width.value([{"kernel_move": np.array([0.2, 0.02, 0.1])}]), [-0.5])
    lazy = CLAIMS["lazy_narrow"].value({"curve_gap": np.array([0.02, 0.04]), "kernel_move": np.ones(2)}, TINY)
    np.testing.assert_allclose(lazy, [1, np.nan])


def test_the_figure_shows_theory_dashed_and_laws_against_width_and_scale(tiny):
    losses, moved, function, kernel = EXPERIMENT.panels(tiny)
    assert [mark.dash for mark in losses.marks] == [False, False, True, True]
    assert losses.marks[2].width > losses.marks[3].width  # which of the grey lines is which
    np.testing.assert_allclose(moved.marks[0].y, np.median(tiny["kernel_move"][1:], 1))
    np.testing.assert_allclose(function.marks[1].y, tiny.last("function_lin")[0])
    np.testing.assert_allclose(kernel.marks[0].z, tiny.last("kernel")[0])
    rows = {(TINY.replace(width=w), s): {"kernel_move": (1 + s) / w} for w in (30, 100, 300) for s in (0, 1)}
    (panel,) = EXPERIMENT.sweep_panels(rows)
    np.testing.assert_allclose(panel.marks[0].y, 1.5 / panel.marks[0].x)
    np.testing.assert_allclose(panel.marks[1].y, panel.marks[0].y)  # the line of slope -1


@pytest.mark.claims
def test_claims_of_single_runs_hold_for_a_fresh_seed_and_their_controls_fail():
    found = {
        name: run_metrics(EXPERIMENT, EXPERIMENT.run(EXPERIMENT.configure(name), (811,)))
        for name in ("wide", "rich", "narrow", "lazy_narrow")
    }
    for name, metric in (("predicted", "curve_gap"), ("stands_still", "kernel_move")):
        assert CLAIMS[name].bound.holds(found["wide"][metric]).all(), name
        assert not CLAIMS[name].bound.holds(found["rich"][metric]).any(), name
    lazy, aligns = CLAIMS["lazy_narrow"], CLAIMS["rich_aligns"]
    assert lazy.bound.holds(lazy.value(found["lazy_narrow"], None)).all()
    assert not lazy.bound.holds(found["narrow"]["kernel_move"]).any()
    assert aligns.bound.holds(found["rich"]["turned_to_labels"]).all()
    assert not aligns.bound.holds(found["wide"]["turned_to_labels"]).any()
