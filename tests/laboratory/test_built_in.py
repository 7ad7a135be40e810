"""Each probe against its naive definition on a small network."""

import math

import numpy as np
import pytest
import torch
from small_network import ALL, EVERYTHING, Config, Small, frames, problem

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.training import to_the_end
from dyntoolkit.laboratory.built_in import limit, two_over_lr
from dyntoolkit.laboratory.losses import cross_entropy

SEEDS = (0, 1)
LAST = 30


def run(**changes):
    configs = [Config(steps=LAST, **EVERYTHING, **changes)] * 2
    return to_the_end(History("small", configs, SEEDS), frames(configs, SEEDS))


@pytest.fixture(scope="module")
def plain():
    return run(optimizer="sgd", lr=0.1)


@pytest.fixture(scope="module")
def adam():
    return run(optimizer="adam", lr=0.01)


DATA = problem(True, 1)
MODEL = Small(True)


def loss(theta):
    return cross_entropy(MODEL(theta[None], DATA.x), DATA.y)[0]


def ends(history, r):
    return (torch.from_numpy(history["theta"][k, r]).double() for k in (0, -1))


def hessian(theta):
    data = DATA._replace(x=DATA.x.double())
    return torch.func.hessian(lambda theta: cross_entropy(MODEL(theta[None], data.x), data.y)[0])(theta)


def test_every_probe_gives_a_number_for_each_run(plain):
    for probe in ALL:
        rows = plain[probe.name]
        lines = probe.lines(MODEL) if probe.lines else None
        assert rows.shape[1:] == ((2,) if lines is None else (2, len(lines))), probe.name


def test_sharpness_is_the_largest_eigenvalue(plain):
    for r in range(2):
        _, theta = ends(plain, r)
        expected = torch.linalg.eigvalsh(hessian(theta))[-1]
        assert plain["sharpness"][-1, r] == pytest.approx(expected.item(), rel=2e-3)


def test_preconditioned_sharpness_and_curvature_of_gradient_descent_are_those_of_the_hessian(plain):
    np.testing.assert_allclose(plain["preconditioned_sharpness"], plain["sharpness"], rtol=1e-3)
    _, theta = ends(plain, 0)
    H, g = hessian(theta), torch.func.grad(lambda t: cross_entropy(MODEL(t[None], DATA.x.double()), DATA.y)[0])(theta)
    assert plain["gradient_curvature"][-1, 0] == pytest.approx((g @ H @ g / (g @ g)).item(), rel=1e-3)


def test_preconditioned_sharpness_of_adam(adam):
    square = torch.zeros(adam["theta"].shape[2], dtype=torch.float64)
    for theta in adam["theta"][:LAST, 0]:
        leaf = torch.from_numpy(theta).clone().requires_grad_()
        (g,) = torch.autograd.grad(loss(leaf), leaf)
        square = 0.999 * square + 0.001 * g.double().square()
    root = (1 / ((square / (1 - 0.999**LAST)).sqrt() + 1e-8)).sqrt()
    _, theta = ends(adam, 0)
    largest = torch.linalg.eigvalsh(root[:, None] * hessian(theta) * root)[-1].item()
    factor = (1 - 0.9) / ((1 + 0.9) * (1 - 0.9**LAST))
    assert adam["preconditioned_sharpness"][-1, 0] == pytest.approx(largest * factor, rel=1e-2)
    assert math.isnan(adam["preconditioned_sharpness"][0, 0])  # before the first update there is none


def test_change_of_the_tangent_kernel(plain):
    kernels = []
    for theta in ends(plain, 1):
        J = torch.func.jacrev(lambda t: MODEL(t[None], DATA.x.double())[0].sum(1))(theta)  # (n, P)
        kernels.append(J @ J.T)
    expected = (kernels[1] - kernels[0]).norm() / kernels[0].norm()
    assert plain["kernel_distance"][-1, 1] == pytest.approx(expected.item(), rel=1e-3)
    assert plain["kernel_distance"][0, 1] == 0


def test_weight_norms_and_distance(plain):
    first, theta = ends(plain, 0)
    assert plain["weight_norms"][-1, 0, 0] == pytest.approx(theta[:15].norm().item(), rel=1e-5)
    assert plain["distance"][-1, 0] == pytest.approx(((theta - first).norm() / first.norm()).item(), rel=1e-5)


def test_gradient_noise_scale(plain):
    _, theta = ends(plain, 0)
    x = DATA.x[0].double()
    rows = [
        torch.func.grad(lambda t, i=i: cross_entropy(MODEL(t[None], x[None, i : i + 1]), DATA.y[:, i : i + 1])[0])(
            theta
        )
        for i in range(len(x))
    ]
    g = torch.stack(rows)
    expected = g.var(0, correction=0).sum() / g.mean(0).square().sum()
    assert plain["noise_scale"][-1, 0] == pytest.approx(expected.item(), rel=1e-3)


def test_labels_fitted_without_wrong_ones(plain):
    np.testing.assert_allclose(plain["labels_fitted"][:, :, 0], plain["accuracy"])
    assert np.isnan(plain["labels_fitted"][:, :, 1]).all()


@pytest.mark.parametrize(
    ("optimizer", "expected"), [("sgd", 20.0), ("momentum", 38.0), ("adam", math.nan), ("sign", math.nan)]
)
def test_limits(optimizer, expected):
    config = Config(optimizer=optimizer, lr=0.1)
    assert two_over_lr(config) == pytest.approx(expected, nan_ok=True)
    assert limit(config) == pytest.approx(math.nan if optimizer == "sign" else 20.0, nan_ok=True)
