"""Quantities of every step, carried in blocks."""

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import History
from dyntoolkit.engine.update import Sgd
from dyntoolkit.phenomena.loss_spikes._trace import trace, traced


def counted(steps):
    """A history of two runs that add 1 and 10 at each step; their weights are measured."""
    history = History("counting", [None] * 2, [0, 1])
    added = torch.tensor([[1.0], [10.0]], dtype=torch.float64)
    firsts = []

    def probe(before, after, first):
        firsts.append(first)
        torch.testing.assert_close(after.theta, before.theta + added)
        return {"theta": before.theta[..., 0]}

    start = Sgd(torch.zeros(2, 1, dtype=torch.float64))
    for frame in traced(start, lambda s, _: Sgd(s.theta + added), full_batch, steps, probe):
        history.append(frame)
    return history, firsts


def test_the_trace_holds_each_step_once_also_those_of_a_last_block_that_is_not_full():
    history, firsts = counted(120)
    assert history.at("theta").tolist() == [50, 100, 120]
    assert firsts == [0, 50, 100]
    np.testing.assert_array_equal(trace(history, "theta"), np.arange(120)[:, None] * [1, 10])


def test_before_anything_is_measured_the_trace_is_empty():
    history = History("counting", [None] * 2, [0, 1])
    assert trace(history, "theta").shape == (0, 2)
