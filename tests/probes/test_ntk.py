import torch

from dyntoolkit.engine.two_layer_linear import forward
from dyntoolkit.probes.ntk import input_metric, kernel_change, linear_ntk

R, N, M, D, SCALE = 2, 6, 5, 3, 0.4


def draw(*shape, seed):
    return torch.randn(R, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_linear_ntk_is_the_product_of_the_networks_jacobians():
    x, W, a = draw(N, D, seed=0), draw(M, D, seed=1), draw(M, seed=2)
    found = linear_ntk(x, W, a, SCALE)
    for r in range(R):
        one = [t[r : r + 1] for t in (x, W, a)]
        jacobians = torch.autograd.functional.jacobian(
            lambda W, a, x=one[0]: forward(x, W, a, SCALE)[0], tuple(one[1:])
        )
        J = torch.cat([j.reshape(N, -1) for j in jacobians], dim=1)  # (N, parameters)
        torch.testing.assert_close(found[r], J @ J.T)


def test_kernel_change_is_that_of_the_whole_kernels():
    x = draw(N, D, seed=0)
    weights = [(draw(M, D, seed=s), draw(M, seed=s + 1)) for s in (1, 3)]
    P0, P = (input_metric(W, a) for W, a in weights)
    K0, K = (linear_ntk(x, W, a, SCALE) for W, a in weights)
    naive = (K - K0).flatten(1).norm(dim=1) / K0.flatten(1).norm(dim=1)
    torch.testing.assert_close(kernel_change(P, P0, x.mT @ x / N), naive)
