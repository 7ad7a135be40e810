"""Training of the tiny transformer against torch's own optimizer and clipping, run by run."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import GAINS, Transformer
from dyntoolkit.engine.update import Adam
from dyntoolkit.phenomena._number_text import tokens
from dyntoolkit.phenomena._text_training import (
    make_step,
    schedule,
    training_starts,
    validation_windows,
    windows,
)

NETWORK = Transformer(24, width=8)
SETTINGS = [SimpleNamespace(lr=0.003, weight_decay=0.3, steps=50), SimpleNamespace(lr=0.1, weight_decay=0.0, steps=50)]


def batches(n):
    return windows(training_starts([3, 4], "batches", n, 4)).unbind(1)


def test_a_step_is_torchs_adamw_on_clipped_gradients_with_gains_that_do_not_decay():
    step, start = make_step(NETWORK, SETTINGS), NETWORK.init(Stream([3, 4], "init")).double()
    start *= torch.where(NETWORK.mask("head"), 50, 1)  # so that gradients are clipped
    state = Adam.start(start)
    for batch in batches(8):
        state = step(state, batch)
    spared = NETWORK.mask(*GAINS)
    for r, config in enumerate(SETTINGS):
        gains, others = (torch.nn.Parameter(start[r][part].clone()) for part in (spared, ~spared))
        groups = [{"params": [gains], "weight_decay": 0.0}, {"params": [others], "weight_decay": config.weight_decay}]
        optimizer, clipped = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8), 0
        for t, batch in enumerate(batches(8)):
            for group in optimizer.param_groups:
                rise, fall = min(1, (t + 1) / 5), 0.05 + 0.475 * (1 + math.cos(math.pi * t / 50))
                group["lr"] = config.lr * rise * fall
            row = torch.zeros_like(start[r]).masked_scatter(spared, gains).masked_scatter(~spared, others)
            logits = NETWORK(row[None], batch[r : r + 1, :, :-1])
            optimizer.zero_grad()
            functional.cross_entropy(logits[0].flatten(0, 1), batch[r, :, 1:].flatten()).backward()
            clipped += float(torch.nn.utils.clip_grad_norm_([gains, others], 1.0)) > 1
            optimizer.step()
        assert clipped > 0
        close = {"rtol": 1e-4, "atol": 1e-5}  # torch divides by the norm plus 1e-6
        torch.testing.assert_close(state.theta[r][spared], gains.detach(), **close)
        torch.testing.assert_close(state.theta[r][~spared], others.detach(), **close)


def test_the_learning_rate_rises_for_a_tenth_of_the_steps_and_falls_to_a_twentieth():
    share = schedule(torch.arange(201), 200)
    assert float(share[0]) == pytest.approx(0.05)
    assert int(share.argmax()) == 19
    assert float(share[100]) == pytest.approx(0.525)
    assert float(share[200]) == pytest.approx(0.05)


def test_windows_lie_in_the_training_text_and_reach_its_end():
    starts = training_starts(range(4), "batches", 100000)
    assert int(starts.min()) == 0
    assert int(starts.max()) + 33 == 54000
    assert torch.equal(windows(torch.tensor([[7]]))[0, 0], tokens()[7:40])
    assert torch.equal(training_starts([2], "batches", 10)[0], starts[2, :10])


def test_validation_windows_lie_in_the_rest_of_the_text():
    found = validation_windows(2)
    assert found.shape == (2, 32, 33)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0, 0], tokens()[54000:54033])
    assert torch.equal(found[0, -1], tokens()[60000 - 33 :])
