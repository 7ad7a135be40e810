"""What is measured between two networks, against networks written out in numpy."""

import numpy as np
import pytest
import torch
from torch_twin import between, forward, layers_of, loss_and_error, one_minus_cosine, twin

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.layers import MLP
from dyntoolkit.phenomena.cross_task_linearity import _pair

SIZES = (64, 7, 6, 10)
MODEL = MLP(SIZES, torch.relu)


def draw(seed: int) -> torch.Tensor:
    """Weights of two runs, (2, P)."""
    return 0.4 * torch.randn(2, MODEL.parameters, generator=torch.Generator().manual_seed(seed))


def test_loss_and_error_are_those_of_the_upright_test_digits() -> None:
    digits, theta = rotated_digits(0), draw(1)
    found = _pair.loss_and_error(MODEL(theta, digits.test_x), digits.test_y)
    assert found.shape == (2, 2)
    for r in range(2):
        expected = loss_and_error(layers_of(twin(SIZES, theta[r])), digits.test_x.numpy(), digits.test_y.numpy())
        np.testing.assert_allclose(found[:, r], expected, rtol=1e-5)


def test_the_way_goes_from_the_second_network_to_the_first() -> None:
    digits, first, second = rotated_digits(0), draw(1), draw(2)
    found = _pair.connectivity(_pair.walk(MODEL, first, second))
    for r in range(2):
        ends = [layers_of(twin(SIZES, theta[r])) for theta in (first, second)]
        x, y = digits.test_x.numpy(), digits.test_y.numpy()
        way = np.array([loss_and_error(between(*ends, k / 10), x, y) for k in range(11)])
        np.testing.assert_allclose(found["loss_path"][r], way[:, 0], rtol=1e-4)
        np.testing.assert_allclose(found["error_path"][r], way[:, 1], atol=1 / 597)
        for name, values in (("loss_barrier", found["loss_path"][r]), ("error_barrier", found["error_path"][r])):
            rises = [values[k] - (k * values[10] + (10 - k) * values[0]) / 10 for k in range(11)]
            assert found[name][r] == pytest.approx(max(rises))


def test_linearity_is_that_of_the_network_half_way() -> None:
    first, second, x = draw(1), draw(2), rotated_digits(0).test_x.numpy()
    found = _pair.linearity(_pair.walk(MODEL, first, second))
    for r in range(2):
        ends = [layers_of(twin(SIZES, theta[r])) for theta in (first, second)]
        features = zip(forward(ends[0], x), forward(ends[1], x), forward(between(*ends, 0.5), x), strict=True)
        for k, (f_i, f_j, middle) in enumerate(features):
            mean = (f_i + f_j) / 2
            assert found["ctl_l"][r, k] == pytest.approx(one_minus_cosine(middle, mean), rel=1e-3)
            assert found["base_l"][r, k] == pytest.approx(one_minus_cosine(f_i, f_j), rel=1e-3)
            sizes = [u @ v / (v @ v + 1e-12) for u, v in zip(middle, mean, strict=True)]
            assert found["coef_l"][r, k] == pytest.approx(np.mean(sizes), rel=1e-3)


def test_a_ratio_is_hidden_where_nothing_moved() -> None:
    error, base = np.array([1e-5, 2e-3, 0.0]), np.array([9e-4, 4e-3, 0.0])
    np.testing.assert_array_equal(_pair.ratio(error, base), [np.nan, 0.5, np.nan])
    ctl, per_layer = np.array([[2e-3, 1e-3, 9.0]]), np.array([[4e-3, 4e-3, 1.0]])
    np.testing.assert_allclose(_pair.mean_ratio(ctl, per_layer), [0.375])  # mean of 1/2 and 1/4, without the logits
    assert np.isnan(_pair.mean_ratio(ctl, per_layer / 5)).all()
