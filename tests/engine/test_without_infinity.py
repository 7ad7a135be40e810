import numpy as np
import torch

from dyntoolkit.engine.without_infinity import without_infinity


def test_infinite_numbers_are_nan_and_all_others_stay():
    value = torch.tensor([[1.5, torch.inf], [-torch.inf, torch.nan]], dtype=torch.float64)
    found = without_infinity(value)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[1.5, np.nan], [np.nan, np.nan]])
    assert value.isinf().sum() == 2  # a copy
