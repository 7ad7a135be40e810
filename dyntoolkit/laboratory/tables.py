"""A reader's data as a table: what was found in it, in words, and its way into arrays to train and to test on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.errors import InputError, unknown

Array = np.ndarray

TASKS = ("classes", "numbers")
MISSING = ("drop rows", "fill with the mean")
TARGETS = ("target", "label", "class", "y")  # a column that is called so is the target, unless another one is asked for
LEAST_ROWS = 4
MOST_ROWS = 20_000
MOST_CLASSES = 100
MOST_TEXTS = 20  # different texts of a column that becomes features
WHOLE = 20  # different whole numbers that are taken for classes
LARGEST = float(np.finfo(np.float32).max)


class Split(NamedTuple):
    """A table's rows in random order, some to train on and the others to test on.

    x, test_x: (n, d) float32, or (n, *cell) where a sample is an image. y, test_y: classes (n,) int64, or numbers
    (n, k) float32. features: d names, none for images. classes: their names, none for numbers. target_mean and
    target_spread (k,) float32 turn standardized numbers back: y * spread + mean. notes: what became of the rows.
    """

    x: torch.Tensor
    y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    features: tuple[str, ...]
    classes: tuple[str, ...]
    target_mean: torch.Tensor
    target_spread: torch.Tensor
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Column:
    """One value for each row: numbers (n,) or arrays of them (n, *cell), NaN where one is missing, or categories.

    With categories, values (n,) int64 holds the number of each row's category, -1 where it is missing.
    """

    name: str
    values: Array
    categories: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What the column holds: "number" or "category"."""
        return "category" if self.categories else "number"

    @property
    def missing(self) -> Array:
        """Which rows lack a value, (n,) bool."""
        lacks = self.values < 0 if self.categories else np.isnan(self.values)
        return np.asarray(lacks.reshape(len(lacks), -1).any(1))

    @property
    def n_missing(self) -> int:
        """How many rows lack a value."""
        return int(self.missing.sum())

    @property
    def known(self) -> Array:
        """The values of the rows that have one."""
        return np.asarray(self.values[~self.missing])

    def block(self) -> Array:
        """The column as features (n, m), NaN where missing: categories with one column each, two of them with one."""
        if not self.categories:
            return np.asarray(self.values.reshape(len(self.values), -1))
        hot: Array = (self.values[:, None] == np.arange(len(self.categories))).astype(float)
        hot[self.missing] = np.nan
        return hot[:, len(self.categories) == 2 :]

    def block_names(self) -> list[str]:
        """The names of the m features of `block`."""
        if self.categories:
            return [f"{self.name} = {category}" for category in self.categories][len(self.categories) == 2 :]
        if self.values.ndim == 1:
            return [self.name]
        return [f"{self.name}{k + 1}" for k in range(self.values[0].size)]


