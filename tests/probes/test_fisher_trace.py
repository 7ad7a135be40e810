"""Fisher diagonal and average sharpness against their definitions."""

import pytest
import torch

from dyntoolkit.engine.layers import MLP
from dyntoolkit.probes.fisher_trace import average_sharpness, fisher_diagonal, sampled_labels

NETWORK = MLP((2, 3, 4), torch.tanh)
X = torch.linspace(-2, 2, 10, dtype=torch.float64).view(5, 2)
THETA = torch.randn(2, NETWORK.parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def model(theta):
    return NETWORK(theta, X)


def uniform(draws):
    return torch.rand(2, draws, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gradient(row, token, label):
    """d ln p(label) / d theta for one token of one run."""
    return torch.func.grad(lambda at: model(at[None])[0, token].log_softmax(0)[label])(row)


def test_each_draw_is_the_squared_gradient_of_the_mean_cross_entropy_times_the_tokens():
    u = uniform(3)
    found = fisher_diagonal(model, THETA, u)
    for r, row in enumerate(THETA):
        labels = sampled_labels(model(THETA)[r].softmax(1), u[r])  # (3, 5)
        draws = [torch.stack([gradient(row, t, int(k)) for t, k in enumerate(drawn)]).mean(0) for drawn in labels]
        torch.testing.assert_close(found[r], sum(5 * g.square() for g in draws) / 3)


def test_over_many_draws_it_is_the_exact_fisher_information():
    found = fisher_diagonal(model, THETA, uniform(4000))
    for r, row in enumerate(THETA):
        p = model(THETA)[r].softmax(1)  # (5, 4)
        exact = sum(p[t, k] * gradient(row, t, k).square() for t in range(5) for k in range(4)) / 5
        assert float(found[r].sum()) == pytest.approx(float(exact.sum()), rel=0.03)
        torch.testing.assert_close(found[r], exact, rtol=0.2, atol=0.01)


def test_labels_come_as_often_as_the_model_says():
    p = torch.tensor([0.5, 0.0, 0.2, 0.3])
    labels = sampled_labels(p.expand(1000, 4), (torch.arange(1000) + 0.5) / 1000)
    assert torch.bincount(labels, minlength=4).tolist() == [500, 0, 200, 300]
    assert sampled_labels(torch.tensor([0.5, 0.4999]), torch.tensor(0.99995)) == 1


def test_it_works_where_gradients_are_off_and_leaves_no_graph():
    with torch.no_grad():
        assert not fisher_diagonal(model, THETA, uniform(1)).requires_grad


def test_the_average_sharpness_is_the_trace_over_a_block_per_weight():
    block = torch.tensor([True, False, True])
    assert average_sharpness(torch.tensor([[1.0, 5.0, 3.0], [0.0, 9.0, 1.0]]), block).tolist() == [2.0, 0.5]
