"""Cells of text as columns: numbers however they are written, categories, and dates, which are left out."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from dyntoolkit.laboratory.tables import Array, Column, places

GAPS = {"", "na", "n/a", "#n/a", "nan", "<na>", "null", "?"}  # what stands where a value is missing
MARKS = {"-", "--", ".", "*", "none", "missing", "unknown", "n.a."}  # the same, but among numbers only
MOSTLY = 0.9  # of a column's cells are numbers in one of numbers, and dates in one of dates
SAMPLE = 200  # cells of each column that the decimal sign is recognized by

DATE = re.compile(r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d\d(:\d\d)?)([T ,.].*)?")
INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)


def _written(sign: str, other: str) -> re.Pattern[str]:
    """A number with this decimal sign; its thousands may stand apart by the other one, spaces or apostrophes."""
    group = rf"\d{{1,3}}(?P<apart>[{other} '’\u00a0\u202f])\d{{3}}((?P=apart)\d{{3}})*"
    return re.compile(rf"[+-]?({group}|\d+)?([{sign}]\d*)?(e[+-]?\d+)?", re.IGNORECASE)


def _clearly(sign: str, other: str) -> re.Pattern[str]:
    """A number in which this sign cannot be one between thousands."""
    return re.compile(
        rf"[+-]?(\d*[{sign}](\d{{1,2}}|\d{{4,}})|(0|\d{{4,}})?[{sign}]\d+|\d{{1,3}}([{other}]\d{{3}})+[{sign}]\d+)(e[+-]?\d+)?",
        re.IGNORECASE,
    )


WRITTEN = {".": _written(".", ","), ",": _written(",", ".")}
CLEARLY = {".": _clearly(".", ","), ",": _clearly(",", ".")}
EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # 1,234: a thousand, or little more than one


def text_columns(
    cells: Mapping[str, Sequence[str]], sign: str, rows: Sequence[int] | Array
) -> tuple[list[Column], list[str], dict[str, str]]:
    """The columns, notes for the reader, and for each column that is left out why.

    cells: of each column, by its name. sign: the decimal sign that is likelier, "." or ","; a column that is not
    written with it is tried with the other one. rows: what the reader calls each row.
    """
    columns, left_out, texts = [], {}, {}
    for name, written in cells.items():
        stripped = [cell.strip() for cell in written]
        if sign == "." and (plain := _all_plain(stripped)) is not None:  # the usual case, and the fast one
            columns.append(Column(name, plain))
            continue
        known = np.array([cell.lower() not in GAPS for cell in stripped], dtype=bool)
        if _dates(stripped, known):
            left_out[name] = "dates or times"
            continue
        values = _numbers_if_mostly(stripped, known, sign)
        if values is None:
            columns.append(_category(name, stripped, known))
            continue
        texts[name] = known & np.isnan(values) & np.array([cell.lower() not in MARKS for cell in stripped], dtype=bool)
        columns.append(Column(name, values))
    return columns, places("Text among numbers, taken as missing", texts, rows), left_out


def decimal_sign(columns: Sequence[Sequence[str]], commas_likely: bool) -> str:
    """The decimal sign, "." or ",", by the cells that can be read in one way only.

    Where there are none: the comma if some cell has one and commas_likely.
    """
    cells = [cell.strip() for column in columns for cell in column[:SAMPLE]]
    commas, points = (sum(map(bool, map(CLEARLY[sign].fullmatch, cells))) for sign in ",.")
    if commas == points == 0:
        return "," if commas_likely and any(map(EITHER.fullmatch, cells)) else "."
    return "," if commas > points else "."


def numbers(cells: Sequence[str], sign: str) -> Array:
    """The number that each stripped cell stands for, NaN where it stands for none."""
    return np.array([_number(cell, sign) for cell in cells], dtype=float)


def _all_plain(cells: Sequence[str]) -> Array | None:
    """The cells as numbers where each is one as Python writes it, or "nan"."""
    if any("_" in cell for cell in cells):  # Python reads 1_000 as a number, people do not
        return None
    try:
        return np.fromiter(map(float, cells), float, len(cells))
    except ValueError:
        return None


def _number(cell: str, sign: str) -> float:
    cell = cell.replace("−", "-")
    if INFINITE.fullmatch(cell):
        return float(cell)
    found = WRITTEN[sign].fullmatch(cell)
    if found is None or not any(map(str.isdigit, cell.lower().split("e")[0])):
        return np.nan
    apart = found["apart"]
    return float((cell.replace(apart, "") if apart else cell).replace(sign, "."))


def _numbers_if_mostly(cells: Sequence[str], known: Array, sign: str) -> Array | None:
    """The column's numbers, NaN where a cell holds none; None where most hold something else."""
    meant = known & np.array([cell.lower() not in MARKS for cell in cells], dtype=bool)
    if not meant.any():
        return np.full(len(cells), np.nan) if not known.any() else None
    for each in (sign, "," if sign == "." else "."):
        values = numbers(cells, each)
        if (~np.isnan(values) & meant).sum() >= MOSTLY * meant.sum():
            return values
    return None


def _dates(cells: Sequence[str], known: Array) -> bool:
    """Whether most cells hold a date or a time of day."""
    found = sum(1 for cell in cells if DATE.fullmatch(cell))
    return bool(found) and found >= MOSTLY * known.sum()


def _category(name: str, cells: Sequence[str], known: Array) -> Column:
    categories = sorted({cell for cell, there in zip(cells, known, strict=True) if there})
    number = {category: k for k, category in enumerate(categories)}
    values = np.array([number.get(cell, -1) for cell in cells], dtype=np.int64)
    return Column(name, values, tuple(categories))
