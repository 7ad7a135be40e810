import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dyntoolkit.probes.auc import auc


def test_it_is_the_area_under_the_roc_curve_ties_included():
    random = np.random.default_rng(0)
    values, positive = random.integers(0, 6, (3, 20)).astype(float), random.random((3, 20)) < 0.3
    expected = [roc_auc_score(wrong, value) for wrong, value in zip(positive, values, strict=True)]
    np.testing.assert_allclose(auc(values, positive), expected)


def test_it_is_undefined_without_both_groups_and_half_for_equal_values():
    positive = np.array([[True, True, True], [False, False, False], [True, False, False]])
    found = auc(np.ones((3, 3)), positive)
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(0.5)
