"""What a reader has in Python as a table: a CSV file, a pandas frame, arrays, or a torch Dataset."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset, IterableDataset

from dyntoolkit.errors import InputError
from dyntoolkit.experiment.record import check_file_size
from dyntoolkit.laboratory.column_names import column_names
from dyntoolkit.laboratory.csv_table import read_csv
from dyntoolkit.laboratory.tables import Array, Column, Table, chosen_rows, table
from dyntoolkit.laboratory.text_columns import text_columns

NAME = "data"  # of what has no file's name
MOST_NUMBERS = 250_000_000  # of a Dataset that is read into memory: 1 GB


def table_of(data: Any, target: str | None = None) -> Table:
    """The table of a CSV file's path, a pandas frame, a pair (X, y) of arrays, tensors or lists, or a torch Dataset.

    target: the column to learn, where the data have named columns; by default the last one, or one that is called
    target, label, class or y. Of a pair and of a Dataset it is y, and X stays one column "x" as it is: no number of a
    sample is left out, images (n, c, h, w) keep their shape. A pair of a frame and y is like a frame with the column y.

    InputError for anything else, for X and y of different length, text in X, complex numbers, and as `read_csv` does.
    """
    if isinstance(data, Table):
        found = data
    elif isinstance(data, str | Path):
        found = _of_file(Path(data))
    elif isinstance(data, pd.DataFrame):
        return _of_frame(data, target)
    elif isinstance(data, Dataset):
        found = _of_dataset(data)
    elif isinstance(data, tuple | list) and len(data) == 2:
        found = _of_pair(*data)
    else:
        raise InputError(
            "data takes the path of a CSV file, a pandas frame, a pair (X, y) or a torch Dataset, "
            f"got {type(data).__name__}.",
            "data",
        )
    return found if target is None else replace(found, target=found.column(target).name)


def _of_file(path: Path) -> Table:
    try:
        check_file_size(path.name, path.stat().st_size)
        return read_csv(path.name, path.read_bytes())
    except OSError as error:
        raise InputError(f"data: {str(path)!r} cannot be read ({error.strerror}).", "data") from error


def _of_frame(frame: pd.DataFrame, target: str | None) -> Table:
    names, notes = column_names([str(name) for name in frame.columns])
    rows, chosen_notes = chosen_rows(len(frame))
    columns: dict[str, Column | None] = {}
    texts, left_out = {}, {}
    for k, name in enumerate(names):
        series = frame.iloc[rows, k]
        if pd.api.types.is_complex_dtype(series):
            raise InputError(f"data: the column {name!r} holds complex numbers, and real ones are needed.", "data")
        if pd.api.types.is_numeric_dtype(series):
            columns[name] = Column(name, series.to_numpy(dtype=np.float64, na_value=np.nan))
        elif series.dtype.kind in "mM" or isinstance(series.dtype, pd.PeriodDtype):
            left_out[name] = "dates or times"
        else:
            columns[name] = None  # its place
            texts[name] = ["" if missing else str(cell) for cell, missing in zip(series, series.isna(), strict=True)]
    found, text_notes, dates = text_columns(texts, ".", rows)
    columns |= {column.name: column for column in found}
    kept = [column for column in columns.values() if column is not None]
    return table(NAME, kept, rows, [*chosen_notes, *notes, *text_notes], target, {**left_out, **dates})


def _of_pair(x: Any, y: Any) -> Table:
    if isinstance(x, pd.DataFrame):
        values = y.to_numpy() if isinstance(y, pd.Series) else y
        if len(values) != len(x):
            raise _different(len(x), len(values))
        name = str(y.name) if isinstance(y, pd.Series) and y.name is not None else "y"
        names, _ = column_names([*map(str, x.columns), name])
        frame = pd.concat([x.reset_index(drop=True), pd.Series(list(values))], axis=1)
        return _of_frame(frame.set_axis(names, axis=1), names[-1])
    inputs, targets = _array("X", x), _array("y", y)
    if len(inputs) != len(targets):
        raise _different(len(inputs), len(targets))
    rows, notes = chosen_rows(len(inputs))
    return _of_arrays(inputs[rows], targets[rows], rows, notes)


def _of_dataset(data: Any) -> Table:
    if isinstance(data, IterableDataset) or not hasattr(data, "__len__"):
        raise InputError("data: a Dataset without a length cannot be taken into memory: give arrays (X, y).", "data")
    rows, notes = chosen_rows(len(data))
    samples = [_sample(data, int(row), len(rows)) for row in rows]
    try:
        inputs, targets = (np.stack(parts) for parts in zip(*samples, strict=True))
    except ValueError as error:
        raise InputError(f"data: the samples of the Dataset differ in shape ({error}).", "data") from error
    return _of_arrays(_numbers("X", inputs), targets, rows, notes)


def _sample(data: Any, row: int, rows: int) -> tuple[Array, Array]:
    """Input and target of a row of a Dataset."""
    sample = data[row]
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        raise InputError(f"data: sample {row} of the Dataset is no pair (x, y).", "data")
    x, y = (plain_array("data", part) for part in sample)
    if x.size * rows > MOST_NUMBERS:
        raise InputError(
            f"data: {rows:,} samples of {x.size:,} numbers are {x.size * rows:,}, at most {MOST_NUMBERS:,} are taken.",
            "data",
        )
    return x, y


def _of_arrays(inputs: Array, targets: Array, rows: Array, notes: Sequence[str]) -> Table:
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim > 2:
        raise InputError(f"y takes one number, or k, for each sample, got the shape {targets.shape}.", "data")
    if targets.ndim == 1 and targets.dtype.kind in "OSU":
        categories, values = np.unique(targets.astype(str), return_inverse=True)
        learned = Column("y", values.astype(np.int64), tuple(categories.tolist()))
    else:
        learned = Column("y", _numbers("y", targets))
    return table(NAME, [Column("x", inputs), learned], rows, notes, "y")


def _different(inputs: int, targets: int) -> InputError:
    return InputError(f"data: X has {inputs:,} samples and y {targets:,}, as many are needed.", "data")


def _array(name: str, values: Any) -> Array:
    """An array with at least one axis; that of X of numbers."""
    found = plain_array(name, values)
    if found.ndim == 0 or not found.size:
        raise InputError(f"{name} takes one entry or more for each sample, got the shape {found.shape}.", "data")
    return _numbers(name, found) if name == "X" else found


def plain_array(name: str, values: Any) -> Array:
    """A tensor, masked array, frame or list as an array on the CPU; InputError for rows of different length."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return np.asarray((values.float() if values.dtype == torch.bfloat16 else values).numpy())
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name}: its rows differ in length.", "data") from error


def _numbers(name: str, values: Array) -> Array:
    """The values as float32 where these hold them, or else as float64."""
    if values.dtype.kind == "c":
        raise InputError(f"{name} holds complex numbers, and real ones are needed.", "data")
    narrow = values.dtype.itemsize <= (4 if values.dtype.kind == "f" else 2)
    try:
        return values.astype(np.float32 if narrow else np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} holds something that is no number ({error}); texts become "
            "categories in a pandas frame or a CSV file.",
            "data",
        ) from error
