"""Merging hidden units that carry the same feature, in a network of one hidden ReLU layer, without retraining.

After Chen, Zhou and Yan 2023, "Going beyond neural network feature similarity" (arXiv 2310.06756); the rule is our own.
A unit is its direction u = (incoming weights, bias)/length and its outgoing weights A times that length: ReLU lets a
positive factor move from one to the other. The network is f(x) = sum_k A_k relu(u_k.(x, 1)) + bias.
"""

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Units(NamedTuple):
    """Hidden units: directions u (h, d + 1) of length 1, outgoing weights A (h, out)."""

    u: Array
    A: Array


def units(W: Array, b: Array, out: Array) -> Units:
    """The units of a hidden layer: W (d, h), b (h,), out (h, outputs), in float64; a unit of length 0 stays 0."""
    v = np.concatenate([W, b[None]]).T.astype(np.float64)  # (h, d + 1)
    length = np.linalg.norm(v, axis=1, keepdims=True)
    return Units(np.divide(v, length, out=np.zeros_like(v), where=length > 0), length * out)


def merged_pair(u: Array, A: Array, w: Array, i: int, j: int) -> tuple[Array, Array]:
    """Direction and outgoing weights of units i and j made one; w = |A| (h,)."""
    direction = w[i] * u[i] + w[j] * u[j]
    norm = np.linalg.norm(direction)
    return (direction / norm if norm > 0 else direction), A[i] + A[j]


def cost(w: Array, distance: Array, w_i: float) -> Array:
    """What merging a unit of weight w_i with others costs: w_i w/(w_i + w) times the distance of directions, (h,)."""
    return np.asarray(np.divide(w_i * w, w_i + w, out=np.zeros_like(w), where=w_i + w > 0) * distance)


def merge_cheapest(start: Units, left: int) -> tuple[Units, float]:
    """Merge the cheapest pair again and again until `left` units remain; also the cost of the last merge (NaN: none).

    The matrix of costs is kept: after a merge only one row of it is new.
    """
    u, A = start.u.copy(), start.A.copy()
    w = np.linalg.norm(A, axis=1)  # (h,)
    C = np.stack([cost(w, np.linalg.norm(u - u[i], axis=1), w[i]) for i in range(len(u))])  # (h, h)
    np.fill_diagonal(C, np.inf)
    alive, last = np.ones(len(u), dtype=bool), np.nan
    for _ in range(len(u) - left):
        i, j = np.unravel_index(C.argmin(), C.shape)
        last = float(C[i, j])
        u[i], A[i] = merged_pair(u, A, w, int(i), int(j))
        w[i], alive[j] = np.linalg.norm(A[i]), False
        row = np.where(alive, cost(w, np.linalg.norm(u - u[i], axis=1), w[i]), np.inf)
        row[i] = np.inf
        C[i], C[:, i], C[j], C[:, j] = row, row, np.inf, np.inf
    return Units(u[alive], A[alive]), last


def merge_random(start: Units, left: int, random: np.random.Generator) -> Units:
    """Merge random pairs until `left` units remain."""
    u, A = start
    while len(u) > left:
        i, j = sorted(random.choice(len(u), 2, replace=False).tolist())
        one = merged_pair(u, A, np.linalg.norm(A, axis=1), i, j)
        u, A = np.delete(u, j, axis=0), np.delete(A, j, axis=0)
        u[i], A[i] = one
    return Units(u, A)


def largest(start: Units, left: int) -> Units:
    """The units of largest outgoing weight |A|."""
    order = np.argsort(-np.linalg.norm(start.A, axis=1), kind="stable")[:left]
    return Units(start.u[order], start.A[order])


def output(found: Units, bias: Array, x: Array) -> Array:
    """f at the points x (n, d), (n, outputs)."""
    hidden = np.maximum(x @ found.u[:, :-1].T + found.u[:, -1], 0)  # (n, h)
    return np.asarray(hidden @ found.A + bias)
