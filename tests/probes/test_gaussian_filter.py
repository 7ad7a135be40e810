import numpy as np
import pytest
import torch

from dyntoolkit.probes.gaussian_filter import (
    frequency_errors,
    gaussian_filter,
    high_frequency_share,
    squared_bandwidth,
    squared_distances,
)


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_filter(x):
    """The recipe's S of points (n, d), written out."""
    n = len(x)
    d2 = np.array([[((x[i] - x[j]) ** 2).sum() for j in range(n)] for i in range(n)])
    h2 = np.median([sorted(d2[i, j] for j in range(n) if j != i)[4] for i in range(n)])
    S = np.exp(-d2 / (2 * h2))
    return S / S.sum(1, keepdims=True), h2


def test_the_filter_is_that_of_the_sums_written_out():
    x = draw(2, 10, 3, seed=0)
    S, h2 = gaussian_filter(x), squared_bandwidth(squared_distances(x))
    for r in range(2):
        expected, bandwidth = naive_filter(x[r].double().numpy())
        np.testing.assert_allclose(S[r], expected, rtol=1e-9)
        assert float(h2[r]) == pytest.approx(bandwidth)


def test_shares_and_errors_are_those_of_their_definitions():
    x, F, Y = draw(2, 10, 3, seed=0), draw(2, 10, 4, seed=1), draw(2, 10, 4, seed=2)
    S = gaussian_filter(x)
    low, high = frequency_errors(S, F, Y)
    share = high_frequency_share(S, F)
    norm = np.linalg.norm
    for r in range(2):
        s, f, y = (part[r].double().numpy() for part in (S, F, Y))
        assert float(share[r]) == pytest.approx(norm(f - s @ f) ** 2 / norm(f) ** 2)
        assert float(low[r]) == pytest.approx(norm(s @ f - s @ y) / norm(s @ y))
        assert float(high[r]) == pytest.approx(norm((f - s @ f) - (y - s @ y)) / norm(y - s @ y))


def test_a_constant_has_no_high_frequencies_and_alternation_hardly_anything_else():
    x = torch.arange(200.0).view(1, 200, 1)
    S = gaussian_filter(x)
    assert float(high_frequency_share(S, torch.ones(1, 200, 2))) == pytest.approx(0, abs=1e-12)
    assert float(high_frequency_share(S, (-1.0) ** x)) == pytest.approx(1, abs=0.05)
