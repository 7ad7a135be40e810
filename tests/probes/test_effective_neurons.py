"""The effective number of neurons against its double sum, and where it is known."""

import math

import pytest
import torch

from dyntoolkit.probes.effective_neurons import effective_neurons


def naive(directions, weights, degrees, lines):
    total = sum(weights)
    share = 0.0
    for u, p in zip(directions, weights, strict=True):
        for v, q in zip(directions, weights, strict=True):
            cos = float(u @ v / (u.norm() * v.norm()))
            angle = math.degrees(math.acos(max(-1.0, min(1.0, abs(cos) if lines else cos))))
            share += p / total * q / total * math.exp(-(angle**2) / (2 * degrees**2))
    return 1 / share


@pytest.mark.parametrize("lines", [False, True])
def test_it_is_the_double_sum_over_pairs(lines):
    generator = torch.Generator().manual_seed(3)
    directions, weights = torch.randn(2, 7, 3, generator=generator), torch.rand(2, 7, generator=generator)
    found = effective_neurons(directions, weights, 20.0, lines)
    for r in range(2):
        expected = naive(directions[r].double(), weights[r].double().tolist(), 20.0, lines)
        assert float(found[r]) == pytest.approx(expected, rel=1e-6)


def test_equal_directions_count_once_and_far_ones_apart():
    x, y = [1.0, 0.0], [0.0, 2.0]
    even = torch.ones(1, 4)
    assert float(effective_neurons(torch.tensor([[x, x, x, x]]), even, 5.0)) == pytest.approx(1)
    assert float(effective_neurons(torch.tensor([[x, x, y, y]]), even, 5.0)) == pytest.approx(2)
    opposite = torch.tensor([[x, [-1.0, 0.0]]])
    assert float(effective_neurons(opposite, even[:, :2], 5.0)) == pytest.approx(2)
    assert float(effective_neurons(opposite, even[:, :2], 5.0, lines=True)) == pytest.approx(1)


def test_a_neuron_without_weight_does_not_count_and_no_weight_at_all_has_no_number():
    pair = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert float(effective_neurons(pair, torch.tensor([[1.0, 0.0]]), 5.0)) == pytest.approx(1)
    assert torch.isnan(effective_neurons(pair, torch.zeros(1, 2), 5.0)).all()
