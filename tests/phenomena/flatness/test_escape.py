"""The step against the formula, the theory on a short run, metrics by hand, and the claims on a fresh seed."""

import numpy as np
import pytest
import torch

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.experiment import run_metrics, to_the_end
from dyntoolkit.phenomena.flatness import _copies as copies
from dyntoolkit.phenomena.flatness import escape
from dyntoolkit.phenomena.flatness._theory import edge
from dyntoolkit.phenomena.flatness.escape import CLAIMS, EXPERIMENT, Config, Copies

SMALL = Config(steps=500, sam_steps=50, n_train=100, width=16)
CONFIGS, SEEDS = [SMALL, SMALL.replace(rho_relative=0.8, lr=0.04)], (431, 432)


@pytest.fixture(scope="module")
def history():
    with asking(Asked("eager")):
        return to_the_end(*EXPERIMENT.start(CONFIGS, SEEDS))


@pytest.fixture(scope="module")
def found(history):
    return run_metrics(EXPERIMENT, history)


def test_a_step_is_gradient_descent_for_two_copies_and_unnormalized_sam_for_two():
    samples = copies.draw(CONFIGS, SEEDS, "digits", torch.float64)
    net = copies.network(samples, SMALL)
    loss = copies.squares(net)
    one, other = copies.initial(CONFIGS, SEEDS, net, torch.float64)
    start = torch.stack([one, other, one / 2, other / 3], 1)
    rho = torch.tensor([0.05, 0.01], dtype=torch.float64)
    after = escape.make_step(CONFIGS, samples, loss, 4, rho)(Copies.start(start), None)
    for r, c in np.ndindex(2, 4):

        def slope(w, r=r):
            w = w.clone().requires_grad_()
            residual = net(w[None], samples.x[r])[0] - samples.y[r]
            return torch.autograd.grad((residual**2).sum() / 2 / 100, w)[0]

        theta, climb = start[r, c], rho[r] if c >= 2 else 0.0
        expected = theta - CONFIGS[r].lr * slope(theta + climb * slope(theta))
        torch.testing.assert_close(after.theta[r, c], expected)
    plain = escape.make_step(CONFIGS, samples, loss, 2)(Copies.start(start[:, :2]), None)
    torch.testing.assert_close(plain.theta, after.theta[:, :2])


def test_copies_begin_where_gradient_descent_is_and_the_kicked_ones_a_kick_away(history):
    loss = history["loss"][0]
    np.testing.assert_allclose(loss[:, ::2], history["loss_before"][-1][:, None].repeat(2, 1), rtol=1e-12)
    np.testing.assert_allclose(history["x"][0], 1e-4, rtol=1e-6)
    assert history.at("loss").tolist() == list(range(500, 551))
    assert history.at("sharpness").tolist() == [500, 520, 540, 550]


def test_above_the_threshold_the_displacement_grows_and_below_it_shrinks_at_the_predicted_rate(history, found):
    lr = np.array([0.05, 0.04])
    product = lr * found["curvature"]
    relative = np.array([2.0, 0.8])
    np.testing.assert_allclose(found["predicted"], 1 + (relative - 1) * (2 - product))
    np.testing.assert_allclose(found["growth"], found["predicted"], rtol=2e-3)
    np.testing.assert_allclose(found["growth_gd"], np.abs(1 - product), rtol=2e-2)
    np.testing.assert_allclose(found["rho"], relative * (2 / product - 1) / found["curvature"])
    assert found["peak"][0] > 1.5
    assert found["peak"][1] == pytest.approx(1)


def test_the_metrics_by_hand(history, found):
    loss = history["loss"][:, 0, 3]
    assert found["peak"][0] == pytest.approx(loss.max() / loss[0])
    assert found["back"][0] == pytest.approx(loss[-1] / loss[0])
    rest = edge(0.05, found["rho"][0])
    assert found["settle"][0] == pytest.approx(history.last("sharpness")[0, 3] / rest)
    assert found["settle_gd"][0] == pytest.approx(history.last("sharpness")[0, 1] / rest)
    assert found["barrier_other"].min() > 0.1 > 0.01 > found["barrier"].max()


def test_a_rate_is_the_geometric_mean_of_the_first_steps_in_which_the_displacement_is_small():
    x = np.array([1e-3, 2e-3, 4e-3, 16e-3, 64e-3, 1e-3])[:, None, None].repeat(2, 2)
    x[:, :, 1] = 1
    growth, none = escape.rates(x)
    assert growth[0] == pytest.approx((2 * 2 * 4 * 1 / 64) ** (1 / 4))  # the step to 0.064 does not count
    assert np.isnan(none[0])


def test_where_gradient_descent_is_itself_at_the_edge_the_radius_is_that_of_the_recipe():
    samples = copies.draw([SMALL], SEEDS[:1], "digits", torch.float64)
    net = copies.network(samples, SMALL)
    theta = torch.stack(copies.initial([SMALL], SEEDS[:1], net, torch.float64), 1)
    config = SMALL.replace(lr=0.1, rho_relative=4.0)
    frames = escape.after_the_switch([config], samples, copies.squares(net), Copies.start(theta), np.array([-1]), 550)
    values = next(frames).values
    assert values["curvature"][0] > 20  # 2/lr
    assert values["rho"].tolist() == [pytest.approx(4 * 0.002)]


def test_panels_keep_their_marks_and_the_line_of_theory_is_that_of_this_run(history, found):
    sharpness, _, _, growth, _ = EXPERIMENT.panels(history.run(0))
    measured, line, _ = growth.marks
    assert np.interp(2, line.x, line.y) == pytest.approx(found["predicted"][0])
    assert measured.y[0] == found["growth"][0]
    assert sharpness.marks[0].x[0] == -500
    assert EXPERIMENT.predictions["settle"](SMALL) == 1
    assert EXPERIMENT.borders["threshold ρ*"](SMALL.replace(rho_relative=1.0)) == 0
    rows = {(SMALL.replace(rho_relative=r), 0): {"growth": r, "curvature": 24.0} for r in (0.5, 2.0)}
    (swept,) = EXPERIMENT.sweep_panels(rows)
    assert swept.marks[0].x.tolist() == [0.5, 2]
    assert np.interp(2, swept.marks[1].x, swept.marks[1].y) == pytest.approx(1.8)


def test_the_line_of_theory_where_gradient_descent_is_itself_at_the_edge_is_in_units_of_the_least_radius():
    rows = {(SMALL.replace(lr=0.1, rho_relative=4.0), 0): {"growth": 1.8, "curvature": 24.0}}
    (swept,) = EXPERIMENT.sweep_panels(rows)
    expected = abs(1 - 0.1 * 24 * (1 + 4 * 0.002 * 24))
    assert np.interp(4, swept.marks[1].x, swept.marks[1].y) == pytest.approx(expected)


@pytest.mark.claims
def test_the_claims_and_their_controls_hold_on_a_fresh_seed():
    history = to_the_end(*EXPERIMENT.start([Config(), Config(rho_relative=0.8)], (441, 441)))
    metrics = run_metrics(EXPERIMENT, history)
    for claim in CLAIMS:
        value = claim.value(metrics, Config()) if claim.value else metrics[claim.metric]
        assert claim.where(Config())
        assert claim.bound.holds(value[0]), (claim.id, value)
        for control in claim.controls:
            value = metrics[control.metric][0] if control.metric else metrics[claim.metric][1]
            assert not claim.bound.holds(value), (claim.id, control.label, value)
