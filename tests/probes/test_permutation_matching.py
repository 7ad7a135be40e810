"""Matching against brute force over all permutations, and against a network that is a permuted copy."""

from itertools import pairwise, permutations

import numpy as np
import pytest

from dyntoolkit.probes.permutation_matching import activation_matching, permuted, similarity, weight_matching

SIZES = (3, 5, 4, 2)


def network(seed, sizes=SIZES):
    random = np.random.default_rng(seed)
    return [(random.normal(size=shape), random.normal(size=shape[1])) for shape in pairwise(sizes)]


def outputs(layers, x):
    features = []
    for W, b in layers:
        x = np.maximum(x @ W + b, 0) if len(features) < len(layers) - 1 else x @ W + b
        features.append(x)
    return features


def test_a_permuted_network_is_the_same_function_with_its_units_elsewhere():
    layers, x = network(1), np.random.default_rng(2).normal(size=(7, 3))
    orders = [np.array([4, 2, 0, 1, 3]), np.array([1, 0, 3, 2])]
    before, after = outputs(layers, x), outputs(permuted(layers, orders), x)
    np.testing.assert_allclose(after[-1], before[-1])
    np.testing.assert_allclose(after[0], before[0][:, orders[0]])
    np.testing.assert_allclose(after[1], before[1][:, orders[1]])


def test_a_permuted_copy_is_found_again_by_weights_and_by_activations():
    layers, x = network(3), np.random.default_rng(4).normal(size=(200, 3))
    copy = permuted(layers, [np.array([4, 2, 0, 1, 3]), np.array([1, 0, 3, 2])])
    by_weights = weight_matching(layers, copy, np.random.default_rng(0))
    by_activations = activation_matching(outputs(layers, x)[:-1], outputs(copy, x)[:-1])
    for orders in (by_weights, by_activations):
        for (W, b), (V, c) in zip(layers, permuted(copy, orders), strict=True):
            np.testing.assert_allclose(V, W)
            np.testing.assert_allclose(c, b)


def test_with_one_hidden_layer_no_permutation_matches_better():
    first, second = network(5, (3, 5, 2)), network(6, (3, 5, 2))
    (found,) = weight_matching(first, second, np.random.default_rng(0))

    def inner(order):
        return np.trace(similarity(first, permuted(second, [np.array(order)]), 0))

    assert inner(found) == pytest.approx(max(inner(order) for order in permutations(range(5))))
    x = np.random.default_rng(7).normal(size=(50, 3))
    f_i, f_j = outputs(first, x)[0], outputs(second, x)[0]
    a, b = ((f - f.mean(0)) / (f.std(0) + 1e-6) for f in (f_i, f_j))
    (order,) = activation_matching([f_i], [f_j])
    best = max((a * b[:, list(p)]).sum() for p in permutations(range(5)))
    assert (a * b[:, order]).sum() == pytest.approx(best)
