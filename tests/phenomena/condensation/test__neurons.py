"""Neurons as points."""

import numpy as np

from dyntoolkit.phenomena.condensation._neurons import of_largest


def test_amplitudes_are_in_units_of_the_largest_one_if_there_is_one():
    np.testing.assert_array_equal(of_largest(np.array([1.0, 4.0])), [0.25, 1])
    for without in ([0.0, 0.0], [1.0, np.inf], [1.0, np.nan]):
        assert np.isnan(of_largest(np.array(without))).all()
    assert of_largest(np.empty(0)).shape == (0,)
