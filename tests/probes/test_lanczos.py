import pytest
import torch

from dyntoolkit.probes.lanczos import lanczos


def symmetric(R, P, seed=0):
    A = torch.randn(R, P, P, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return A + A.mT


def applied(A):
    return lambda v: (A @ v.unsqueeze(2)).squeeze(2)


@pytest.mark.parametrize("P", [1, 2, 7, 20])
def test_exact_for_small_operators(P):
    A = symmetric(3, P)
    torch.testing.assert_close(lanczos(applied(A), A[:, 0]), torch.linalg.eigvalsh(A)[:, -1])


def test_an_outlier_of_a_large_operator_is_found_from_below():
    A = symmetric(2, 200) / 200**0.5  # a bulk up to 2 * 2**0.5, as Hessians have, and an outlier
    u = torch.nn.functional.normalize(torch.ones(200, dtype=torch.float64), dim=0)
    A = A + 8 * torch.outer(u, u)
    found, expected = lanczos(applied(A), A[:, 0]), torch.linalg.eigvalsh(A)[:, -1]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)
    assert (found <= expected + 1e-9).all()


@pytest.mark.parametrize("value", [0.0, -2.0, 3.0])
def test_a_multiple_of_the_identity_has_one_direction_only(value):
    like = torch.ones(2, 9, dtype=torch.float64)
    torch.testing.assert_close(lanczos(lambda v: value * v, like), torch.full((2,), value, dtype=torch.float64))


def test_runs_do_not_meet():
    A = symmetric(3, 30)
    A[1] = torch.nan
    found = lanczos(applied(A), A[:, 0])
    assert torch.isnan(found).tolist() == [False, True, False]
    torch.testing.assert_close(found[2], lanczos(applied(A[2:]), A[2:, 0])[0])
