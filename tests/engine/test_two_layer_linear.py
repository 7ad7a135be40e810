import pytest
import torch
from torch import nn

from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.two_layer_linear import forward, gradients

R, B, M, D, SCALE = 3, 7, 5, 4, 0.3


@pytest.fixture
def tensors():
    draw = Stream((4, 5, 6), "test")
    double = torch.float64
    return (draw.normal(B, D, dtype=double), draw.normal(B, dtype=double)), (
        draw.normal(M, D, dtype=double),
        draw.normal(M, dtype=double),
    )


def test_forward_is_two_linear_layers_of_torch(tensors):
    (x, _), (W, a) = tensors
    found = forward(x, W, a, SCALE)
    for r in range(R):
        twin = nn.Sequential(nn.Linear(D, M, bias=False), nn.Linear(M, 1, bias=False)).double()
        twin[0].weight.data, twin[1].weight.data = W[r], a[r : r + 1]
        torch.testing.assert_close(found[r], SCALE * twin(x[r])[:, 0].detach())


def test_gradients_are_those_of_autograd(tensors):
    (x, target), (W, a) = tensors
    found = gradients(x, target, W, a, SCALE)
    leaves = W.clone().requires_grad_(), a.clone().requires_grad_()
    loss = (forward(x, *leaves, SCALE) - target).square().mean(1) / 2  # (R,)
    torch.testing.assert_close(found, torch.autograd.grad(loss.sum(), leaves))


def test_gradients_leave_their_arguments_alone(tensors):
    (x, target), (W, a) = tensors
    before = [t.clone() for t in (x, target, W, a)]
    gradients(x, target, W, a, SCALE)
    torch.testing.assert_close([x, target, W, a], before, rtol=0, atol=0)
