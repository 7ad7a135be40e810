import pytest
import torch

from dyntoolkit.probes.alignment import alignment, matrix_alignment


def test_alignment_is_the_share_of_the_squared_norm_along_the_direction():
    W = torch.tensor([[[3.0, 4.0], [0.0, 5.0]], [[0.0, 2.0], [0.0, -1.0]]])
    direction = torch.tensor([[1.0, 0.0], [0.0, 7.0]])  # of any length
    torch.testing.assert_close(alignment(W, direction), torch.tensor([9 / 50, 1.0]))


def test_alignment_of_random_rows_is_chance():
    W = torch.randn(1, 20_000, 10, generator=torch.Generator().manual_seed(0))
    direction = torch.randn(1, 10, generator=torch.Generator().manual_seed(1))
    assert alignment(W, direction).item() == pytest.approx(0.1, abs=0.005)


def test_matrix_alignment_is_the_cosine_with_the_directions_own_matrix():
    M = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(2))
    b = torch.randn(2, 4, generator=torch.Generator().manual_seed(3))
    own = torch.stack([torch.outer(v, v) for v in b])
    expected = [torch.nn.functional.cosine_similarity(M[r].flatten(), own[r].flatten(), dim=0) for r in range(2)]
    torch.testing.assert_close(matrix_alignment(M, b), torch.stack(expected))
    torch.testing.assert_close(matrix_alignment(3 * own, b), torch.ones(2))
    torch.testing.assert_close(matrix_alignment(torch.eye(4).expand(2, 4, 4), b), torch.full((2,), 0.5))