@dataclass(frozen=True, eq=False)
class Table:
    """Columns that can be learned from, the name of the target, and what was recognized or left out.

    left_out says for each column that is not among `columns` why; notes say it in words for the reader.
    """

    name: str
    columns: tuple[Column, ...]
    target: str
    notes: list[str]
    left_out: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns; each may be the target."""
        return tuple(column.name for column in self.columns)

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.columns[0].values)

    def column(self, name: str) -> Column:
        """The column of that name; InputError where there is none, or where it was left out."""
        for column in self.columns:
            if column.name == name:
                return column
        if name in self.left_out:
            raise InputError(f"target: the column {name!r} cannot be learned, it is {self.left_out[name]}.", "target")
        raise InputError(f"target: {unknown('column', name, self.names)}", "target")

    def guess(self, target: str) -> str:
        """What the column is, "classes" or "numbers": texts and a few whole numbers are taken for classes."""
        column = self.column(target)
        if column.categories:
            return "classes"
        if column.values.ndim > 1:
            return "numbers"
        values = np.unique(column.known)
        few = len(values) <= min(WHOLE, max(2, self.n_rows // 5))
        return "classes" if few and bool((values == np.round(values)).all()) else "numbers"

    def split(self, target: str, task: str, test_share: float, standardize: bool, missing: str, seed: int = 0) -> Split:
        """Arrays to train and to test on.

        task: "classes" or "numbers". test_share: share of the rows for the test, of each class alike. standardize: all
        numbers, those of the target too, get mean 0 and standard deviation 1 in the training rows; images get one mean
        and one deviation for all pixels, and categories stay 0 or 1. missing: "drop rows", or "fill with the mean" of
        the training rows; rows without a target are always dropped. seed: of the rows' order.

        InputError where target and task do not fit each other, or too few rows are left.
        """
        if task not in TASKS:
            raise unknown("task", task, TASKS)
        if missing not in MISSING:
            raise unknown("treatment of missing values", missing, MISSING)
        if not 0 < test_share < 1:
            raise InputError(f"test_share takes a number between 0 and 1, got {test_share!r}.", "test_share")
        learned = self.column(target)
        y, classes = _labels(learned) if task == "classes" else (_numbers(learned), ())
        features = self._features(target)
        x, names, stays = _inputs(features)

        kept = ~learned.missing
        if missing == "drop rows":
            kept &= ~np.isnan(x.reshape(len(x), -1)).any(1)
        notes = [] if kept.all() else [f"{(~kept).sum():,} of {len(kept):,} rows lack a value and are dropped."]
        x, y = x[kept], y[kept]
        self._check_rows(features, y, classes)

        train, test = _train_and_test(y if classes else np.zeros(len(y)), test_share, np.random.default_rng(seed))
        x, test_x = _filled(x[train], x[test])
        y, test_y = y[train], y[test]
        mean, spread = np.zeros(1), np.ones(1)
        if standardize:
            x_mean, x_spread = _mean_and_spread(x, stays)
            x, test_x = (x - x_mean) / x_spread, (test_x - x_mean) / x_spread
        if standardize and not classes:
            mean, spread = _mean_and_spread(y, np.zeros(y.shape[1], dtype=bool))
            y, test_y = (y - mean) / spread, (test_y - mean) / spread
        dtype = torch.int64 if classes else torch.float32
        return Split(
            torch.tensor(x, dtype=torch.float32),
            torch.tensor(y, dtype=dtype),
            torch.tensor(test_x, dtype=torch.float32),
            torch.tensor(test_y, dtype=dtype),
            names,
            classes,
            torch.tensor(mean, dtype=torch.float32),
            torch.tensor(spread, dtype=torch.float32),
            tuple(notes),
        )

    def _features(self, target: str) -> list[Column]:
        found = [c for c in self.columns if c.name != target and len(c.categories) <= MOST_TEXTS]
        if not found:
            raise InputError(f"target: beside {target!r} there is no column left to learn from.", "target")
        return found

    def _check_rows(self, features: Sequence[Column], y: Array, classes: tuple[str, ...]) -> None:
        if len(y) < LEAST_ROWS:
            worst = max(features, key=lambda column: column.n_missing)
            hint = f"; {worst.name!r} lacks {worst.n_missing:,} values" if worst.n_missing else ""
            raise InputError(f"{self.name}: rows left: {len(y)}, needed: at least {LEAST_ROWS}{hint}.", "missing")
        if classes and len(np.unique(y)) < 2:
            raise InputError(
                f"target: in the {len(y):,} rows that are left there is one class only, {classes[y[0]]!r}; "
                "at least two are needed.",
                "target",
            )


def table(
    name: str,
    columns: Sequence[Column],
    rows: Sequence[int] | Array,
    notes: Iterable[str],
    target: str | None = None,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """The table of these columns, without those that nothing can be learned from.

    rows: what the reader calls each row, for the notes. notes and left_out: those that there are already. target: the
    last column, or one called target, label, class or y, where none is asked for. InputError where fewer than two
    columns remain, or the target that is asked for does not.
    """
    infinite = {column.name: _infinite(column) for column in columns}
    columns = [_without(column, infinite[column.name]) for column in columns]
    left_out = {**left_out, **{column.name: reason for column in columns if (reason := _useless(column))}}
    kept = tuple(column for column in columns if column.name not in left_out)
    said = [
        *notes,
        *places("Infinite or too large, taken as missing", infinite, rows),
        *places("Missing values", {column.name: column.missing for column in kept}, rows),
        *_left_out_notes(left_out),
    ]
    many = [column.name for column in kept if len(column.categories) > MOST_TEXTS]
    if many:
        said.append(f"Only as a target, for it has more than {MOST_TEXTS} different texts: {listed(many)}.")
    found = Table(name, kept, target or "", said, left_out)
    if target is not None:
        found.column(target)
    if len(kept) < 2:
        only = f"one column only to learn from, {kept[0].name!r}" if kept else "no column to learn from"
        why = "".join(f" {note}" for note in _left_out_notes(left_out))
        raise InputError(f"{name} has {only}; a target and at least one feature are needed.{why}", "file")
    return replace(found, target=target or _likely_target(found.names))


def _likely_target(names: Sequence[str]) -> str:
    called = {name.lower(): name for name in reversed(names)}
    return next((called[word] for word in TARGETS if word in called), names[-1])


def chosen_rows(n: int, most: int = MOST_ROWS) -> tuple[Array, list[str]]:
    """The numbers of the rows to keep of n, in order, and a note where these are not all: a random choice of `most`."""
    if n <= most:
        return np.arange(n), []
    chosen = np.sort(np.random.default_rng(0).choice(n, most, replace=False))
    return chosen, [f"Of {n:,} rows {most:,} are used, chosen at random."]


def places(what: str, marked: dict[str, Array], rows: Sequence[int] | Array) -> list[str]:
    """One note, or none, on how many rows of each column are marked (n,) bool, and the first of them."""
    found = [(name, which) for name, which in marked.items() if which.any()]
    texts = [f"{name!r} ({which.sum():,}, the first in row {rows[int(which.argmax())]})" for name, which in found[:5]]
    if len(found) > 5:
        texts.append(f"{len(found) - 5} more columns")
    return [f"{what}: {', '.join(texts)}."] if texts else []


def listed(names: Sequence[str]) -> str:
    """The names for a sentence, of many the first five."""
    quoted = [repr(name) for name in names]
    if len(quoted) > 5:
        quoted = [*quoted[:5], f"{len(quoted) - 5} more"]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


# What a column holds.


def _infinite(column: Column) -> Array:
    """Which rows hold a number that float32 does not, (n,) bool."""
    if column.categories:
        return np.zeros(len(column.values), dtype=bool)
    return np.asarray((np.abs(column.values.reshape(len(column.values), -1)) > LARGEST).any(1))


def _without(column: Column, rows: Array) -> Column:
    """The column with these rows' numbers missing."""
    if not rows.any():
        return column
    values = column.values.copy()
    values[rows] = np.nan
    return replace(column, values=values)


