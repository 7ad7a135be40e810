"""Clusters of directions and the ordered cosine matrix, on vectors whose groups are known."""

import numpy as np
import pytest

from dyntoolkit.probes.cosine_matrix import cosine_matrix
from dyntoolkit.probes.direction_clusters import direction_clusters


def at(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, len(degrees) + 1)[:, None]


def test_each_group_is_one_cluster_the_heaviest_first():
    directions = at(0, 2, 4, 90, 91, 180, 181, 182, 183)
    centres = direction_clusters(directions, np.ones(9), 10, 0.04)
    assert [{0, 1, 2} & {c} or {3, 4} & {c} or {5, 6, 7, 8} & {c} for c in centres]
    assert [len([group for group in ((0, 1, 2), (3, 4), (5, 6, 7, 8)) if c in group]) for c in centres] == [1, 1, 1]
    assert centres[0] in (5, 6, 7, 8)


def test_opposite_directions_are_two_clusters_and_light_ones_do_not_count():
    assert len(direction_clusters(at(0, 180), np.ones(2), 10, 0.04)) == 2
    assert len(direction_clusters(at(0, 90), np.array([1.0, 0.03]), 10, 0.04)) == 1
    assert len(direction_clusters(at(0, 90), np.array([1.0, 0.05]), 10, 0.04)) == 2


def test_evenly_spread_directions_are_cut_into_pieces_of_at_most_twice_the_width():
    centres = direction_clusters(at(*range(0, 360, 4)), np.ones(90), 10, 0.01)
    assert 18 <= len(centres) <= 36


def test_zero_vectors_belong_to_nobody():
    directions = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert len(direction_clusters(directions, np.array([0.0, 1.0, 1.0]), 10, 0.04)) == 1


def test_the_cosine_matrix_holds_all_cosines_with_groups_side_by_side():
    mixed = at(0, 180, 1, 181, 2, 179)
    found = cosine_matrix(mixed)
    assert np.diag(found) == pytest.approx(np.ones(6))
    assert (found[:3, :3] > 0.99).all()
    assert (found[:3, 3:] < -0.99).all()
    unit = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    assert sorted(found.ravel()) == pytest.approx(sorted((unit @ unit.T).ravel()))
