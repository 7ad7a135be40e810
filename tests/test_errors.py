"""Errors for people, and what counts as a number."""

import math
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dyntoolkit.errors import InputError, as_number, unknown, whole_number


def test_an_input_error_is_a_value_error_with_a_field():
    error = InputError("lr must be positive, got -1", field="lr")
    assert isinstance(error, ValueError)
    assert str(error) == "lr must be positive, got -1"
    assert error.field == "lr"


def test_an_unknown_name_gets_its_neighbour_suggested():
    error = unknown("preset", "fastt", ["fast", "paper"])
    assert str(error) == "unknown preset 'fastt'. Did you mean 'fast'? Allowed: fast, paper."
    assert error.field == "fastt"
    assert "Did you mean" not in str(unknown("preset", "zzz", ["fast"]))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (0.5, 0.5),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (Fraction(1, 4), 0.25),
        (Fraction(10**400), math.inf),
        ("12", 12),
        (" 1e-3 ", 1e-3),
        ("1e3", 1000.0),
        ("-inf", -math.inf),
        (str(2**70), 2**70),
    ],
)
def test_numbers_of_all_kinds_become_plain_ones(value, number):
    found = as_number(value)
    assert found == number
    assert type(found) in (int, float)


@pytest.mark.parametrize(
    "value",
    [True, False, np.bool_(True), None, "", "fast", "1,5", "0x10", 1j, Decimal("1"), [1], (1,), np.array([1]), b"1"],
)
def test_what_is_no_number_is_none(value):
    assert as_number(value) is None


def test_a_tensor_is_no_number():
    assert as_number(torch.tensor(1.0)) is None


def test_text_beyond_pythons_longest_whole_number_is_a_float():
    assert as_number("9" * (sys.get_int_max_str_digits() + 1)) == math.inf


@given(st.integers() | st.floats(allow_nan=False))
def test_text_of_a_number_is_that_number(value):
    assert as_number(str(value)) == as_number(value) == value


@pytest.mark.parametrize("value", [4, 4.0, "4", "4.0", np.int32(4), np.float64(4)])
def test_a_whole_number_comes_in_many_ways(value):
    found = whole_number("n_seeds", value, 1, 9)
    assert found == 4
    assert type(found) is int


@pytest.mark.parametrize("value", [0, 10, 1.5, "1.5", "many", None, True, math.nan, math.inf, "nan", "inf", [4]])
def test_what_is_none_is_named(value):
    with pytest.raises(InputError) as caught:
        whole_number("n_seeds", value, 1, 9)
    assert str(caught.value) == f"n_seeds takes a whole number from 1 to 9, got {value!r}."
    assert caught.value.field == "n_seeds"
