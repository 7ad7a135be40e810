"""`open_sweep`: the batches of a sweep, finished or not, as one labelled data set whose curves stay on the disk."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from dyntoolkit.catalog.sweep_store import SweepStore
from dyntoolkit.engine.history import Array


@dataclass(frozen=True)
class Part:
    """A finished batch of B runs. cells: (B,), their places in the grid. curves: name -> steps (T,), inner shape."""

    path: Path
    cells: Array
    metrics: Mapping[str, Array]
    diverged_at: Array
    curves: Mapping[str, tuple[Array, tuple[int, ...]]]
    engine: str


def open_sweep(folder: str | Path) -> xr.Dataset:
    """What a sweep has found so far, from the directory that it was given as `out`.

    The data set has the form of that of `run`: `metrics` with the dimensions (fields of the grid..., "seed",
    "metric"), `diverged_at`, and the curves, if they were kept. `trained` says which runs there are; the others are
    NaN. Labels and units are attributes of the coordinates. Curves are read when their values are asked for.

    Raises InputError where there is no sweep, and for a damaged file.

    >>> import tempfile
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as executor:
    ...     _ = sweep("label_noise.linear", {"noise_std": [0, 2]}, steps=500, out=folder, executor=executor)
    ...     runs = open_sweep(folder)
    >>> runs["trained"].values.tolist()
    [[True], [True]]
    """
    store = SweepStore(folder)
    manifest = store.manifest()
    parts = [_part(path) for path in store.finished().values()]
    coords = {name: axis["values"] for name, axis in manifest["grid"].items()} | {"seed": manifest["seeds"]}
    dims, sizes = tuple(coords), tuple(map(len, coords.values()))

    def table(columns: Sequence[tuple[Array, Any]], *, fill: Any = np.nan) -> Array:
        whole = np.full(math.prod(sizes), fill)
        for cells, values in columns:
            whole[cells] = values
        return whole.reshape(sizes)

    names = list(dict.fromkeys(name for part in parts for name in part.metrics))
    found = [table([(part.cells, part.metrics[name]) for part in parts if name in part.metrics]) for name in names]
    variables: dict[str, Any] = {
        "metrics": ((*dims, "metric"), np.stack(found, axis=-1) if found else np.zeros((*sizes, 0))),
        "diverged_at": (dims, table([(part.cells, part.diverged_at) for part in parts])),
        "trained": (dims, table([(part.cells, True) for part in parts], fill=False)),
    }
    steps = np.unique(np.concatenate([at for part in parts for at, _ in part.curves.values()] or [np.zeros(0, int)]))
    for name in dict.fromkeys(name for part in parts for name in part.curves):
        curve = Curve(name, sizes, steps, parts)
        along = (*dims, "step", *(f"{name}_{axis}" for axis in range(len(curve.inner))))
        variables[name] = xr.Variable(along, indexing.LazilyIndexedArray(curve))
    dataset = xr.Dataset(variables, {**coords, "metric": np.array(names, dtype=str), "step": steps})
    for name, axis in manifest["grid"].items():
        dataset[name].attrs.update({"long_name": axis["label"], "units": axis["unit"]})
    failed = store.failed().values()
    dataset.attrs = {
        "experiment": manifest["experiment"],
        "config": json.dumps(manifest["config"]),
        "engine": ", ".join(sorted({part.engine for part in parts})),
        "versions": json.dumps(manifest["versions"]),
        "source": manifest["source"],
        "failed": json.dumps([each["error"] for each in failed]),
        "failed_runs": sum(len(each["cells"]) for each in failed),
    }
    return dataset if manifest["curves"] else dataset.drop_vars("step")


def _part(path: Path) -> Part:
    with h5py.File(io.BytesIO(path.read_bytes()), "r") as file:
        curves = {
            name: (file[f"steps of {name}"][:], file[name].shape[2:]) for name in json.loads(file.attrs["curves"])
        }
        metrics = dict(zip(json.loads(file.attrs["metrics"]), file["metrics"][:].T, strict=True))
        return Part(path, file["cell"][:], metrics, file["diverged_at"][:], curves, file.attrs["engine"])


class Curve(BackendArray):
    """A curve of all cells, (grid..., seed, step, ...), NaN where there is none, or no value at a step.

    xarray takes slices of it, and only these are read from the files of the batches.
    """

    dtype = np.dtype(np.float64)

    def __init__(self, name: str, sizes: tuple[int, ...], steps: Array, parts: Sequence[Part]) -> None:
        self.name, self.sizes, self.steps = name, sizes, steps
        self.parts = [part for part in parts if name in part.curves]
        inner = np.max([part.curves[name][1] for part in self.parts], axis=0, initial=0)
        self.inner = tuple(inner.astype(int).tolist())  # the largest; others leave the rest empty
        self.shape = (*sizes, len(steps), *self.inner)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Array:
        """The values at an index, slice or array of indices for each dimension."""
        own = len(self.sizes)
        cells = _outer(np.arange(math.prod(self.sizes)).reshape(self.sizes), key[:own], 0)
        rows = self._rows(cells.ravel()).reshape(*cells.shape, len(self.steps), *self.inner)
        return _outer(rows, key[own:], cells.ndim)

    def _rows(self, cells: Array) -> Array:
        """The curves of these cells, (C, T, ...)."""
        found = np.full((len(cells), len(self.steps), *self.inner), np.nan)
        for part in self.parts:
            wanted = np.flatnonzero(np.isin(cells, part.cells))
            if not len(wanted):
                continue
            at, shape = part.curves[self.name]
            rows = np.searchsorted(part.cells, cells[wanted])  # they ascend
            with h5py.File(part.path, "r") as file:
                values = file[self.name][rows.min() : rows.max() + 1]
            corner = np.ix_(wanted, np.searchsorted(self.steps, at), *map(np.arange, shape))
            found[corner] = values[rows - rows.min()]
        return found


def _outer(values: Array, key: tuple[Any, ...], first: int) -> Array:
    """Each axis from the `first` one on indexed by its own part of the key."""
    for axis, each in reversed(list(enumerate(key, first))):
        values = values[(slice(None),) * axis + (each,)]
    return values
