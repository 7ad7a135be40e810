"""A reader's CSV file as a table, whatever its encoding, separator, decimal sign and gaps.

Python's `csv` reads the cells; here it is found out how the file is written. Its `Sniffer` takes the first plausible
sign for a separator; what is wanted is the one that cuts all rows into equally many cells. Names and texts stay text:
nothing of a file is ever executed.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dyntoolkit.errors import InputError
from dyntoolkit.experiment.record import check_file_size
from dyntoolkit.laboratory.column_names import column_names
from dyntoolkit.laboratory.tables import LEAST_ROWS, MOST_ROWS, Array, Table, chosen_rows, table
from dyntoolkit.laboratory.text_columns import decimal_sign, numbers, text_columns

MOST_CELLS = 4_000_000  # that are kept: as Python's texts they take half a gigabyte for a moment
MOST_COLUMNS = 10_000
SAMPLE = 100_000  # characters that the way of writing is recognized by
HEADER_ROWS = 100  # rows that the first one is compared with
ALIKE = 0.9  # of the rows cut alike are enough for a separator
SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", " ": "spaces"}  # of two that fit, the first

# Beginnings of files that are no table in text, and what these are.
OTHERS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a numpy array",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
    b"<!doctype html": "a web page",
    b"<!DOCTYPE html": "a web page",
    b"<html": "a web page",
}
MARKED = {  # byte-order marks; that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Writing(NamedTuple):
    """How a file is written: what `csv.reader` has to know."""

    separator: str
    quote: str
    escape: str | None

    def rows(self, text: str) -> Iterator[list[str]]:
        """The rows of the text; csv.Error where one cannot be read."""
        lines = io.StringIO(text, newline="")
        return csv.reader(
            lines, delimiter=self.separator, quotechar=self.quote, escapechar=self.escape, skipinitialspace=True
        )


def read_csv(name: str, data: bytes) -> Table:
    """The table in a file of that name with these bytes.

    InputError where it is too large or no table in text, where a row has more cells than the others, or where fewer
    than two columns or four rows can be learned from. Everything else (missing values, text among numbers, columns
    that are left out, rows that are too many) is said in the table's notes.
    """
    text, encoding = _decoded(name, data)
    told = re.match(r'"?sep=([^\w\s"\'\\]|\t)"?\r?\n', text)  # how Excel is told
    text = text[told.end() :] if told else text
    writing, width = _writing(name, text, [told[1]] if told else list(SEPARATORS))
    (number, first), rows, notes = _rows(name, text, writing, width)
    if _is_header(first, list(rows.values())):
        names, more = column_names(_header(first, rows.values(), width))
        notes += more
    else:
        rows = {number: _fitted(name, number, first, writing, width), **rows}
        names = [f"column {k + 1}" for k in range(width)]
        notes.append(f"The first row is data: the columns are called {names[0]!r} to {names[-1]!r}.")
    if len(rows) < LEAST_ROWS:
        raise InputError(f"{name}: rows of data found: {len(rows)}, needed: at least {LEAST_ROWS}.", "file")

    cells = dict(zip(names, zip(*rows.values(), strict=True), strict=True))
    sign = decimal_sign(list(cells.values()), commas_likely=writing.separator in ";\t")
    columns, text_notes, left_out = text_columns(cells, sign, list(rows))
    commas = "; decimal commas" if sign == "," else ""
    separated = SEPARATORS.get(writing.separator, repr(writing.separator))
    what = f"{len(rows):,} rows, {width} columns separated by {separated}{commas}{encoding}."
    return table(name, columns, list(rows), [what, *notes, *text_notes], left_out=left_out)


def _decoded(name: str, data: bytes) -> tuple[str, str]:
    """The file's text, and a word on its encoding where it is not UTF-8."""
    check_file_size(name, len(data))
    if data.startswith(b"PK\x03\x04"):
        what = "an Excel workbook" if b"xl/" in data else "a ZIP archive"
        raise _no_table(name, what)
    start = data[:1000].lstrip()
    for beginning, what in OTHERS.items():
        if start.startswith(beginning):
            raise _no_table(name, what)
    for encoding in _encodings(data):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not text.strip("\ufeff \r\n\t"):
            raise InputError(f"{name} is empty.", "file")
        if "\0" not in text:
            said = "" if encoding.startswith("utf-8") else f", encoded as {encoding}"
            return text.removeprefix("\ufeff"), said
    raise _no_table(name, "no text")


def _encodings(data: bytes) -> list[str]:
    """What the bytes may be encoded as, the likeliest first."""
    for mark, encoding in MARKED.items():
        if data.startswith(mark):
            return [encoding]
    if b"\0" in data[:2:2] or b"\0" in data[1:2]:  # every other byte of a Latin letter
        return ["utf-16-be" if data[:1] == b"\0" else "utf-16-le"]
    return ["utf-8", "cp1252", "latin-1"]


def _no_table(name: str, what: str) -> InputError:
    return InputError(f"{name} is {what}, and a table as text is needed: save it as CSV, one row on each line.", "file")


