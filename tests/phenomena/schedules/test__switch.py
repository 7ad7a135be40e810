"""Weights of the samples in the batches of three schedules, and means over frames."""

import numpy as np
import pytest
import torch

from dyntoolkit.errors import InputError
from dyntoolkit.phenomena.schedules._switch import check_batches, weights, window
from dyntoolkit.phenomena.schedules.catch_up import Config


def test_each_sample_has_its_weight_in_the_batch_of_each_schedule():
    configs = [Config(small_batch=2, large_batch=16, steps=1000, switch=p) for p in (0.5, 0.502)]
    found = weights(configs, 499, 503)  # (4, 2, 3, 16)
    torch.testing.assert_close(found.sum(-1), torch.ones(4, 2, 3))
    sizes = (found > 0).sum(-1)
    assert (sizes[:, :, 0] == 2).all()
    assert (sizes[:, :, 1] == 16).all()
    assert sizes[:, :, 2].tolist() == [[2, 2], [16, 2], [16, 2], [16, 16]]
    assert (found[..., 0, :2] == 0.5).all()


def test_a_window_is_the_mean_over_its_frames_for_each_run():
    steps, losses = np.array([0, 10, 20, 30]), np.arange(4.0)[:, None, None] * np.ones((1, 2, 3))
    found = window(steps, losses, np.array([0, 30]), np.array([20, 40]))
    np.testing.assert_array_equal(found, [[1.5] * 3, [np.nan] * 3])


def test_the_large_batch_is_larger():
    check_batches(8, 16)
    with pytest.raises(InputError, match="large_batch must be at least 2 small_batch = 32, got 16"):
        check_batches(16, 16)
