"""Permuting the hidden units of one network so that they stand where the most similar ones of another stand.

Ainsworth, Hayase and Srinivasa 2022, "Git Re-Basin" (arXiv 2209.04836): matching by weights and by activations. A
network is its layers, weight (in, out) and bias (out,) each; a permutation p of hidden layer l puts unit p[k] at k.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

Array = np.ndarray
Layers = Sequence[tuple[Array, Array]]
GAIN = 1e-6  # a permutation that gains less is not worth it
SWEEPS = 20  # at most


def permuted(layers: Layers, permutations: Sequence[Array]) -> list[tuple[Array, Array]]:
    """The same function with its hidden units reordered: columns of W_l, entries of b_l and rows of W_(l+1)."""
    result = [(W.copy(), b.copy()) for W, b in layers]
    for k, p in enumerate(permutations):
        (W, b), (following, bias) = result[k], result[k + 1]
        result[k], result[k + 1] = (W[:, p], b[p]), (following[p], bias)
    return result


def similarity(first: Layers, second: Layers, k: int) -> Array:
    """Inner products of all units of hidden layer k, incoming weights, bias and outgoing weights: (h, h)."""
    (W_i, b_i), (W_j, b_j), out_i, out_j = first[k], second[k], first[k + 1][0], second[k + 1][0]
    return np.asarray(W_i.T @ W_j + np.outer(b_i, b_j) + out_i @ out_j.T)


def weight_matching(first: Layers, second: Layers, random: np.random.Generator) -> list[Array]:
    """Permutations of the second network's hidden layers for which its weights have the largest inner product with
    the first one's, found layer by layer in random order until nothing improves (at most SWEEPS times)."""
    hidden = len(first) - 1
    orders = [np.arange(first[k][0].shape[1]) for k in range(hidden)]
    for _ in range(SWEEPS):
        changed = False
        for k in random.permutation(hidden).tolist():
            C = similarity(first, permuted(second, orders), k)
            rows, best = linear_sum_assignment(C, maximize=True)
            if C[rows, best].sum() - np.trace(C) > GAIN:
                orders[k], changed = orders[k][best], True
        if not changed:
            break
    return orders


def activation_matching(first: Sequence[Array], second: Sequence[Array]) -> list[Array]:
    """Permutations for which the units' activations correlate most; features (n, h) of each hidden layer of both."""
    orders = []
    for f_i, f_j in zip(first, second, strict=True):
        a, b = ((f - f.mean(0)) / (f.std(0) + 1e-6) for f in (f_i, f_j))  # (n, h)
        orders.append(linear_sum_assignment(a.T @ b, maximize=True)[1])
    return orders
