import torch

from dyntoolkit.probes.disagreement import disagreement


def test_share_of_points_in_another_class():
    one = torch.tensor([[3.0, 1.0], [0.0, 1.0], [0.0, 1.0], [5.0, 2.0]])  # classes 0, 1, 1, 0
    other = torch.tensor([[0.1, 0.0], [1.0, 0.0], [0.0, 9.0], [0.0, 1.0]])  # 0, 0, 1, 1
    found = disagreement(torch.stack([one, other]), one)
    assert found.tolist() == [0, 0.5]
    assert found.dtype == torch.float64
