import pytest
import torch

from dyntoolkit.probes.alignment import alignment


def test_alignment_is_the_share_of_the_squared_norm_along_the_direction():
    W = torch.tensor([[[3.0, 4.0], [0.0, 5.0]], [[0.0, 2.0], [0.0, -1.0]]])
    direction = torch.tensor([[1.0, 0.0], [0.0, 7.0]])  # of any length
    torch.testing.assert_close(alignment(W, direction), torch.tensor([9 / 50, 1.0]))


def test_alignment_of_random_rows_is_chance():
    W = torch.randn(1, 20_000, 10, generator=torch.Generator().manual_seed(0))
    direction = torch.randn(1, 10, generator=torch.Generator().manual_seed(1))
    assert alignment(W, direction).item() == pytest.approx(0.1, abs=0.005)
