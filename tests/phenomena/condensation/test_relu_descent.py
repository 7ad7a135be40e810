import pytest
import torch

from dyntoolkit.engine.loop import full_batch, train
from dyntoolkit.phenomena.condensation.relu_descent import State, kernel_trace, make_step, ntk_step
from dyntoolkit.phenomena.condensation.two_layer import gradient, outputs

X, Y = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64), torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64)


def networks(runs=2, m=5):
    return torch.randn(runs, 3, m, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_the_step_uses_each_networks_own_rate():
    theta = networks()
    after = make_step(X, Y, torch.tensor([0.1, 0.0]))(State(theta), None).theta
    torch.testing.assert_close(after[0], theta[0] - 0.1 * gradient(theta, X, Y, "relu")[0])
    assert torch.equal(after[1], theta[1])


def test_the_trace_of_the_kernel_is_the_sum_of_squared_derivatives():
    theta = networks()
    trace = kernel_trace(theta, X)
    for r in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda t: outputs(t[None], X, "relu")[0], theta[r])  # (n, 3, m)
        assert trace[r].item() == pytest.approx(jacobian.square().sum().item())
    torch.testing.assert_close(ntk_step(theta, X, 0.5, 2.0), 0.5 / (2 / 3 * trace + 2))


def test_a_network_is_the_same_alone_and_among_others():
    theta = networks(6, 20).float()
    lr = ntk_step(theta, X.float(), 1.0, 2.0)

    def end(rows):
        step = make_step(X.float(), Y.float(), lr[rows])
        frames = train(State(theta[rows]), step, full_batch, (0, 100), lambda k, s: {"t": s})
        return list(frames)[-1].values["t"].theta

    torch.testing.assert_close(end(slice(2, 3))[0], end(slice(None))[2], rtol=1e-4, atol=1e-5)
