"""Attention of the tiny transformer: measurements against their definitions."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import Transformer
from dyntoolkit.phenomena._attention_measures import attention_measures
from dyntoolkit.phenomena._text_training import training_starts, windows


@pytest.mark.parametrize("qk_norm", [False, True])
def test_measures_are_those_of_the_recipe_place_by_place(qk_norm):
    network = Transformer(24, width=16, qk_norm=qk_norm)
    theta = 15 * network.init(Stream([0, 1], "init"))
    batch = windows(training_starts([0, 1], "batches", 3))  # (R, B, 33)
    found = attention_measures(network, theta, batch[..., :-1], batch[..., 1:], batch[:, :1, :-1])
    for r in range(2):
        logits, scores = network.forward(theta[r : r + 1], batch[r : r + 1, :, :-1])
        for layer, s in enumerate(scores):
            assert found["logit_max"][r, layer] == pytest.approx(float(s.abs().max()), rel=1e-5)
            entropies = []
            for b, head, i in np.ndindex(3, 2, 32):
                if i > 0:
                    a = torch.softmax(s[0, b, head, i, : i + 1].double(), 0)
                    entropies.append(-float((a * torch.log(a + 1e-12)).sum()))
            assert found["entropy"][r, layer] == pytest.approx(np.mean(entropies), rel=1e-5)
        loss = functional.cross_entropy(logits[0].flatten(0, 1), batch[r, :, 1:].flatten())
        assert found["loss"][r] == pytest.approx(float(loss), rel=1e-5)


def test_the_map_is_that_of_the_head_of_lowest_entropy():
    network = Transformer(24, width=16)
    theta = network.init(Stream([0], "init"))
    blocks = network.split(theta)  # views: in layer 2 the second head gets large queries and keys
    blocks["query1"][..., 8:] *= 100
    blocks["key1"][..., 8:] *= 100
    batch = windows(training_starts([0], "batches", 3))
    found = attention_measures(network, theta, batch[..., :-1], batch[..., 1:], batch[:, 2:, :-1])
    _, scores = network.forward(theta, batch[..., :-1])
    for i in (1, 31):
        expected = torch.softmax(scores[1][0, 2, 1, i, : i + 1], 0)
        np.testing.assert_allclose(found["attention"][0, i, : i + 1], expected, rtol=1e-4, atol=1e-6)
        assert not found["attention"][0, i, i + 1 :].any()
