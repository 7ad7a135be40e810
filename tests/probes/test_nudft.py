"""The non-uniform Fourier transform against the sum written out."""

import cmath
import math

import pytest
import torch

from dyntoolkit.probes.nudft import nudft


def test_it_is_the_sum_of_its_definition_with_shared_and_with_own_points():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(3, 7, generator=generator)
    points, frequencies = torch.randn(3, 7, 2, generator=generator), torch.randn(5, 2, generator=generator)
    own, shared = nudft(values, points, frequencies), nudft(values, points[0], frequencies)
    assert own.shape == (3, 5)
    for r in range(3):
        for k, frequency in enumerate(frequencies.tolist()):
            for found, at in ((own, points[r]), (shared, points[0])):
                terms = [
                    y * cmath.exp(-1j * sum(f * x for f, x in zip(frequency, place, strict=True)))
                    for y, place in zip(values[r].tolist(), at.tolist(), strict=True)
                ]
                assert found[r, k] == pytest.approx(abs(sum(terms)) / 7, rel=1e-6)


def test_a_sine_gives_one_half_at_its_frequency_whatever_its_phase():
    x = torch.arange(64).double() * 2 * math.pi / 64
    for phase in (0.0, 0.7):
        spectrum = nudft(torch.sin(3 * x + phase), x.unsqueeze(1), torch.arange(6).unsqueeze(1))
        torch.testing.assert_close(spectrum, torch.tensor([0, 0, 0, 0.5, 0, 0], dtype=torch.float64))
