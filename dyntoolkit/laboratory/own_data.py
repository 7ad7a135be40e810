"""A reader's own data, ready to train and to test on."""

from typing import Any, NamedTuple

import numpy as np
import torch

from dyntoolkit.errors import InputError
from dyntoolkit.laboratory.table_of import plain_array, table_of
from dyntoolkit.laboratory.tables import Table, chosen_rows

Tensor = torch.Tensor

TEST_SHARE = 0.2
CLASS_LOSSES = ("cross_entropy", "logistic")


class OwnData(NamedTuple):
    """Inputs x (n, *sample) float32 and targets, numbers y (n, k) float32 or classes (n,) int64, to train and test on.

    classes: how many there are, 0 for numbers. notes: what was left out, in words. features: names of the columns of x,
    none of images. names: of the classes. target: what is learned.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int
    notes: tuple[str, ...]
    features: tuple[str, ...]
    names: tuple[str, ...]
    target: str


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
    words = (*table.notes, *split.notes), split.features, split.classes, table.target
    return OwnData(split.x, split.y, split.test_x, split.test_y, len(split.classes), *words)


def _task(table: Table, loss: Any, data: Any) -> str:
    """Whether the target is "classes" or "numbers"."""
    column = table.column(table.target)
    if column.categories:
        return "classes"
    if isinstance(loss, str) and loss in CLASS_LOSSES:
        if column.values.ndim > 1:
            got = f"{table.target} has {column.values[0].size} numbers"
            raise InputError(
                f"loss: {loss} needs one class for each sample, and {got}: take y.argmax(1), or mse.", "loss"
            )
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
    parts = [[plain_array(name, part) for part in both] for name, both in (("X", (x, test_x)), ("y", (y, test_y)))]
    for name, (first, second) in zip(("X", "y"), parts, strict=True):
        if first.shape[1:] != second.shape[1:]:
            shapes = f"{first.shape} to train and {second.shape} to test"
            raise InputError(f"data: {name} has the shape {shapes}; all but the first number must agree.", "data")
    for first, second in zip(*parts, strict=True):
        if len(first) != len(second):
            raise InputError(f"data: {len(first):,} samples and {len(second):,} targets; as many are needed.", "data")
    table = table_of(tuple(map(np.concatenate, parts)))
    inputs, learned = table.column("x"), table.column("y")
    rows, _ = chosen_rows(len(x) + len(test_x))
    kept, to_test = ~(inputs.missing | learned.missing), rows >= len(x)
    if not ((kept & to_test).any() and (kept & ~to_test).any()):
        raise InputError("data: no row without a missing value is left to train or to test on.", "data")
    names: tuple[str, ...]
    if _task(table, loss, (x, y)) == "numbers":
        names, targets = (), torch.tensor(learned.block(), dtype=torch.float32)
    else:
        labels = np.unique(learned.known)
        names = tuple(learned.categories[k] for k in labels) if learned.categories else tuple(f"{k:g}" for k in labels)
        targets = torch.from_numpy(np.searchsorted(labels, learned.values))
    values = inputs.values if inputs.values.ndim > 1 else inputs.values[:, None]
    samples = torch.tensor(values, dtype=torch.float32)
    train, test = (torch.from_numpy(kept & which) for which in (~to_test, to_test))
    words = tuple(table.notes), tuple(inputs.block_names()) if samples.ndim == 2 else (), names, "y"
    return OwnData(samples[train], targets[train], samples[test], targets[test], len(names), *words)
