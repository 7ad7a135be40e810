import numpy as np
import pytest
import torch

from dyntoolkit.probes.barrier import ALPHAS, along_segment, barrier


def test_values_along_the_way_are_those_of_the_averaged_weights():
    first, second = torch.randn(2, 5, generator=torch.Generator().manual_seed(1)), torch.ones(2, 5)
    found = along_segment(lambda theta: torch.stack([theta.sum(1), theta.square().sum(1)]), first, second)
    assert found.shape == (2, 2, 11)
    for k, alpha in enumerate(ALPHAS):
        theta = alpha * first + (1 - alpha) * second
        torch.testing.assert_close(found[:, :, k], torch.stack([theta.sum(1), theta.square().sum(1)]).float())
    torch.testing.assert_close(found[0, :, 0], second.sum(1))  # alpha = 0 is the second network
    torch.testing.assert_close(found[0, :, -1], first.sum(1))


def test_a_barrier_is_the_rise_over_the_line_between_the_ends_and_never_negative():
    line, bump = 3 - 2 * ALPHAS, np.zeros(11)
    bump[7] = 0.4
    assert barrier(np.stack([line, line + bump, line - bump])) == pytest.approx([0, 0.4, 0], abs=1e-12)
