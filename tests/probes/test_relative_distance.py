import pytest
import torch

from dyntoolkit.probes.relative_distance import relative_distance


def test_relative_distance_is_the_length_of_the_change_over_the_length_at_first():
    W0 = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]])
    W = torch.tensor([[[3.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]])
    assert relative_distance(W, W0).tolist() == pytest.approx([3 / 5, 0.0])
