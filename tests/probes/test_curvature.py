"""Sharpness, preconditioned sharpness and curvature along the gradient against their definitions."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from dyntoolkit.engine.layers import MLP
from dyntoolkit.probes.gradient_curvature import gradient_curvature, hessian_product, loss_gradient_product
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor, preconditioned_sharpness
from dyntoolkit.probes.sharpness import sharpness

NETWORK = MLP((2, 4, 1), torch.tanh)
X = torch.linspace(-1, 1, 14, dtype=torch.float64).view(7, 2)
THETA = torch.randn(3, NETWORK.parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
D = torch.rand(THETA.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1


def loss(theta):
    return (NETWORK(theta, X)[..., 0] - X[:, 0].sin()).square().mean(1)


def hessians():
    return torch.stack([torch.func.hessian(lambda row: loss(row[None])[0])(row) for row in THETA])


def test_sharpness_is_the_largest_eigenvalue():
    H = hessians()
    expected = [eigsh(h.numpy(), k=1, which="LA")[0][0] for h in H]
    np.testing.assert_allclose(sharpness(H), expected, rtol=1e-8)
    assert sharpness(torch.diag(torch.tensor([-5.0, 1.0]))) == 1.0  # the largest, not the longest


def test_sharpness_agrees_with_lanczos_on_products_alone():
    product = hessian_product(loss, THETA[:1])
    operator = LinearOperator(
        (THETA.shape[1],) * 2, lambda v: product(torch.from_numpy(v).view(1, -1))[0].numpy(), dtype=np.float64
    )
    assert float(sharpness(hessians())[0]) == pytest.approx(eigsh(operator, k=1, which="LA")[0][0], rel=1e-8)


def test_preconditioned_sharpness_is_the_largest_eigenvalue_of_d_h():
    H = hessians()
    expected = [np.linalg.eigvals((d[:, None] * h).numpy()).real.max() for d, h in zip(D, H, strict=True)]
    np.testing.assert_allclose(preconditioned_sharpness(H, D), expected, rtol=1e-8)


def test_hessian_product_is_the_product_with_the_dense_hessian():
    v = torch.cos(torch.arange(THETA.numel(), dtype=torch.float64)).view_as(THETA)
    torch.testing.assert_close(hessian_product(loss, THETA)(v), (hessians() @ v.unsqueeze(2)).squeeze(2))


def test_the_product_comes_with_loss_and_gradient_in_any_thread_mode():
    v = torch.cos(torch.arange(THETA.numel(), dtype=torch.float64)).view_as(THETA)
    with torch.no_grad():
        value, gradient, product = loss_gradient_product(loss, THETA)
        Hv = product(v)
        assert torch.equal(product(v), Hv)  # as often as wanted
    torch.testing.assert_close(value, loss(THETA))
    torch.testing.assert_close(gradient, torch.func.grad(lambda theta: loss(theta).sum())(THETA))
    assert not any(each.requires_grad for each in (value, gradient, Hv))


def test_gradient_curvature_is_the_quotient_of_the_recipe():
    g = torch.stack([torch.func.grad(lambda row: loss(row[None])[0])(row) for row in THETA])
    found = gradient_curvature(hessian_product(loss, THETA), g, D)
    for r, H in enumerate(hessians()):
        assert float(found[r]) == pytest.approx(float(g[r] @ torch.diag(D[r]) @ H @ g[r] / (g[r] @ g[r])), rel=1e-9)


def test_the_momentum_factor_starts_at_the_plain_step_and_ends_at_heavy_balls():
    beta1 = torch.tensor([0.0, 0.9], dtype=torch.float64)
    assert momentum_factor(beta1, torch.tensor(1)).tolist() == pytest.approx([1.0, 1 / 1.9])
    assert float(momentum_factor(beta1, torch.tensor(10**6))[1]) == pytest.approx(0.1 / 1.9)
