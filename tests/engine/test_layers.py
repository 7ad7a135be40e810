import pytest
import torch
from torch import nn

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP, linear

R, N = 3, 7


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_linear_is_nn_linear_run_by_run(bias, shared):
    x = normal(N, 4) if shared else normal(R, N, 4)
    weight, b = normal(R, 4, 5), normal(R, 1, 5) if bias else None
    output = linear(x, weight, b)
    assert output.shape == (R, N, 5)
    for r in range(R):
        expected = nn.functional.linear(x if shared else x[r], weight[r].T, b[r, 0] if bias else None)
        torch.testing.assert_close(output[r], expected)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
@pytest.mark.parametrize("sizes", [(4, 1), (4, 6, 2), (4, 5, 6, 3)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_mlp_is_its_torch_twin_forward_and_backward(twin, name, sizes, bias, shared):
    network = MLP(sizes, ACTIVATIONS[name], bias)
    theta = 0.7 * normal(R, network.parameters)
    x = normal(N, 4) if shared else normal(R, N, 4)
    y = normal(N, sizes[-1])
    loss, gradient = value_and_grad(lambda theta: (network(theta, x) - y).square().mean((1, 2)))(theta)
    features = network.features(theta, x)
    for r in range(R):
        alone = twin(network, theta[r])
        expected = alone.features(x if shared else x[r])
        for ours, theirs in zip(features, expected, strict=True):
            torch.testing.assert_close(ours[r], theirs)
        torch.testing.assert_close(network(theta, x)[r], expected[-1])
        mean = nn.functional.mse_loss(expected[-1], y)
        mean.backward()
        torch.testing.assert_close(loss[r], mean.detach())
        torch.testing.assert_close(gradient[r], alone.flat(lambda p: p.grad))


def test_layout_of_theta_is_weight_then_bias_of_each_layer_and_the_blocks_are_views():
    network = MLP((2, 3, 1), torch.tanh)
    theta = torch.arange(2 * network.parameters, dtype=torch.float32).view(2, -1)
    (w1, b1), (w2, b2) = network.split(theta)
    assert w1[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert b1[0].tolist() == [[6, 7, 8]]
    assert w2[0].tolist() == [[9], [10], [11]]
    assert b2[1].tolist() == [[25]]
    assert w2.untyped_storage().data_ptr() == theta.untyped_storage().data_ptr()


def test_without_bias_the_blocks_are_the_weights_alone():
    network = MLP((2, 3, 1), torch.tanh, bias=False)
    assert network.parameters == 9
    assert [(tuple(weight.shape), bias) for weight, bias in network.split(torch.zeros(2, 9))] == [
        ((2, 2, 3), None),
        ((2, 3, 1), None),
    ]
