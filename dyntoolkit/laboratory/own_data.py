"""A reader's own data, ready to train and to test on."""

from typing import Any, NamedTuple

import numpy as np
import torch

from dyntoolkit.errors import InputError
from dyntoolkit.laboratory.table_of import table_of
from dyntoolkit.laboratory.tables import Table

Tensor = torch.Tensor

TEST_SHARE = 0.2
CLASS_LOSSES = ("cross_entropy", "logistic")


class OwnData(NamedTuple):
    """Inputs x (n, *sample) float32 and targets, numbers y (n, k) float32 or classes (n,) int64, to train and test on.

    classes: how many there are, 0 for numbers. notes: what was left out, in words.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int
    notes: tuple[str, ...]


def own_data(data: Any, target: str | None, loss: Any) -> OwnData:
    """The data of a reader; InputError for what cannot be learned.

    data: (X, y), (X, y, test_X, test_y), a torch Dataset, a pandas frame, or the path of a CSV file. The columns of a
    frame or a file are standardized, all else is taken as it is. Without data to test on, a fifth of the rows is taken
    for it, of each class alike. target: the column to learn. loss: says whether targets are classes or numbers, where
    it is a name; else whole numbers and words are classes.
    """
    if isinstance(data, tuple | list) and len(data) == 4:
        x, y, test_x, test_y = data
        return _given(x, y, test_x, test_y, loss)
    plain = isinstance(data, tuple | list | torch.utils.data.Dataset)
    if isinstance(data, tuple | list) and len(data) != 2:
        raise InputError(f"data takes (X, y) or (X, y, test_X, test_y), got {len(data)} things.", "data")
    table = table_of(data, target)
    task = _task(table, loss, data)
    split = table.split(table.target, task, TEST_SHARE, not plain, "drop rows")
    notes = (*table.notes, *split.notes)
    return OwnData(split.x, split.y, split.test_x, split.test_y, len(split.classes), notes)


def _task(table: Table, loss: Any, data: Any) -> str:
    """Whether the target is "classes" or "numbers"."""
    column = table.column(table.target)
    if column.categories:
        return "classes"
    if isinstance(loss, str) and loss in CLASS_LOSSES:
        fractions = column.known[column.known != np.round(column.known)]
        if len(fractions):
            got = f"{table.target} holds {fractions[0]:g}"
            raise InputError(f"loss: {loss} needs classes, words or whole numbers, and {got}: take mse.", "loss")
        return "classes"
    floats = isinstance(data, tuple | list) and _is_float(data[1])
    if loss == "mse" or (callable(loss) and floats):
        return "numbers"
    return table.guess(table.target)


def _is_float(values: Any) -> bool:
    if isinstance(values, torch.Tensor):
        return values.is_floating_point()
    return np.asarray(values).dtype.kind == "f"


def _given(x: Any, y: Any, test_x: Any, test_y: Any, loss: Any) -> OwnData:
    """Data of which the reader says what to train and what to test on."""
    tables = [table_of((_plain(a), b)) for a, b in ((x, y), (test_x, test_y))]
    shapes = [table.column("x").values.shape[1:] for table in tables]
    if shapes[0] != shapes[1]:
        raise InputError(f"data: samples have the shapes {shapes[0]} to train and {shapes[1]} to test.", "data")
    tasks = {_task(table, loss, (None, values)) for table, values in zip(tables, (y, test_y), strict=True)}
    (train_x, train_y), (to_test_x, to_test_y) = map(_rows, tables)
    notes = tuple(note for table in tables for note in table.notes)
    if tasks != {"classes"}:
        ys = [torch.tensor(np.asarray(each, dtype=np.float32)) for each in (train_y, to_test_y)]
        return OwnData(train_x, ys[0], to_test_x, ys[1], 0, notes)
    names = np.unique(np.concatenate([train_y, to_test_y]))
    ys = [torch.from_numpy(np.searchsorted(names, each[:, 0])) for each in (train_y, to_test_y)]
    return OwnData(train_x, ys[0], to_test_x, ys[1], len(names), notes)


def _rows(table: Table) -> tuple[Tensor, np.ndarray]:
    """Inputs (n, *sample) and targets (n, k), or words (n, 1), of the rows that lack no value."""
    x, y = table.column("x"), table.column("y")
    kept = ~(x.missing | y.missing)
    values = np.array(y.categories, dtype=object)[y.values[kept]] if y.categories else y.values[kept]
    return torch.tensor(x.values[kept], dtype=torch.float32), values.reshape(len(values), -1)


def _plain(x: Any) -> Any:
    """A frame of numbers as an array."""
    return x.to_numpy() if hasattr(x, "to_numpy") else x
