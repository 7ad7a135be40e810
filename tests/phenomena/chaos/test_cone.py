"""The cone: kernels of a training against its gradients, metrics of kernels on a circle, claims, figure."""

from contextlib import closing

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Frame
from dyntoolkit.experiment.judging import run_metrics
from dyntoolkit.phenomena.chaos import _training, cone
from dyntoolkit.phenomena.chaos.cone import EXPERIMENT, KERNELS, Config

TINY = Config(n_train=200, batch=16, hidden=1, width=16, steps=500)
CLAIMS = {claim.id: claim for claim in EXPERIMENT.claims}


@pytest.fixture(scope="module")
def tiny():
    with asking(Asked("eager")):
        return run_together(EXPERIMENT, [TINY, TINY.replace(lr=0.01, label_noise=0)], [0, 1])


def test_distances_are_those_of_all_gradients_of_networks_that_torch_trains():
    """Of a run among others, with settings of its own, up to the second kernel."""
    own = TINY.replace(lr=0.05, momentum=0.8, init_scale=0.7)
    history, frames = EXPERIMENT.start([TINY, own], [1, 9])
    with asking(Asked("eager")), closing(frames):
        for frame in frames:
            history.append(frame)
            if frame.values and frame.step:
                break
    problem, model = _training.draw([own], [9]), _training.network(own)
    batches = _training.batches([own], [9])(0, history.step).samples[:, 0]
    weights = torch.nn.Parameter(_training.initial([own], [9])[0])
    optimizer = torch.optim.SGD([weights], own.lr, own.momentum)
    jacobians = []
    for k in range(len(batches) + 1):
        if k in (0, len(batches)):
            images = problem.test_x[:, :64]
            jacobian = torch.func.jacrev(lambda row, x=images: model(row[None], x)[0])(weights.detach())  # (64, 10, P)
            jacobians.append(jacobian.double())
        if k < len(batches):
            optimizer.zero_grad()
            outputs = model(weights[None], problem.x[:, batches[k]])[0]
            torch.nn.functional.cross_entropy(outputs, problem.y[0, batches[k]]).backward()
            optimizer.step()
    first, second = (torch.einsum("icp,jcp->ij", J, J) for J in jacobians)
    expected = 1 - (first * second).sum() / (first.norm() * second.norm())
    S = cone.distances(history)[1]
    assert history.at("distance").tolist() == [0, 16]
    assert S[0, 1] == S[1, 0] == pytest.approx(expected.item(), rel=1e-3)
    assert S[0, 1] > 1e-3
    assert S[0, 0] == S[1, 1] == 0
    assert np.isnan(S[2:]).all()


def on_a_circle(turned, config=TINY):
    """A finished history of one run whose kernels lie in a plane, turned by so many radians from the first one."""
    S = 1 - np.cos(turned[:, None] - turned)  # (31, 31)
    history, _ = EXPERIMENT.start([config], [0])
    for k in range(KERNELS):
        row = np.where(np.arange(KERNELS) <= k, S[k], np.nan)
        values = {"distance": row[None], "train_loss": np.array([0.5]), "test_accuracy": np.array([0.8])}
        history.append(Frame(k * 500 // 30, 500, values, np.full(1, -1)))
    return history, S


def test_the_metrics_are_those_of_the_recipe():
    # a third of a radian away in ten steps; then to and fro by .01; then by .002
    turned = np.concatenate([np.linspace(0, 1 / 3, 11), 1 / 3 + 0.01 * (np.arange(1, 11) % 2), np.zeros(10)])
    turned[21:] = turned[20] + 0.002 * (np.arange(1, 11) % 2)
    history, S = on_a_circle(turned)
    np.testing.assert_allclose(cone.distances(history)[0], S, atol=1e-15)
    found = EXPERIMENT.metrics(history)
    expected = {
        "S_total": 1 - np.cos(turned[30]),
        "width_early": 1 - np.cos(1 / 3),
        "width_cone": 1 - np.cos(0.01),
        "width_late": 1 - np.cos(0.002),
        "cone_ratio": (1 - np.cos(turned[30])) / (1 - np.cos(0.01)),
        "narrowing": (1 - np.cos(1 / 3)) / (1 - np.cos(0.002)),
        "path_early": 1 / 3,
        "path_cone": 0.1 + 0.02,
        "path_late": 0.02,
        "net_early": 1 / 3,
        "net_cone": 0,
        "net_late": 0,
        "train_loss": 0.5,
        "test_accuracy": 0.8,
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], [value], rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_kernel_that_stands_still_is_in_no_cone():
    found = EXPERIMENT.metrics(on_a_circle(np.zeros(KERNELS))[0])
    assert found["path_cone"] == found["S_total"] == 0
    assert np.isnan([found["cone_ratio"], found["narrowing"]]).all()
    assert not CLAIMS["cone"].bound.holds(found["cone_ratio"]).any()


def test_without_hidden_layers_the_kernel_does_not_change():
    with asking(Asked("eager")):
        found = EXPERIMENT.metrics(EXPERIMENT.run(TINY.replace(hidden=0)))
    assert found["S_total"] == found["path_cone"] == 0


def test_figure_and_frames_of_a_run(tiny):
    assert tiny.at("distance").tolist() == [k * 500 // 30 for k in range(KERNELS)]
    metrics = EXPERIMENT.metrics(tiny)
    heat, away, speed, ways = EXPERIMENT.panels(tiny)
    S = cone.distances(tiny)
    assert np.isfinite(S).all()
    np.testing.assert_allclose(heat.marks[0].z, np.median(S, 0))
    np.testing.assert_allclose(away.marks[0].y[-1], np.median(metrics["S_total"]))
    np.testing.assert_allclose(speed.marks[0].low.sum() + speed.marks[0].high.sum(), cone.speeds(S).sum())
    np.testing.assert_allclose(speed.marks[1].y[-1], np.median(tiny.last("train_loss")))
    walked, gained = ways.marks
    np.testing.assert_allclose(walked.y, [np.median(metrics[f"path_{part}"]) for part in ("early", "cone", "late")])
    assert (gained.y < walked.y).all()
    assert away.marks[-1].x == 500 // 3


def test_before_the_end_ratios_are_not_known(tiny):
    found = EXPERIMENT.metrics(tiny.until(300))
    assert np.isnan([found[name] for name in ("S_total", "cone_ratio", "narrowing", "path_cone")]).all()
    assert (found["path_early"] > 0).all()
    assert [panel.title for panel in EXPERIMENT.panels(tiny.until(0))] == [p.title for p in EXPERIMENT.panels(tiny)]


@pytest.mark.claims
def test_claims_hold_for_a_fresh_seed_and_their_controls_fail():
    found = {
        name: run_metrics(EXPERIMENT, EXPERIMENT.run(EXPERIMENT.configure(name), (811,)))
        for name in ("cone", "wide", "frozen")
    }
    for claim in CLAIMS.values():
        assert claim.where(Config())
        assert claim.bound.holds(found["cone"][claim.metric]).all(), claim.id
        (control,) = claim.controls
        (preset,) = (name for name in ("wide", "frozen") if EXPERIMENT.presets[name].changes == control.changes)
        assert not claim.bound.holds(found[preset][claim.metric]).any(), claim.id
        assert not any(claim.where(EXPERIMENT.configure(name)) for name in ("wide", "frozen", "slow"))
