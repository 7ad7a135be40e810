"""Inertia of matrices whose signs are known."""

import numpy as np

from dyntoolkit.probes.inertia import inertia


def test_signs_are_counted_with_a_width_for_zero():
    values = np.array([[-1.0, -1e-10, 0, 1e-10, 2], [-2, -1, -3, 4, 1e-8]])
    assert inertia(values).tolist() == [[1, 3, 1], [3, 0, 2]]
    assert inertia(values, zero=1e-11).tolist() == [[2, 1, 2], [3, 0, 2]]


def test_a_congruence_keeps_the_inertia():
    generator = np.random.default_rng(1)
    middle, turn = np.diag([-1.0, -2, 0, 3]), generator.normal(size=(4, 4))
    assert inertia(np.linalg.eigvalsh(turn.T @ middle @ turn)).tolist() == [2, 1, 1]
