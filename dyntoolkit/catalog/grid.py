"""A grid: every combination of listed settings, for every seed."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyntoolkit.engine.streams import check_seeds
from dyntoolkit.errors import InputError, whole_number
from dyntoolkit.experiment import Config, Experiment
from dyntoolkit.experiment.training import Run


@dataclass(frozen=True)
class Grid:
    """The settings (C) of a grid, the last listed field varying fastest, and the seeds (S) of each.

    listed: field -> its values, which are a dimension each.
    """

    listed: Mapping[str, Sequence[Any]]
    configs: tuple[Config, ...]
    seeds: tuple[int, ...]

    @property
    def runs(self) -> list[Run]:
        """All C * S runs, the seeds varying fastest."""
        return list(itertools.product(self.configs, self.seeds))

    @property
    def shared(self) -> dict[str, Any]:
        """The settings that all runs agree on because they are not listed."""
        return {name: value for name, value in self.configs[0].asdict().items() if name not in self.listed}


def grid_of(
    experiment: Experiment,
    preset: str | None,
    listed: Mapping[str, Any],
    single: Mapping[str, Any],
    seeds: Any,
    most: int,
) -> Grid:
    """The grid of these lists of values, all other settings from the preset and `single`.

    seeds: how many (0, 1, ...), or a list of them. most: runs that there may be.
    Raises InputError for an unknown name, a value out of range or listed twice, and too many runs.
    """
    for name in ("seed", "n_seeds"):
        if name in {*listed, *single}:
            raise InputError(f"seeds=, how many or a list of them, says which seeds; there is no {name}.", name)
    all_seeds = _seeds(seeds, most)
    values = {name: _values(name, given) for name, given in listed.items()}
    count = math.prod(map(len, [*values.values(), all_seeds]))
    if count > most:
        raise InputError(f"at most {most} runs at once, got {count}.", "seeds")
    configs = tuple(
        experiment.configure(preset, **single, **dict(zip(values, each, strict=True)))
        for each in itertools.product(*values.values())
    )
    found = {name: [getattr(config, name) for config in _along(configs, values, k)] for k, name in enumerate(values)}
    for name, several in found.items():
        _check_differ(name, several)
    return Grid(found, configs, all_seeds)


def is_list(value: Any) -> bool:
    """Whether a setting is given as several values."""
    return (isinstance(value, Sequence | range) and not isinstance(value, str)) or np.ndim(value) > 0


def _seeds(seeds: Any, most: int) -> tuple[int, ...]:
    """The seeds 0, 1, ... of a count, or the listed ones, each once."""
    if not is_list(seeds):
        return tuple(range(whole_number("seeds", seeds, 1, most)))
    checked = check_seeds(seeds)
    _check_differ("seeds", checked)
    return checked


def _values(name: str, given: Any) -> list[Any]:
    """The listed values of a field."""
    values = list(given)
    if not values:
        raise InputError(f"{name}: at least one value is needed, got none.", name)
    return values


def _check_differ(name: str, values: Sequence[Any]) -> None:
    """InputError for a value that is listed twice: the runs would be the same, and its label no name for either."""
    seen = set()
    for value in values:
        if value in seen:
            raise InputError(f"{name}: {value} is given more than once.", name)
        seen.add(value)


def _along(configs: Sequence[Config], listed: Mapping[str, Sequence[Any]], k: int) -> Iterable[Config]:
    """The settings along the k-th dimension, all other dimensions at their first value."""
    sizes = [len(values) for values in listed.values()]
    stride = math.prod(sizes[k + 1 :])
    return [configs[j * stride] for j in range(sizes[k])]
