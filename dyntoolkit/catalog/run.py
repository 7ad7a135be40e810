"""`run`: a grid of settings and seeds, trained side by side, as one labelled data set."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dyntoolkit.catalog.batches import TOGETHER, batches
from dyntoolkit.catalog.course import Course, course, course_label
from dyntoolkit.catalog.grid import Grid, grid_of, is_list
from dyntoolkit.catalog.registry import find
from dyntoolkit.engine.choice import asking, check_asked
from dyntoolkit.engine.history import History
from dyntoolkit.engine.own_state import one_thread
from dyntoolkit.experiment import Config, Experiment, loops, run_metrics, to_the_end
from dyntoolkit.experiment.judging import DIVERGED

if TYPE_CHECKING:
    import xarray as xr

MEMORY = 500_000_000  # bytes that all recorded values may take
MOST_RUNS = 10_000


class _Trained(NamedTuple):
    """What was recorded and the metrics of every cell (setting, seed)."""

    courses: dict[tuple[int, int], dict[str, Course]]
    metrics: dict[tuple[int, int], dict[str, float]]
    thinned: set[str]  # quantities with fewer rows than were recorded
    engines: set[str]


def run(
    experiment: str | Experiment,
    preset: str | None = None,
    *,
    seeds: Any = 1,
    engine: str | None = None,
    device: str = "cpu",
    **settings: Any,
) -> "xr.Dataset":
    """Train every combination of the given settings for every seed, and return what was recorded.

    experiment: its name, or the object. preset: what the other settings are taken from (default: the first one).
    seeds: how many (0, 1, ...), or a list of them. settings: fields of the experiment's Config; a list, tuple, range or
    array of values becomes a dimension of that name, a single value is one for all runs.

    engine: "xla", "recorded" or "eager" (default: the best that the step allows). device: "cpu", or "cuda" for a GPU.

    Each recorded quantity is a variable with the dimensions (listed fields..., "seed", "step", ...), NaN where it was
    not measured at a step. `metrics` has the dimensions (listed fields..., "seed", "metric") and is NaN for a diverged
    run; `diverged_at` is the step at which a run diverged, NaN for a healthy one. Settings that cannot share a training
    loop (other sizes or step counts) are trained in loops of their own. If all values would take more than 500 MB,
    the largest quantities are thinned to every second, fourth, ... recorded step; their last one stays, and such
    a quantity has a dimension of its own, "NAME_step", in place of "step".

    Raises InputError, before anything is trained, for an unknown name, a value out of range or too many runs.

    >>> runs = run("label_noise.linear", steps=500, noise_std=[0.0, 2.0], seeds=2)
    >>> dict(runs["w2"].sizes)
    {'noise_std': 2, 'seed': 2, 'step': 121}
    """
    experiment, asked = find(experiment), check_asked(engine, device)
    listed = {name: value for name, value in settings.items() if is_list(value)}
    single = {name: value for name, value in settings.items() if name not in listed}
    grid = grid_of(experiment, preset, listed, single, seeds, MOST_RUNS)
    cells = {(c, s): (config, seed) for c, config in enumerate(grid.configs) for s, seed in enumerate(grid.seeds)}
    with one_thread(), asking(asked):
        trained = _train(experiment, cells)
    return _dataset(experiment, grid, trained)


def _train(experiment: Experiment, cells: Mapping[tuple[int, int], tuple[Config, int]]) -> _Trained:
    """Train all cells, as many together as can be."""
    places: dict[tuple[Config, int], tuple[int, int]] = {run: cell for cell, run in cells.items()}
    trained = _Trained({}, {}, set(), set())
    for batch in (batch for group in loops(cells.values()) for batch in batches(group, TOGETHER)):
        history = to_the_end(*experiment.start([config for config, _ in batch], [seed for _, seed in batch]))
        found = run_metrics(experiment, history)
        quantities, gone = _within(history, MEMORY * len(batch) / len(cells))
        trained.thinned.update(gone)
        trained.engines.update(history.engine.split(", "))
        for r, run_ in enumerate(batch):
            trained.courses[places[run_]] = {
                name: (steps, values[:, r]) for name, (steps, values) in quantities.items()
            }
            trained.metrics[places[run_]] = {name: float(array[r]) for name, array in found.items()}
    return trained


def _within(history: History, share: float) -> tuple[dict[str, Course], set[str]]:
    """All quantities of a history, name -> steps (T,) and float64 values (T, R, ...), thinned to `share` bytes.

    Also the names of those that were.
    """
    gone: set[str] = set()
    rows = {name: course(history, name) for name in history.names()}
    sizes = {name: 8 * values.size for name, (_, values) in rows.items()}
    while sum(sizes.values()) > share and max(len(rows[name][0]) for name in rows) > 2:
        name = max((name for name in rows if len(rows[name][0]) > 2), key=lambda name: sizes[name])
        steps, values = rows[name]
        kept = np.unique([*range(0, len(steps) - 1, 2), len(steps) - 1])
        rows[name] = (steps[kept], values[kept])
        sizes[name] = 8 * rows[name][1].size
        gone.add(name)
    return {name: (steps, values.astype(np.float64)) for name, (steps, values) in rows.items()}, gone


def _dataset(experiment: Experiment, grid: Grid, trained: _Trained) -> "xr.Dataset":
    """The grid's runs as one xarray.Dataset."""
    import xarray as xr  # takes a while to load, and only this needs it

    courses, metrics, thinned, engines = trained
    coords = {**grid.listed, "seed": grid.seeds}
    sizes = tuple(len(values) for values in coords.values())
    variables: dict[str, Any] = {}
    for name in _in_order(courses.values()):
        own = {cell: found[name] for cell, found in courses.items() if name in found}
        steps = np.unique(np.concatenate([at for at, _ in own.values()]))
        inner = np.max([values.shape[1:] for _, values in own.values()], axis=0, initial=0).astype(int).tolist()
        table = np.full((len(grid.configs), sizes[-1], len(steps), *inner), np.nan)
        for (c, s), (at, values) in own.items():
            corner: list[Any] = [slice(n) for n in values.shape[1:]]  # other sizes leave the rest of the table empty
            table[(c, s, np.searchsorted(steps, at), *corner)] = values
        label = course_label(name, coords)
        along = f"{name}_step" if name in thinned else "step"  # joined with all other steps it would be large again
        dims = (*coords, along, *(f"{name}_{axis}" for axis in range(len(inner))))
        variables[label] = xr.DataArray(table.reshape(*sizes, *table.shape[2:]), dims=dims, coords={along: steps})
    names = [name for name in _in_order(metrics.values()) if name != DIVERGED]
    empty = dict.fromkeys(names, np.nan)
    found = [[{**empty, **metrics[c, s]} for s in range(sizes[-1])] for c in range(len(grid.configs))]
    values = np.array([[[row[name] for name in names] for row in rows] for rows in found]).reshape(*sizes, len(names))
    variables["metrics"] = xr.DataArray(values, dims=(*coords, "metric"), coords={"metric": names})
    lost = np.array([[row[DIVERGED] for row in rows] for rows in found])
    variables["diverged_at"] = (tuple(coords), lost.reshape(sizes))
    dataset = xr.Dataset(variables).assign_coords({name: list(values) for name, values in coords.items()})
    dataset.attrs["experiment"] = experiment.name
    dataset.attrs["engine"] = ", ".join(sorted(engines))
    dataset.attrs["config"] = json.dumps(grid.shared)
    return dataset


def _in_order(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """All names, in the order in which they first appear."""
    return list(dict.fromkeys(name for names in found for name in names))
