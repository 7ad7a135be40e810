import csv
import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyntoolkit.errors import InputError
from dyntoolkit.laboratory import csv_table
from dyntoolkit.laboratory.csv_table import read_csv
from dyntoolkit.laboratory.tables import Table

FOUR = "a,b,y\n1,2,u\n2,3,v\n3,5,u\n4,6,v\n"
GERMAN = "größe;y\n1,5;ä\n2,5;ö\n3,5;ä\n4,5;ö\n"


def read(text: str | bytes, name: str = "d.csv") -> Table:
    return read_csv(name, text.encode() if isinstance(text, str) else text)


def values(table: Table) -> dict[str, list]:
    return {
        column.name: [column.categories[k] for k in column.values] if column.categories else column.values.tolist()
        for column in table.columns
    }


# What csv.writer writes is read back.

PLAIN_TEXT = st.text("bcé =<'-", max_size=6).map(lambda text: f"b{text}c")
ANY_TEXT = st.text("bcé ,;|\t\n\"'=<", max_size=6).map(lambda text: f"b{text}c")
HEADER = st.text("abcé_<>=@+", max_size=5).map(lambda text: f"n{text}m")


def dialects(separators: str, quotings: list[int]) -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries(
        {
            "delimiter": st.sampled_from(separators),
            "quoting": st.sampled_from(quotings),
            "lineterminator": st.sampled_from(["\n", "\r\n"]),
        }
    )


@st.composite
def tables_written(draw, texts, dialect, gaps=True):
    """Names, columns (n values each, None where one is missing), and the file that holds them."""
    n = draw(st.integers(6, 15))
    written = draw(dialect)
    names = draw(st.lists(HEADER, min_size=2, max_size=5, unique=True))
    number = st.integers(-(10**6), 10**6).map(lambda k: k / 128)
    columns: list[list] = [draw(st.lists(number, min_size=n, max_size=n, unique=True))]
    for _ in names[1:]:
        pool = draw(st.lists(texts, min_size=2, max_size=4, unique=True))
        cell = draw(st.sampled_from([number, st.sampled_from(pool)]))
        maybe = st.one_of(cell, st.none()) if gaps else cell
        columns.append(draw(st.lists(maybe, min_size=n, max_size=n)))
    file = io.StringIO(newline="")
    writer = csv.writer(file, **written)
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    return names, columns, file.getvalue()


def check_read_back(names, columns, data):
    table_columns = {}
    for name, column in zip(names, columns, strict=True):
        known = [cell for cell in column if cell is not None]
        text = any(isinstance(cell, str) for cell in known)
        if len(set(known)) > 1 and not (text and len(set(known)) == len(known)):
            table_columns[name.strip()] = column
    if len(table_columns) < 2:
        with pytest.raises(InputError, match="to learn from"):
            read(data)
        return
    found = read(data)
    assert list(found.names) == list(table_columns)
    for column in found.columns:
        wanted = table_columns[column.name]
        assert column.missing.tolist() == [cell is None for cell in wanted]
        known = [cell for cell in wanted if cell is not None]
        if column.categories:
            assert [column.categories[k] for k in column.known] == known
        else:
            assert column.known.tolist() == known


@given(tables_written(ANY_TEXT, dialects(",;|\t", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])))
def test_what_is_written_is_read_back(written):
    names, columns, text = written
    check_read_back(names, columns, text.encode())


@given(tables_written(PLAIN_TEXT, dialects(" ", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), gaps=False))
def test_with_spaces_between_the_cells_too(written):
    names, columns, text = written
    check_read_back(names, columns, text.encode())


@given(
    tables_written(PLAIN_TEXT, dialects(",;|\t", [csv.QUOTE_MINIMAL])),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]),
)
def test_in_any_encoding(written, encoding):
    names, columns, text = written
    check_read_back(names, columns, text.encode(encoding))


def table_or_sentence(data: bytes) -> str:
    try:
        return "table" if read(data).n_rows >= 4 else "small"
    except InputError as error:
        return str(error)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_refused_in_a_sentence(data):
    assert table_or_sentence(data).startswith(("table", "d.csv"))


@given(st.text("a1,;\n\"'\\ .-", max_size=80))
def test_so_is_any_text(text):
    assert table_or_sentence(text.encode()).startswith(("table", "d.csv"))


