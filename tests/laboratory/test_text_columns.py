import numpy as np
import pytest

from dyntoolkit.laboratory.text_columns import decimal_sign, numbers, text_columns

NAN = np.nan


def read(*cells: str, sign: str = "."):
    return text_columns({"x": cells}, sign, range(len(cells)))


@pytest.mark.parametrize(
    ("sign", "cell", "number"),
    [
        (".", "1.5", 1.5),
        (".", ".5", 0.5),
        (".", "5.", 5),
        (".", "-1e-3", -0.001),
        (".", "+2E5", 2e5),
        (".", "−3.5", -3.5),  # a typographic minus
        (".", "1,234", 1234),
        (".", "1,234,567.5", 1234567.5),
        (".", "1 234.5", 1234.5),
        (".", "1\u202f234", 1234),
        (".", "1'234", 1234),
        (".", "1,23", NAN),
        (".", "1,234 567", NAN),
        (".", "12,3456", NAN),
        (".", "1_000", NAN),
        (".", "-inf", -np.inf),
        (".", "", NAN),
        (".", ".", NAN),
        (".", "e5", NAN),
        (".", "0x10", NAN),
        (".", "1.2.3", NAN),
        (".", "True", NAN),
        (",", "1,5", 1.5),
        (",", "1.234,5", 1234.5),
        (",", "1.234", 1234),
        (",", "1,5e3", 1500),
        (",", "1 234,5", 1234.5),
        (",", ",5", 0.5),
        (",", "1.5", NAN),
        (",", "1,234,5", NAN),
    ],
)
def test_a_number_however_it_is_written(sign, cell, number):
    np.testing.assert_equal(numbers([cell], sign), [number])


@pytest.mark.parametrize(
    ("cells", "likely", "sign"),
    [
        (["1,5", "2,25"], False, ","),
        (["1.5", "2.25"], True, "."),
        (["1.234,5"], False, ","),
        (["1,234.5"], True, "."),
        (["0,125"], False, ","),
        (["0.125"], True, "."),
        (["1,234", "2,345"], True, ","),
        (["1,234", "2,345"], False, "."),
        (["1.234", "2.345"], True, "."),
        (["1,2,3", "word"], True, "."),
    ],
)
def test_the_decimal_sign_is_that_of_the_cells_that_can_be_read_in_one_way(cells, likely, sign):
    assert decimal_sign([cells], likely) == sign


def test_a_column_in_the_other_way_of_writing_is_read_too():
    (column,), notes, _ = read("1,5", "2,5", "3,25", sign=".")
    assert column.values.tolist() == [1.5, 2.5, 3.25]
    assert notes == []


@pytest.mark.parametrize("gap", ["", "NA", "n/a", "NaN", "null", "?", "<NA>", "-", "none", ".", "  "])
def test_a_gap_among_numbers_is_missing_without_a_word(gap):
    (column,), notes, _ = read("1", gap, "x3".lstrip("x"), "4.5")
    np.testing.assert_equal(column.values, [1, NAN, 3, 4.5])
    assert notes == []


def test_text_among_many_numbers_is_missing_with_a_word():
    (column,), notes, _ = read(*map(str, range(20)), "error")
    assert column.kind == "number"
    assert column.n_missing == 1
    assert notes == ["Text among numbers, taken as missing: 'x' (1, the first in row 20)."]


def test_text_is_a_category_and_a_mark_may_be_one():
    (column,), notes, _ = read("+", "-", "", " + ", "none")
    assert column.categories == ("+", "-", "none")
    assert column.values.tolist() == [0, 1, -1, 0, 2]
    assert notes == []


def test_mostly_text_with_some_numbers_is_a_category():
    (column,), _, _ = read("1", "2", "3+", "1", "3+")
    assert column.categories == ("1", "2", "3+")


@pytest.mark.parametrize(
    "cell", ["2020-01-31", "31.1.2020", "1/31/20", "2020-01-31T10:00:00Z", "2020/1/3 10:00", "12:30", "12:30:15.5"]
)
def test_dates_and_times_are_left_out(cell):
    columns, _, left_out = read(cell, cell, "")
    assert columns == []
    assert left_out == {"x": "dates or times"}


def test_an_empty_column_is_one_of_missing_numbers():
    (column,), _, _ = read("", "NA")
    assert (column.kind, column.n_missing) == ("number", 2)
