"""What a sweep has found, as tables for a terminal."""

import itertools

import xarray as xr

from dyntoolkit.app.printout import GAP, WIDTH
from dyntoolkit.catalog.sweep_words import sweep_words
from dyntoolkit.engine.history import Array
from dyntoolkit.experiment.config import value_words
from dyntoolkit.experiment.words import numbers_words


def sweep_text(runs: xr.Dataset) -> str:
    """What a sweep has found, with what is missing above it."""
    return "\n".join([*sweep_words(runs), sweep_table(runs)])


def sweep_table(runs: xr.Dataset) -> str:
    """A line for each setting, its metrics as median [least, largest] over the seeds that did not diverge.

    What is wider than 100 columns goes on in a table of its own.
    """
    fields = [str(name) for name in runs["trained"].dims[:-1]]
    cells = list(itertools.product(*(runs[name].values.tolist() for name in fields)))
    heads = [[name, *(value_words(cell[k]) for cell in cells)] for k, name in enumerate(fields)]
    values = runs["metrics"].values.reshape(len(cells), runs.sizes["seed"], -1)  # (cells, seeds, metrics)
    trained = runs["trained"].values.reshape(len(cells), runs.sizes["seed"])
    lost = runs["diverged_at"].notnull().values.reshape(trained.shape)
    columns = [
        [str(name), *(_cell(*own) for own in zip(values[..., k], trained, lost, strict=True))]
        for k, name in enumerate(runs["metric"].values)
    ]
    tables, room = [list(heads)], WIDTH - sum(map(_width, heads))
    for column in columns:
        room -= _width(column)
        if room < 0 and len(tables[-1]) > len(heads):
            tables.append(list(heads))
            room = WIDTH - sum(map(_width, heads)) - _width(column)
        tables[-1].append(column)
    return "\n\n".join(map(_lines, tables))


def _cell(values: Array, trained: Array, lost: Array) -> str:
    """A metric of one setting, all (seeds,)."""
    return numbers_words(values[trained].tolist(), lost[trained].tolist())


def _width(column: list[str]) -> int:
    return max(map(len, column)) + len(GAP)


def _lines(columns: list[list[str]]) -> str:
    rows = zip(*[[cell.ljust(_width(column)) for cell in column] for column in columns], strict=True)
    return "\n".join("".join(row).rstrip() for row in rows)
