import numpy as np
import torch

from dyntoolkit.laboratory.probe import Moment
from dyntoolkit.laboratory.problem import Problem
from dyntoolkit.phenomena.laboratory._spectrum import spectrum
from dyntoolkit.phenomena.laboratory.network import Config


def moment(function, x, **settings):
    """One moment of a model that is this function of its input, whatever theta is."""
    runs, n, _ = x.shape
    y = torch.zeros(runs, n, dtype=torch.int64)
    model = lambda _, x: function(x).expand(runs, *x.shape[-2:-1], 1)  # noqa: E731
    config = Config(**settings)
    return Moment(0, None, None, None, model, Problem(x, y, x, y, y, 2), None, [config] * runs)


def test_a_wave_of_three_periods_has_its_amplitude_at_three():
    x = torch.linspace(-2, 3, 11).view(1, -1, 1).repeat(2, 1, 1)
    wave = lambda x: 0.8 * torch.cos(3 * 2 * torch.pi * (x[..., :1] + 2) / 5)  # noqa: E731
    found = spectrum(moment(wave, x, data="sines"))
    np.testing.assert_allclose(found, [[0, 0, 0.4, 0, 0, 0]] * 2, atol=1e-6)


def test_irrelevant_inputs_are_zero():
    x = torch.cat([torch.linspace(-1, 1, 9)[:, None], torch.ones(9, 2)], 1)[None]
    wave = lambda x: torch.sin(torch.pi * x[..., :1]) + x[..., 1:].sum(-1, keepdim=True)  # noqa: E731
    found = spectrum(moment(wave, x, data="sines", irrelevant=2))
    np.testing.assert_allclose(found, [[0.5, 0, 0, 0, 0, 0]], atol=1e-6)


def test_products_of_bits_have_their_weight_at_their_degree():
    product = lambda x: 2 * x[..., :3].prod(-1, keepdim=True) + x[..., :1] + x[..., 3:4] + 0.5  # noqa: E731
    found = spectrum(moment(product, torch.ones(1, 4, 5), data="parity", n_bits=5))
    np.testing.assert_allclose(found, [[0.25, 2, 0, 4, 0, 0]], atol=1e-6)


def test_elsewhere_there_is_none():
    assert spectrum(moment(lambda x: x[..., :1], torch.ones(2, 4, 3), data="moons")).isnan().all()
