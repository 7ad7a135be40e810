import torch

from dyntoolkit.engine.of_copies import of_copies


def test_the_copies_of_a_run_follow_one_another():
    part = torch.arange(12).view(2, 3, 2)
    assert torch.equal(of_copies(part, 4).view(2, 4, 3, 2), part[:, None].expand(2, 4, 3, 2))
