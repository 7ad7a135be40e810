import pytest
import torch

from dyntoolkit.engine.layers import MLP
from dyntoolkit.probes.tangent_kernel import tangent_kernel


@pytest.mark.parametrize("hidden", [(), (4,), (6, 5)])
@pytest.mark.parametrize(("activation", "bias"), [(torch.tanh, True), (torch.relu, False)])
def test_as_the_products_of_all_gradients(hidden, activation, bias):
    model = MLP((3, *hidden, 4), activation, bias)
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(2, model.parameters, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    found = tangent_kernel(model, theta, x)
    for r in range(2):
        jacobian = torch.func.jacrev(lambda row, r=r: model(row[None], x[r : r + 1])[0])(theta[r])  # (5, 4, P)
        torch.testing.assert_close(found[r], torch.einsum("icp,jcp->ij", jacobian, jacobian))
    assert not found.requires_grad
    torch.testing.assert_close(tangent_kernel(model, theta, x[0])[0], found[0])  # inputs that all runs share
