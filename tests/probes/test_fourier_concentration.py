import numpy as np
import pytest
import torch

from dyntoolkit.probes.fourier_concentration import fourier_concentration, mode_shares, random_concentration

P = 7


def test_the_shares_are_those_of_the_sums_written_out():
    weights = torch.randn(2, 3, P, generator=torch.Generator().manual_seed(0))
    found = mode_shares(weights)
    for r in range(2):
        for j in range(3):
            w = weights[r, j].double().numpy()
            power = [abs(sum(w[a] * np.exp(-2j * np.pi * k * a / P) for a in range(P))) ** 2 for k in (1, 2, 3)]
            np.testing.assert_allclose(found[r, j], np.array(power) / sum(power), rtol=1e-9)
    torch.testing.assert_close(fourier_concentration(weights), found.max(-1).values.mean(-1))


def test_a_pure_cosine_is_concentrated_whatever_its_mean_and_an_empty_neuron_does_not_count():
    a = torch.arange(P)
    cosine, empty = 5 + torch.cos(2 * torch.pi * 2 * a.double() / P + 0.3), torch.zeros(P)
    assert fourier_concentration(cosine.view(1, P)) == pytest.approx(1, abs=1e-9)
    assert fourier_concentration(torch.stack([cosine, empty])) == pytest.approx(1, abs=1e-9)
    assert fourier_concentration(empty.view(1, P)).isnan()


def test_gaussian_weights_have_the_concentration_of_chance():
    weights = torch.randn(20000, 23, generator=torch.Generator().manual_seed(1))
    assert random_concentration(23) == pytest.approx(0.2745, abs=1e-4)
    assert float(fourier_concentration(weights)) == pytest.approx(random_concentration(23), rel=0.01)