# How a file is written.


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (FOUR, {"a": [1, 2, 3, 4], "b": [2, 3, 5, 6], "y": ["u", "v", "u", "v"]}),
        ("sep=;\r\na;b\r\n1;2\r\n2;3\r\n3;4\r\n4;9\r\n", {"a": [1, 2, 3, 4], "b": [2, 3, 4, 9]}),
        ('"sep=#"\na#b\n1#2\n2#3\n3#4\n4#9\n', {"a": [1, 2, 3, 4], "b": [2, 3, 4, 9]}),
        ("a b c\n1   2 3\n4 5   6 \n 7 8 9\n1 1 1\n", {"a": [1, 4, 7, 1], "b": [2, 5, 8, 1], "c": [3, 6, 9, 1]}),
        ("a, b\n1, 2\n3, 4\n5, 6\n7, 9\n", {"a": [1, 3, 5, 7], "b": [2, 4, 6, 9]}),
        ("'a','b'\n'1,5','q'\n'2,5','x'\n'3,1','x'\n'0,2','q'\n", {"a": [1.5, 2.5, 3.1, 0.2], "b": list("qxxq")}),
        ("a,b\nx\\,z,2\nx\\,z,3\nv,4\nv,5\n", {"a": ["x,z", "x,z", "v", "v"], "b": [2, 3, 4, 5]}),
        ('a,b\n1,"x;z"\n2,"x;z"\n3,"v;w"\n4,"v;w"\n', {"a": [1, 2, 3, 4], "b": ["x;z", "x;z", "v;w", "v;w"]}),
        ("a;b\n1.234,5;2\n2.000,25;3\n3.111,1;5\n4,0;9\n", {"a": [1234.5, 2000.25, 3111.1, 4], "b": [2, 3, 5, 9]}),
        ('a,b\n"1,234",2\n"2,000",3\n"3,111.5",5\n999,9\n', {"a": [1234, 2000, 3111.5, 999], "b": [2, 3, 5, 9]}),
        ("a;b\n1,234;1\n2,345;3\n3,456;5\n4,567;8\n", {"a": [1.234, 2.345, 3.456, 4.567], "b": [1, 3, 5, 8]}),
        ("a,b,\n1,2,\n2,3,\n4,5,\n6,7,\n", {"a": [1, 2, 4, 6], "b": [2, 3, 5, 7]}),
        (
            "Prices of 2020\n\na,b,c\n1,1,4\n2,1,5\n3,1,6\n4,2,7\n",
            {"a": [1, 2, 3, 4], "b": [1, 1, 1, 2], "c": [4, 5, 6, 7]},
        ),
    ],
)
def test_how_a_file_is_written_is_recognized(text, found):
    assert values(read(text)) == found


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"]
)
def test_encodings_are_recognized(encoding):
    found = read(GERMAN.encode(encoding))
    assert values(found) == {"größe": [1.5, 2.5, 3.5, 4.5], "y": ["ä", "ö", "ä", "ö"]}
    assert "separated by semicolons; decimal commas" in found.notes[0]


def test_names_of_rows_as_r_writes_them():
    found = read('"mpg" "cyl"\n"Mazda" 21 6\n"B" 22 4\n"C" 20.5 6\n"D" 1 8\n')
    assert values(found) == {"mpg": [21, 22, 20.5, 1], "cyl": [6, 4, 6, 8]}


@pytest.mark.parametrize("text", ["1,2\n3,4\n5,6\n7,9\n", "1,u\n3,u\n5,v\n7,v\n"])
def test_a_missing_header_is_noticed(text):
    found = read(text)
    assert found.names == ("column 1", "column 2")
    assert found.n_rows == 4
    assert "The first row is data: the columns are called 'column 1' to 'column 2'." in found.notes


def test_a_header_of_years_over_text_is_one():
    assert read("2019,name\nu,a\nv,b\nu,b\nu,a\n").names == ("2019", "name")


def test_columns_of_the_same_name_are_made_different():
    found = read("a,a,,a\n1,2,3,4\n2,3,4,5\n4,5,6,1\n6,7,8,2\n")
    assert found.names == ("a", "a (2)", "column 3", "a (3)")
    assert "More than one column is called 'a': the later ones got a number." in found.notes


# What is in it.


def test_gaps_text_among_numbers_dates_and_infinities_are_said():
    rows = [f"{k / 2},{k % 7},2020-01-{k % 28 + 1:02}" for k in range(30)]
    rows[3], rows[5], rows[8] = "error,1,2020-01-01", ",2,", "inf,n/a,2020-02-01"
    found = read("\n".join(["x,y,when", *rows]))
    assert found.notes == [
        "30 rows, 3 columns separated by commas.",
        "Text among numbers, taken as missing: 'x' (1, the first in row 5).",
        "Infinite or too large, taken as missing: 'x' (1, the first in row 10).",
        "Missing values: 'x' (3, the first in row 5), 'y' (1, the first in row 10).",
        "Left out, dates or times: 'when'.",
    ]


