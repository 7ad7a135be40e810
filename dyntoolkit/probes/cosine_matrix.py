"""Cosines between the input weights of all pairs of neurons, in an order in which groups stand out."""

import numpy as np

Array = np.ndarray


def unit_vectors(vectors: Array) -> Array:
    """Vectors (m, D) divided by their lengths; those of length 0 stay. Squares of huge entries do no harm."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    scaled = vectors / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled / np.where(lengths > 0, lengths, 1))


def cosine_matrix(directions: Array) -> Array:
    """cos of the angle between each two of m vectors (m, D), as (m, m), in the order of the leading eigenvector.

    The order is that of the entries of the matrix's eigenvector with the largest eigenvalue, so that neurons of one
    direction stand together. A vector of length 0 has cosines 0.
    """
    unit = unit_vectors(directions)
    cosines = unit @ unit.T  # (m, m)
    order = np.argsort(np.linalg.eigh(cosines)[1][:, -1])
    return np.asarray(cosines[np.ix_(order, order)])
