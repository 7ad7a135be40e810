import torch

from dyntoolkit.probes.power_iteration import any_vector, power_iteration


def symmetric(R, P):
    A = torch.randn(R, P, P, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return A @ A.mT


def applied(A):
    return lambda v: (A @ v.unsqueeze(2)).squeeze(2)


def test_it_finds_the_largest_eigenvalue_and_its_unit_vector():
    A = symmetric(3, 6)
    values, vectors = torch.linalg.eigh(A)
    found, v = power_iteration(applied(A), any_vector(A[:, 0]), 400)
    torch.testing.assert_close(found, values[:, -1])
    torch.testing.assert_close((v * vectors[:, :, -1]).sum(1).abs(), torch.ones(3, dtype=torch.float64))


def test_one_iteration_is_the_definition():
    A, v = symmetric(2, 5), torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    unit = v / v.norm(dim=1, keepdim=True)
    found, after = power_iteration(applied(A), 7 * v, 1)
    torch.testing.assert_close(found, torch.einsum("rp,rpq,rq->r", unit, A, unit))
    torch.testing.assert_close(after, torch.nn.functional.normalize(applied(A)(unit), dim=1))


def test_an_eigenvalue_below_zero_is_found_where_it_is_the_largest_in_size():
    A = torch.diag_embed(torch.tensor([[1.0, -3.0, 2.0]], dtype=torch.float64))
    torch.testing.assert_close(power_iteration(applied(A), torch.ones_like(A[:, 0]), 200)[0].item(), -3.0)


def test_runs_do_not_meet():
    A = symmetric(3, 8)
    A[1] = torch.nan
    found, _ = power_iteration(applied(A), any_vector(A[:, 0]), 9)
    assert torch.isnan(found).tolist() == [False, True, False]
    torch.testing.assert_close(found[2:], power_iteration(applied(A[2:]), any_vector(A[2:, 0]), 9)[0])
