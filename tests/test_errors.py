"""Errors for people, and what counts as a number."""

import math
import re
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dyntoolkit.errors import InputError, as_number, problem_words, unknown, whole_number
from dyntoolkit.experiment.claims import at_least


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


def test_a_problem_is_its_sentence_or_its_kind_and_text():
    assert problem_words(InputError("lr takes a number.")) == "lr takes a number."
    assert problem_words(ZeroDivisionError("by zero")) == "ZeroDivisionError: by zero"


def test_an_exception_says_where_it_arose():
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    words = problem_words(caught.value)
    assert re.fullmatch(r"ZeroDivisionError: division by zero \(test_errors\.py, line \d+: _ = 1 / 0\)", words)


@pytest.mark.parametrize(
    "fail",
    [
        lambda: torch.ones(2, 3) @ torch.ones(2, 3),
        lambda: Fraction("a third"),
        lambda: at_least(0.5).holds(None),
    ],
)
def test_deep_in_a_library_it_is_the_last_line_of_ones_own_code(fail):
    with pytest.raises((RuntimeError, ValueError, TypeError)) as caught:
        fail()
    where = fail.__code__.co_firstlineno
    assert f"(test_errors.py, line {where}: lambda:" in problem_words(caught.value)


def test_a_cell_is_called_one(tmp_path):
    cell = tmp_path / "ipykernel_12" / "345.py"
    cell.parent.mkdir()
    cell.write_text("x = 1\ny = x / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile(cell.read_text(), str(cell), "exec"), {})
    assert problem_words(caught.value) == "ZeroDivisionError: division by zero (a cell, line 2: y = x / 0)"


def test_without_code_of_ones_own_it_is_the_line_that_failed():
    try:
        at_least(0.5).holds(None)
    except TypeError as caught:
        problem = caught.with_traceback(caught.__traceback__.tb_next)
    assert re.search(r"\(claims\.py, line \d+: .*>.*\)$", problem_words(problem))


def test_a_long_text_is_cut():
    words = problem_words(ValueError("no such thing\n" * 100))
    assert words.startswith("ValueError: no such thing no such thing")
    assert words.endswith(" …")
    assert len(words) < 320
