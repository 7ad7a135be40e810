import numpy as np
import pytest
import torch
from sklearn import datasets

from dyntoolkit.data import rotated_digits
from dyntoolkit.errors import InputError
from dyntoolkit.laboratory.real_data import REAL, real_table


@pytest.mark.parametrize("name", [name for name in REAL if name != "digits"])
def test_a_set_is_that_of_scikit_learn(name):
    found, theirs = real_table(name), getattr(datasets, f"load_{name}")()
    assert found.target == found.names[-1]
    np.testing.assert_array_equal(np.stack([column.values for column in found.columns[:-1]], 1), theirs.data)
    np.testing.assert_array_equal(found.columns[-1].values, theirs.target)
    assert found.names[:-1] == tuple(theirs.feature_names)
    assert found.columns[-1].categories == tuple(theirs.get("target_names", ()))


@pytest.mark.parametrize(("name", "task"), [*((name, "classes") for name in REAL[:-1]), ("diabetes", "numbers")])
def test_a_set_can_be_split_as_it_is(name, task):
    found = real_table(name)
    assert found.guess(found.target) == task
    assert (found.notes, found.left_out) == ([], {})
    parts = found.split(found.target, task, 0.25, True, "drop rows")
    assert parts.notes == ()
    assert torch.isfinite(parts.x).all()


def test_digits_are_images_in_the_order_of_all_experiments():
    found, digits = real_table("digits"), rotated_digits(0)
    assert found.column("pixels").values.shape == (1797, 8, 8)
    assert found.column("pixels").values.min() == 0
    assert found.column("pixels").values.max() == 1
    assert found.column("digit").values[:1200].tolist() == digits.train_y.tolist()


def test_a_set_is_loaded_once():
    assert real_table("wine") is real_table("wine")


def test_an_unknown_set_is_named():
    with pytest.raises(InputError, match=r"unknown data 'irises'\. Did you mean 'iris'"):
        real_table("irises")
