import torch

from dyntoolkit.probes.dead_units import dead_units


def test_share_of_units_that_tell_no_samples_apart():
    first = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]], [[0.0, 1.0, 5.0], [1.0, 2.0, 5.0]]])  # (2, 2, 3)
    second = torch.tensor([[[3.0], [3.0]], [[3.0], [4.0]]])
    assert dead_units([first, second]).tolist() == [0.75, 0.25]
