import threading

import pytest
import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.layers import MLP

NETWORK = MLP((3, 5, 1), torch.tanh)
X = torch.linspace(-1, 1, 12).view(4, 3)
THETA = torch.sin(torch.arange(3.0 * NETWORK.parameters)).view(3, -1)


def loss(theta, x):
    return NETWORK(theta, x).square().mean((1, 2))


def test_each_run_has_the_gradient_of_its_own_loss():
    value, gradient = value_and_grad(loss)(THETA, X)
    jacobian = torch.func.jacrev(loss)(THETA, X)  # (R, R, P)
    torch.testing.assert_close(value, loss(THETA, X))
    for r in range(3):
        torch.testing.assert_close(gradient[r], jacobian[r, r])
        assert not jacobian[r, [q for q in range(3) if q != r]].any()


def test_nothing_keeps_a_graph_and_theta_is_left_alone():
    theta = THETA.clone().requires_grad_()
    value, gradient = value_and_grad(loss)(theta, X)
    assert not value.requires_grad
    assert not gradient.requires_grad
    assert theta.grad is None


@pytest.mark.parametrize("enabled", [True, False])
def test_it_works_in_any_thread_whatever_the_grad_mode(enabled):
    results = []

    def work():
        with torch.set_grad_enabled(enabled):
            results.append(value_and_grad(loss)(THETA, X))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    expected = value_and_grad(loss)(THETA, X)
    assert all(torch.equal(ours, here) for ours, here in zip(results[0], expected, strict=True))
