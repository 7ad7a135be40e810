"""What a sweep has found, as tables for a terminal."""

import itertools
import json

import xarray as xr

from dyntoolkit.app.printout import WIDTH
from dyntoolkit.experiment.words import number_words, numbers_words, seeds_words

GAP = "  "


def sweep_heading(runs: xr.Dataset) -> str:
    """What was swept, how much of it is there, and what failed."""
    trained, diverged = int(runs["trained"].sum()), int(runs["diverged_at"].notnull().sum())
    line = f"{runs.attrs['experiment']}, {trained} of {runs['trained'].size} runs"
    lines = [f"{line}, {seeds_words(runs['seed'].values.tolist())}" + (f", {diverged} diverged" if diverged else "")]
    lines += [f"failed: {error}" for error in dict.fromkeys(json.loads(runs.attrs["failed"]))]
    return "\n".join(lines)


def sweep_table(runs: xr.Dataset) -> str:
    """A line for each setting, its metrics as median [least, largest] over the seeds.

    What is wider than 100 columns goes on in a table of its own.
    """
    fields = [str(name) for name in runs["trained"].dims[:-1]]
    cells = list(itertools.product(*(runs[name].values.tolist() for name in fields)))
    heads = [[name, *(_plain(cell[k]) for cell in cells)] for k, name in enumerate(fields)]
    values = runs["metrics"].values.reshape(len(cells), runs.sizes["seed"], -1)  # (cells, seeds, metrics)
    trained = runs["trained"].values.reshape(len(cells), runs.sizes["seed"])
    columns = [
        [str(name), *(numbers_words(each[there, k].tolist()) for each, there in zip(values, trained, strict=True))]
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


def _plain(value: object) -> str:
    return number_words(value) if isinstance(value, float) else str(value)


def _width(column: list[str]) -> int:
    return max(map(len, column)) + len(GAP)


def _lines(columns: list[list[str]]) -> str:
    rows = zip(*[[cell.ljust(_width(column)) for cell in column] for column in columns], strict=True)
    return "\n".join("".join(row).rstrip() for row in rows)
