import torch

from dyntoolkit.probes.tangent_rank import tangent_rank, tangent_singular_values

GRID = torch.linspace(-1, 1, 50, dtype=torch.float64)


def test_the_derivatives_are_those_of_autograd():
    theta = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def network(t):
        w, b, a = t
        return (a[:, None] * torch.tanh(w[:, None] * GRID + b[:, None])).sum(0)

    found = tangent_singular_values(*theta.unbind(1), GRID)
    for r in range(2):
        jacobian = torch.autograd.functional.jacobian(network, theta[r]).reshape(len(GRID), -1)
        torch.testing.assert_close(found[r], torch.linalg.svdvals(jacobian))


def test_equal_neurons_count_once_and_three_each():
    w = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -2.0, -2.0]], dtype=torch.float64)
    values = tangent_singular_values(w, w, torch.full_like(w, 0.25), GRID)
    assert tangent_rank(values).tolist() == [3, 6]


def test_the_rank_counts_what_is_large_beside_the_largest():
    values = torch.tensor([[10.0, 1.0, 2e-7, 1e-8], [1.0, 1.0, 1.0, 0.0]])
    assert tangent_rank(values).tolist() == [3, 3]
    assert tangent_rank(values, 0.5).tolist() == [1, 3]
