"""The Walsh transform against sums over all points of a small cube."""

from itertools import chain, combinations
from math import comb, prod

import pytest
import torch

from dyntoolkit.errors import InputError
from dyntoolkit.probes.walsh import cube, degree_weights, degrees, walsh


def test_the_cube_holds_every_point_once():
    points = cube(4)
    assert points.shape == (16, 4)
    assert len({tuple(point) for point in points.tolist()}) == 16
    assert set(points.flatten().tolist()) == {-1.0, 1.0}


def test_coefficients_are_the_averages_of_their_definition():
    n, points = 4, cube(4).tolist()
    values = torch.randn(2, 16, generator=torch.Generator().manual_seed(2))
    found, weights = walsh(values), degree_weights(walsh(values))
    expected = torch.zeros(2, n + 1, dtype=torch.float64)
    for bits in chain.from_iterable(combinations(range(n), d) for d in range(n + 1)):
        number = sum(2**b for b in bits)
        assert degrees(n)[number] == len(bits)
        for r in range(2):
            total = sum(float(h) * prod(x[b] for b in bits) for h, x in zip(values[r], points, strict=True))
            assert found[r, number] == pytest.approx(total / 16, abs=1e-7)
            expected[r, len(bits)] += (total / 16) ** 2
    torch.testing.assert_close(weights, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(weights.sum(1), values.double().square().mean(1))  # Parseval


def test_a_parity_is_one_set():
    parity = cube(5)[:, :3].prod(1).unsqueeze(0)
    spectrum = walsh(parity)[0]
    assert spectrum[0b111] == 1
    assert spectrum.abs().sum() == 1
    assert degrees(5).bincount().tolist() == [comb(5, d) for d in range(6)]


def test_it_refuses_what_is_no_cube():
    with pytest.raises(InputError, match="got 12"):
        walsh(torch.zeros(2, 12))
