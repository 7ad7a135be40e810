import math

import pytest
import torch

from dyntoolkit.probes.effective_rank import effective_rank


def test_equal_eigenvalues_count_as_their_number():
    gram = torch.stack([torch.diag(torch.tensor(v)) for v in ([2.0, 2.0, 0.0], [1.0, 0.0, 0.0], [4.0, 4.0, 4.0])])
    torch.testing.assert_close(effective_rank(gram), torch.tensor([2.0, 1.0, 3.0]))


def test_unequal_eigenvalues_give_the_exponential_of_their_entropy():
    W = torch.randn(1, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    share = torch.linalg.svdvals(W[0]) ** 2
    share = [float(s / share.sum()) for s in share]
    naive = math.exp(-sum(s * math.log(s) for s in share))
    assert effective_rank(W.mT @ W).item() == pytest.approx(naive)


def test_a_run_that_is_not_finite_or_zero_is_nan_and_harms_no_other():
    gram = torch.stack([torch.full((2, 2), math.nan), torch.eye(2), torch.zeros(2, 2), torch.full((2, 2), math.inf)])
    rank = effective_rank(gram)
    assert rank[1] == pytest.approx(2.0)
    assert rank[[0, 2, 3]].isnan().all()


def test_eigenvalues_that_rounding_makes_negative_count_as_zero():
    W = torch.randn(50, 1, 10, generator=torch.Generator().manual_seed(0))  # rank one
    gram = W.mT @ W
    assert (torch.linalg.eigvalsh(gram) < 0).any()
    torch.testing.assert_close(effective_rank(gram), torch.ones(50), rtol=1e-4, atol=1e-4)
