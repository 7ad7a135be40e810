"""What a sweep has found, as tables for a terminal."""

import itertools

import xarray as xr

from dyntoolkit.app.printout import WIDTH
from dyntoolkit.catalog.sweep_words import sweep_words
from dyntoolkit.engine.history import Array
from dyntoolkit.experiment.words import number_words, numbers_words

GAP = "  "


def sweep_text(runs: xr.Dataset) -> str:
    """What a sweep has found, with what is missing above it."""
    return "\n".join([*sweep_words(runs), sweep_table(runs)])


def sweep_table(runs: xr.Dataset) -> str:
    """A line for each setting, its metrics as median [least, largest] over the seeds that did not diverge.

    What is wider than 100 columns goes on in a table of its own.
    """
    fields = [str(name) for name in runs["trained"].dims[:-1]]
    cells = list(itertools.product(*(runs[name].values.tolist() for name in fields)))
    heads = [[name, *(_plain(cell[k]) for cell in cells)] for k, name in enumerate(fields)]
    values = runs["metrics"].values.reshape(len(cells), runs.sizes["seed"], -1)  # (cells, seeds, metrics)
    trained = runs["trained"].values.reshape(len(cells), runs.sizes["seed"])
    lost = runs["diverged_at"].notnull().values.reshape(trained.shape)
    columns = [
        [str(name), *(_cell(*own) for own in zip(values[..., k], trained & ~lost, trained & lost, strict=True))]
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


def _cell(values: Array, sound: Array, lost: Array) -> str:
    """A metric of one setting, all (seeds,); a run that diverged has none."""
    words = [numbers_words(values[sound].tolist())] if sound.any() else []
    return ", ".join(words + ([f"{lost.sum()} diverged"] if lost.any() else []))


def _plain(value: object) -> str:
    return number_words(value) if isinstance(value, float) else str(value)


def _width(column: list[str]) -> int:
    return max(map(len, column)) + len(GAP)


def _lines(columns: list[list[str]]) -> str:
    rows = zip(*[[cell.ljust(_width(column)) for cell in column] for column in columns], strict=True)
    return "\n".join("".join(row).rstrip() for row in rows)
