"""The numbers of a run as a file, CSV, JSON or netCDF, and its weights as safetensors. Each says what made it."""

import csv
import io
import json
import math

import numpy as np
from safetensors.numpy import save

from dyntoolkit.catalog.course import course
from dyntoolkit.catalog.provenance import KEY, Provenance, plain
from dyntoolkit.catalog.weights import FILE, weights
from dyntoolkit.engine.history import PICTURE, Array, History
from dyntoolkit.experiment import Experiment

MOST_NUMBERS = 3_000_000  # in JSON, where each takes about 20 bytes
DIVERGED = "diverged_at"


def csv_file(history: History, made: Provenance) -> bytes:
    """A row for each run and recorded step, a column for each number; lines that begin with # say what made it.

    Empty: not measured at that step, or NaN. A quantity of PICTURE or more numbers per run and step is left out.
    """
    columns: dict[str, tuple[Array, Array]] = {}  # label -> steps (T,), values (T, R)
    left_out = []
    for name in history.names():
        steps, values = course(history, name)  # (T,), (T, R, ...)
        flat = values.reshape(*values.shape[:2], math.prod(values.shape[2:]))  # (T, R, K)
        if flat.shape[2] >= PICTURE:
            left_out.append(f"{name} ({' x '.join(map(str, values.shape[2:]))} numbers)")
        for k in range(flat.shape[2] if flat.shape[2] < PICTURE else 0):
            columns[name if values.ndim == 2 else f"{name}[{k}]"] = steps, flat[:, :, k]
    recorded = np.unique(np.concatenate([steps for steps, _ in columns.values()] or [np.zeros(0, dtype=int)]))
    text = io.StringIO()
    text.write(f"# {KEY}: {made.text()}\n")
    text.write(f"# {len(recorded) * len(history.seeds)} rows; read_csv(..., comment='#') of pandas reads them\n")
    if left_out:
        text.write(f"# left out, too many for a table (netCDF has them): {', '.join(left_out)}\n")
    write = csv.writer(text, lineterminator="\n")
    write.writerow(["run", "seed", "step", *columns])
    for r, seed in enumerate(history.seeds):
        cells = [_cells(recorded, steps, values[:, r]) for steps, values in columns.values()]
        write.writerows(zip([r] * len(recorded), [seed] * len(recorded), recorded.tolist(), *cells, strict=True))
    return text.getvalue().encode()


def _cells(recorded: Array, steps: Array, values: Array) -> list[str]:
    """A column of the table: values (T,) at their steps (T,) among all recorded ones."""
    cells = [""] * len(recorded)
    for at, value in zip(np.searchsorted(recorded, steps).tolist(), values.astype(np.float64).tolist(), strict=True):
        cells[at] = "" if math.isnan(value) else repr(value)
    return cells


def json_file(history: History, made: Provenance) -> bytes:
    """One document: what made it, the metrics, and of each quantity its steps (T,) and values (T, R, ...).

    null is NaN. Where they are more than MOST_NUMBERS, the largest quantities are left out, and named under "left_out".
    """
    found = {name: course(history, name) for name in history.names()}  # steps (T,), values (T, R, ...)
    left_out, total = [], sum(values.size for _, values in found.values())
    while total > MOST_NUMBERS:
        name = max(found, key=lambda name: found[name][1].size)
        total -= found.pop(name)[1].size
        left_out.append(name)
    kept = {name: {"steps": steps.tolist(), "values": plain(values)} for name, (steps, values) in found.items()}
    document = {
        KEY: json.loads(made.text()),
        DIVERGED: [int(step) if step >= 0 else None for step in history.diverged],
        "metrics": {name: plain(values) for name, values in made.metrics.items()},
        "quantities": kept,
        "left_out": left_out,
    }
    return json.dumps(document, allow_nan=False).encode()


def netcdf_file(history: History, made: Provenance) -> bytes:
    """The data set of `History.to_xarray`, with an attribute that says what made it."""
    dataset = history.to_xarray()
    dataset.attrs[KEY] = made.text()
    # Into memory first: where the disk is full, HDF5 brings the process down.
    return bytes(dataset.to_netcdf(engine="h5netcdf"))


def safetensors_file(experiment: Experiment, history: History, made: Provenance, name: str = FILE) -> bytes:
    """The weights of all runs, and in the file's metadata what made it and how to load them. name: of the file."""
    found = weights(experiment, history)
    metadata = {KEY: made.text(), "load": found.lines.replace(repr(FILE), repr(name))}
    return save({key: np.ascontiguousarray(value) for key, value in found.tensors.items()}, metadata)
