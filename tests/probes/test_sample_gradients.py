import torch

from dyntoolkit.engine.layers import MLP
from dyntoolkit.probes.sample_gradients import sample_gradients


def test_as_sample_by_sample():
    network = MLP((3, 4, 2), torch.tanh)
    generator = torch.Generator().manual_seed(0)
    theta, x, y = (
        torch.randn(*shape, generator=generator) for shape in ((2, network.parameters), (2, 5, 3), (2, 5, 2))
    )

    def loss(theta, x, y):
        return (network(theta, x) - y).square().mean((1, 2))

    found = sample_gradients(loss, theta, x, y)
    assert found.shape == (2, 5, network.parameters)
    for r in range(2):
        for i in range(5):
            leaf = theta[r : r + 1].clone().requires_grad_()
            (expected,) = torch.autograd.grad(loss(leaf, x[r : r + 1, i : i + 1], y[r : r + 1, i : i + 1]).sum(), leaf)
            torch.testing.assert_close(found[r, i], expected[0])