def test_rows_are_counted_as_a_spreadsheet_does():
    found = read("\n\nx,y\n1,1\n\n2,\n3,4\n4,5\n5,7\n")
    assert "Missing values: 'y' (1, the first in row 6)." in found.notes


def test_a_row_that_ends_early_lacks_its_last_values():
    assert read("a,b,c\n1,2,3\n2,3,4\n3,4,5\n4,5\n").column("c").missing.tolist() == [False, False, False, True]


def test_names_that_a_page_or_a_spreadsheet_would_run_stay_text():
    found = read('<script>alert(1)</script>,=cmd|\' /C calc\'!A0,"=HYPERLINK(""x"")"\n1,2,9\n2,3,8\n3,4,7\n4,9,1\n')
    assert found.names == ("<script>alert(1)</script>", "=cmd|' /C calc'!A0", '=HYPERLINK("x")')


# What is refused.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "d.csv is empty"),
        (b" \n\n", "d.csv is empty"),
        (b"\xef\xbb\xbf\n", "d.csv is empty"),
        (b",,\n,,\n", "d.csv is empty"),
        (b"a,b\n", "d.csv: rows of data found: 0, needed: at least 4"),
        (b"a,b\n1,2\n", "d.csv: rows of data found: 1, needed: at least 4"),
        (b"x\n1\n2\n3\n4\n", "d.csv has one column only.*separated by tabs, semicolons, bars, commas, spaces"),
        (b"x,y\n1,1\n2,1\n3,1\n4,1\n", "one column only to learn from, 'x'.*Left out, the same in every row: 'y'"),
        (b"x,y\n1,1\n2,1,5\n3,1\n4,1\n", "d.csv: row 3 has 3 cells, most rows have 2"),
        (b"x y z\n1 1 1\n2 1\n3 1 1\n4 1 2\n5 1 1\n6 7 8\n", "d.csv: row 3 has 2 cells, most rows have 3"),
        (b'x,y\n1,1\n2,"1\n3,1\n4,1\n', "d.csv: a quote that opens in row 3 is never closed"),
        (b'x,y\n1,1\n2,3\n4,1\n5,"' + b"1\n" * 100_000, "d.csv: row 5 cannot be read .*is a quote not closed"),
        (b'sep="\n1\n2\n3\n4\n', "d.csv has one column only"),
        (b"PK\x03\x04xl/workbook", "d.csv is an Excel workbook, and a table as text is needed: save it as CSV"),
        (b"PK\x03\x04other", "d.csv is a ZIP archive"),
        (b"\x89PNG\r\n\x1a\n", "d.csv is a PNG picture"),
        (b"%PDF-1.7", "d.csv is a PDF document"),
        (b"\n<!DOCTYPE html><html>", "d.csv is a web page"),
        (bytes(range(256)), "d.csv is no text"),
        (b"a,b\n" + b"1,\x002\n" * 9, "d.csv is no text"),
        (b"\xff\xfea", "d.csv is no text"),
        (b",".join([b"1"] * 10_001) + b"\n", "d.csv has 10,001 columns, at most 10,000 are taken"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(data, message):
    with pytest.raises(InputError, match=message) as caught:
        read(data)
    assert caught.value.field == "file"


def test_a_file_that_is_too_large_is_refused_before_it_is_read():
    with pytest.raises(InputError, match=r"d\.csv has 200\.0 MB: a file of data may have 50 MB at most"):
        read(bytes(200_000_000))


def test_of_many_rows_some_are_chosen(monkeypatch):
    monkeypatch.setattr(csv_table, "MOST_ROWS", 100)
    found = read("x,y\n" + "".join(f"{k},{k * 2}\n" for k in range(1000)))
    assert found.n_rows == 100
    x, y = (column.values for column in found.columns)
    assert (np.diff(x) > 0).all()
    assert x.max() > 900
    np.testing.assert_array_equal(y, 2 * x)
    assert "Of 1,000 rows 100 are used, chosen at random." in found.notes


def test_and_fewer_of_wide_ones(monkeypatch):
    monkeypatch.setattr(csv_table, "MOST_CELLS", 100)
    assert read("x,y\n" + "".join(f"{k},{k * 2}\n" for k in range(1000))).n_rows == 50


@pytest.mark.slow
def test_a_million_rows_in_a_process_of_little_memory():
    code = """
import resource
from dyntoolkit.laboratory.csv_table import read_csv
data = b"a,b,y\\n" + b"".join(b"%d.5,%d,%d\\n" % (k, k % 977, k % 3) for k in range(1_000_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = read_csv("d.csv", data)
print(table.n_rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    rows, megabytes = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert int(rows) == 20_000
    assert int(megabytes) < 300