def _writing(name: str, text: str, separators: Sequence[str]) -> tuple[Writing, int]:
    """How the text is written, and how many cells most rows have: the separator that cuts most rows alike."""
    whole_rows = text.rfind("\n", 0, SAMPLE) + 1 or text.find("\n", SAMPLE) + 1
    sample = text[:whole_rows] if len(text) > SAMPLE and whole_rows else text
    single = '"' not in sample and re.search(r"(?m)(^|[,;\t|])'[^'\n]*'([,;\t|]|\r?$)", sample)
    fits = [_fit(Writing(separator, "'" if single else '"', None), sample) for separator in separators]
    if "\\" in sample:
        fits += [_fit(fit.writing._replace(escape="\\"), sample) for fit in fits]
    likely = [fit for fit in fits if fit.width > 1 and fit.share >= ALIKE and fit.writing.separator != " "]
    best = max(likely or fits, key=lambda fit: (fit.share if fit.width > 1 else 0, -fit.odd))
    if best.width < 2 or best.share < 0.5:
        raise InputError(
            f"{name} has one column only; a target and at least one feature are needed, in columns separated by "
            f"{', '.join(SEPARATORS.values())}.",
            "file",
        )
    if best.width > MOST_COLUMNS:
        raise InputError(f"{name} has {best.width:,} columns, at most {MOST_COLUMNS:,} are taken.", "file")
    return best.writing, best.width


class Fit(NamedTuple):
    """How well a way of writing fits: the share of rows that have as many cells as most have, and how many these are.

    odd: cells with an odd number of quotes, more where a quoted text was cut.
    """

    share: float
    width: int
    odd: int
    writing: Writing


def _fit(writing: Writing, sample: str) -> Fit:
    try:
        rows = [row for row in writing.rows(sample) if row]
    except csv.Error:  # read in this way it is no table
        rows = []
    if not rows:
        return Fit(0, 1, 0, writing)
    ((width, count),) = Counter(map(len, rows)).most_common(1)
    odd = sum(cell.count(writing.quote) % 2 for row in rows for cell in row)
    return Fit(count / len(rows), width, odd, writing)


# Rows.


def _records(name: str, text: str, writing: Writing) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with its number in a spreadsheet."""
    rows, number = writing.rows(text), 0
    while True:
        number += 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{name}: row {number} cannot be read ({error}); is a quote not closed?", "file"
            ) from error
        if any(map(str.strip, cells)):
            yield number, cells


def _rows(
    name: str, text: str, writing: Writing, width: int
) -> tuple[tuple[int, list[str]], dict[int, list[str]], list[str]]:
    """The first row with its number, those of the others that are kept by their numbers, and notes."""
    numbers: list[int] = []
    before = 0
    cells: list[str] = []
    for number, cells in _records(name, text, writing):
        if not numbers and len(cells) < width - 1:  # a title, or a word on the file; R's headers lack one cell
            before += 1
        else:
            numbers.append(number)
    if any("\n" in cell for cell in cells) and text.count(writing.quote) % 2:
        raise InputError(f"{name}: a quote that opens in row {numbers[-1]} is never closed.", "file")
    if not numbers:
        raise InputError(f"{name} is empty.", "file")
    chosen, notes = chosen_rows(len(numbers) - 1, min(MOST_ROWS, MOST_CELLS // width))
    wanted = {numbers[k + 1] for k in chosen}
    first, kept = (0, [""]), {}
    for number, cells in _records(name, text, writing):
        if number in wanted:
            kept[number] = _fitted(name, number, cells, writing, width)
        elif number == numbers[0]:
            first = (number, cells)
    if before:
        notes.append(f"Left out before the table begins: {before} row{'s' if before > 1 else ''}.")
    return first, kept, notes


def _fitted(name: str, number: int, cells: list[str], writing: Writing, width: int) -> list[str]:
    """The cells of a row, as many as the others have: empty ones at its end are cut or added."""
    short = len(cells) < width and writing.separator == " "  # where a gap might be anywhere
    if short or any(map(str.strip, cells[width:])):
        raise InputError(f"{name}: row {number} has {len(cells)} cells, most rows have {width}.", "file")
    return [*cells[:width], *[""] * (width - len(cells))]


# The header.


def _is_header(first: list[str], rows: list[list[str]]) -> bool:
    """Whether the first row names the columns: over most columns of numbers it has text."""
    votes = 0
    for cell, *below in zip(first, *rows[:HEADER_ROWS], strict=False):
        known = [written.strip() for written in below if written.strip()]
        if cell.strip() and known and not any(np.isnan(_either(known))):
            votes += 1 if np.isnan(_either([cell.strip()]))[0] else -1
    return votes >= 0


def _either(cells: list[str]) -> Array:
    """The numbers that the cells stand for with points or else with commas."""
    points = numbers(cells, ".")
    return np.where(np.isnan(points), numbers(cells, ","), points)


def _header(first: list[str], rows: Iterable[list[str]], width: int) -> list[str]:
    """The cells of the header, as many as there are columns."""
    header = first[:width]
    if len(header) < width and any(row[-1].strip() for row in rows):
        header = ["", *header]  # R names the rows in a column without a name
    return header + [""] * (width - len(header))