def _useless(column: Column) -> str:
    """Why nothing can be learned from or about the column; "" where something can."""
    known = column.known
    if not len(known):
        return "empty"
    if column.values.ndim > 1:
        return ""
    different = len(np.unique(known))
    if different == 1:
        return "the same in every row"
    if column.categories and different == len(known):
        return "text that differs in every row"
    if different > MOST_CLASSES and column.categories:
        return f"text of more than {MOST_CLASSES} kinds"
    return ""


def _left_out_notes(left_out: dict[str, str]) -> list[str]:
    """One note for each reason to leave columns out."""
    reasons = dict.fromkeys(left_out.values())
    return [f"Left out, {why}: {listed([name for name in left_out if left_out[name] == why])}." for why in reasons]


# Arrays.


def _labels(column: Column) -> tuple[Array, tuple[str, ...]]:
    """The class of each row (n,) int64, any where it is missing, and the classes' names."""
    if column.values.ndim > 1:
        raise InputError(f"target: {column.name!r} has several numbers in each row, classes take one.", "target")
    if column.categories:
        return column.values, column.categories
    values = np.unique(column.known)
    if len(values) > MOST_CLASSES:
        rows = len(column.known)
        raise InputError(
            f"target: {column.name!r} has {len(values):,} different values in {rows:,} rows; as classes at most "
            f"{MOST_CLASSES} are taken, as numbers any.",
            "target",
        )
    names = tuple(str(int(value)) if value == int(value) else str(value) for value in values.tolist())
    return np.searchsorted(values, np.where(column.missing, values[0], column.values)), names


def _numbers(column: Column) -> Array:
    """The numbers of each row, (n, k)."""
    if column.categories:
        raise InputError(
            f"target: {column.name!r} holds text ({listed(column.categories)}), and numbers are needed; "
            "as classes it can be learned.",
            "target",
        )
    return column.block()


def _inputs(columns: Sequence[Column]) -> tuple[Array, tuple[str, ...], Array]:
    """The features (n, d) with their names, and which are no numbers (d,) bool; or images (n, *cell) as they are."""
    if columns[0].values.ndim > 2:
        return columns[0].values, (), np.zeros(1, dtype=bool)
    blocks = [column.block() for column in columns]
    names = tuple(name for column in columns for name in column.block_names())
    stays = np.repeat([bool(column.categories) for column in columns], [block.shape[1] for block in blocks])
    return np.concatenate(blocks, axis=1), names, stays


def _train_and_test(labels: Array, share: float, random: np.random.Generator) -> tuple[Array, Array]:
    """Row numbers in random order, of each label a share of the rows to test on; a label's only row is trained on."""
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by label, in each at random
    steps = np.floor(np.arange(len(labels) + 1) * share + 1e-9)
    test = np.diff(steps) > 0  # evenly along the order, so of every label alike
    _, where, count = np.unique(labels[order], return_index=True, return_counts=True)
    test[where[count == 1]] = False
    if not test.any() or test.all():
        of = f"of {len(labels):,} rows"
        raise InputError(
            f"test_share: {share:g} {of} leaves none to {'train' if test.all() else 'test'} on.", "test_share"
        )
    return random.permutation(order[~test]), random.permutation(order[test])


def _filled(train: Array, test: Array) -> tuple[Array, Array]:
    """Both with the mean of what is known in training where a number is missing."""
    known = ~np.isnan(train)
    total = np.where(known, train, 0).sum(0, dtype=np.float64)
    mean = total / np.maximum(known.sum(0), 1)
    return np.where(known, train, mean), np.where(np.isnan(test), mean, test)


def _mean_and_spread(x: Array, stays: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, or of all pixels of images; 0 and 1 for those that stay."""
    axis = 0 if x.ndim == 2 else None
    mean, spread = x.mean(axis, dtype=np.float64), x.std(axis, dtype=np.float64)
    return np.where(stays, 0, mean), np.where(stays | (spread == 0), 1, spread)
