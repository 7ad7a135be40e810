"""Merging units against the naive search, and with units that are the same."""

import numpy as np
import pytest

from dyntoolkit.probes.feature_merging import Units, largest, merge_cheapest, merge_random, output, units


def drawn(h=9, d=4, out=3):
    random = np.random.default_rng(1)
    return random.normal(size=(d, h)), random.normal(size=h), random.normal(size=(h, out))


def naive(u, A, left):
    """The cheapest of all pairs, found anew each time."""
    u, A = list(u), list(A)
    while len(u) > left:
        w = [np.linalg.norm(a) for a in A]
        pairs = [(i, j) for i in range(len(u)) for j in range(i + 1, len(u))]
        i, j = min(pairs, key=lambda p: w[p[0]] * w[p[1]] / (w[p[0]] + w[p[1]]) * np.linalg.norm(u[p[0]] - u[p[1]]))
        direction = w[i] * u[i] + w[j] * u[j]
        one = direction / np.linalg.norm(direction), A[i] + A[j]
        u, A = ([x for k, x in enumerate(xs) if k not in (i, j)] + [x] for xs, x in zip((u, A), one, strict=True))
    return np.array(u), np.array(A)


def by_direction(u, A):
    order = np.lexsort(u.T)
    return u[order], A[order]


def test_units_are_the_same_function():
    W, b, out = drawn()
    x, bias = np.random.default_rng(2).normal(size=(6, 4)), np.array([0.1, 0.2, 0.3])
    found = units(W, b, out)
    np.testing.assert_allclose(np.linalg.norm(found.u, axis=1), 1)
    np.testing.assert_allclose(output(found, bias, x), np.maximum(x @ W + b, 0) @ out + bias)


@pytest.mark.parametrize("left", [8, 5, 1])
def test_the_cheapest_pairs_are_those_of_the_naive_search(left):
    start = units(*drawn())
    found, cost = merge_cheapest(start, left)
    for a, b in zip(by_direction(*found), by_direction(*naive(*start, left)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    assert cost > 0
    assert np.isnan(merge_cheapest(start, len(start.u))[1])


def test_equal_directions_merge_for_nothing_and_a_dead_unit_is_no_error():
    W, b, out = drawn()
    twice = units(np.concatenate([W, 2 * W], 1), np.concatenate([b, 2 * b]), np.concatenate([out, out]))
    x, bias = np.random.default_rng(2).normal(size=(6, 4)), np.zeros(3)
    merged, cost = merge_cheapest(twice, 9)
    assert cost == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(output(merged, bias, x), output(twice, bias, x))
    dead = units(np.zeros((4, 3)), np.zeros(3), np.zeros((3, 3)))
    assert np.isfinite(merge_cheapest(dead, 1)[0].u).all()


def test_the_controls_keep_so_many_units():
    start, random = units(*drawn()), np.random.default_rng(3)
    shuffled = merge_random(start, 4, random)
    assert len(shuffled.u) == len(shuffled.A) == 4
    np.testing.assert_allclose(shuffled.A.sum(0), start.A.sum(0))  # a merge adds the outgoing weights
    np.testing.assert_allclose(np.linalg.norm(shuffled.u, axis=1), 1)
    kept = largest(start, 3)
    weights = np.linalg.norm(start.A, axis=1)
    np.testing.assert_allclose(np.linalg.norm(kept.A, axis=1), np.sort(weights)[::-1][:3])
    assert isinstance(kept, Units)
