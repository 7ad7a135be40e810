"""The entropy of attention against its definition, place by place."""

import math

import numpy as np
import pytest
import torch

from dyntoolkit.engine.transformer import attention
from dyntoolkit.probes.attention_entropy import attention_entropy


def test_it_is_the_mean_over_batch_and_places_with_a_choice():
    scores = 3 * torch.randn(2, 3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    found = attention_entropy(attention(scores))  # (R, heads)
    for r, head in np.ndindex(2, 2):
        each = []
        for b, i in np.ndindex(3, 5):
            if i > 0:
                a = torch.softmax(scores[r, b, head, i, : i + 1].double(), 0)
                each.append(-float((a * torch.log(a)).sum()))
        assert float(found[r, head]) == pytest.approx(np.mean(each), rel=1e-5)


def test_even_attention_has_the_largest_entropy_and_attention_to_one_place_none():
    even = attention_entropy(attention(torch.zeros(1, 2, 1, 32, 32)))
    assert float(even) == pytest.approx(np.mean([math.log(i) for i in range(2, 33)]), rel=1e-5)
    assert float(attention_entropy(torch.eye(6)[None, None, None])) == pytest.approx(0, abs=1e-9)
