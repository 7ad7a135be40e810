"""The written-out gradient against autograd, the step from the kernel's trace, and the coordinates of the neurons."""

import math

import pytest
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.loop import train
from dyntoolkit.phenomena.condensation import _two_layer as two_layer

X, Y = torch.linspace(-1, 1, 7, dtype=torch.float64), torch.linspace(0, 2, 7, dtype=torch.float64).sin()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_is_that_of_the_loss(activation, masked):
    theta = torch.randn(3, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[2.0, 0, 2, 0, 2]], dtype=torch.float64).repeat(3, 1) if masked else None

    def loss(flat):
        h = two_layer.hidden(flat, X, activation)
        h = h if mask is None else h * mask.unsqueeze(1)
        return ((h @ flat[:, 2].unsqueeze(2)).squeeze(2) - Y).square().mean(1)

    value, expected = value_and_grad(loss)(theta)
    torch.testing.assert_close(two_layer.gradient(theta, X, Y, activation, mask), expected)
    if not masked:
        torch.testing.assert_close(two_layer.loss(theta, X, Y, activation), value)


def test_outputs_and_loss_are_those_of_the_naive_sum():
    theta = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    f, loss = two_layer.outputs(theta, X, "relu"), two_layer.loss(theta, X, Y, "relu")
    for r in range(2):
        for i, x in enumerate(X):
            value = sum(a * max(w * x + b, 0) for w, b, a in theta[r].T)
            assert f[r, i].item() == pytest.approx(float(value))
        assert loss[r].item() == pytest.approx(((f[r] - Y) ** 2).mean().item())


def test_the_slope_of_relu_is_zero_at_the_kink():
    theta = torch.tensor([[[1.0], [-0.5], [1.0]]], dtype=torch.float64)  # z = 0 at x = 0.5
    x, y = torch.tensor([0.5], dtype=torch.float64), torch.tensor([1.0], dtype=torch.float64)
    assert two_layer.gradient(theta, x, y, "relu").flatten().tolist() == [0, 0, 0]


def test_orientation_and_amplitude_of_known_neurons():
    theta = torch.tensor([[[1.0, 0, -1, 0], [0, 2, 0, -3], [3, -1, 1, 2]]])
    assert two_layer.orientation(theta)[0].tolist() == pytest.approx([0, 90, 180, -90])
    assert two_layer.amplitude(theta)[0].tolist() == pytest.approx([3, 2, 1, 6])
    assert math.isfinite(float(two_layer.outputs(theta, X.float(), "tanh").sum()))


def networks(runs=2, m=5):
    return torch.randn(runs, 3, m, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_step_uses_each_networks_own_rate(activation):
    theta = networks()
    step = two_layer.make_step(X, Y, torch.tensor([0.1, 0.0]), activation)
    after = step(two_layer.State(theta), None).theta
    torch.testing.assert_close(after[0], theta[0] - 0.1 * two_layer.gradient(theta, X, Y, activation)[0])
    assert torch.equal(after[1], theta[1])


def test_the_trace_of_the_kernel_is_the_sum_of_squared_derivatives():
    theta = networks()
    trace = two_layer.kernel_trace(theta, X)
    for r in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda t: two_layer.outputs(t[None], X, "relu")[0], theta[r]
        )  # (n, 3, m)
        assert trace[r].item() == pytest.approx(jacobian.square().sum().item())
    torch.testing.assert_close(two_layer.ntk_step(theta, X, 0.5, 2.0), 0.5 / (2 / 7 * trace + 2))


def test_a_network_is_the_same_alone_and_among_others():
    theta = networks(6, 20).float()
    lr = two_layer.ntk_step(theta, X.float(), 1.0, 2.0)

    def end(rows):
        step = two_layer.make_step(X.float(), Y.float(), lr[rows], "relu")
        frames = train(two_layer.State(theta[rows]), step, full_batch, (0, 100), lambda k, s: {"t": s})
        return list(frames)[-1].values["t"].theta

    torch.testing.assert_close(end(slice(2, 3))[0], end(slice(None))[2], rtol=1e-4, atol=1e-5)
