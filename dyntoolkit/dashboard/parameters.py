"""The settings that a notebook's `parameters` cell, papermill or a link asks for."""

import os
from collections.abc import Mapping
from html import escape
from types import FunctionType, ModuleType
from typing import Any
from urllib.parse import parse_qsl

from IPython.display import HTML, display

from dyntoolkit.catalog.registry import find
from dyntoolkit.dashboard.headless import is_headless, is_voila
from dyntoolkit.engine.streams import check_seeds
from dyntoolkit.errors import InputError, unknown, whole_number
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config

MAX_SEEDS = 32
RUN_NAMES = ("preset", "seed", "n_seeds")
SERVER_NAMES = ("token", "voila-template", "voila-theme", "template", "theme")  # of Voila, not of an experiment
SHELL_NAMES = ("In", "Out", "exit", "quit", "open", "get_ipython")


def parameters(namespace: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The arguments for `explore(name, ...)` found among the variables of a notebook, a link's on top of them.

    namespace: the notebook's `globals()`, read in the first cell after the one tagged `parameters`. Taken are preset,
    seed, n_seeds and the fields of the experiment's Config; None means "as the preset". The result has only what was
    given, checked. A page's address may set the same: `?preset=fast&lr=0.1`.

    Raises InputError for a wrong value and, without a front end, for any other variable: papermill lets a parameter
    with a typo pass. A link that asks for what is not there is not followed, and the page says so.
    """
    experiment = find(name)
    fields = experiment.config.sliders()
    allowed = (*RUN_NAMES, *fields)
    if is_headless():
        for variable in _variables(namespace):
            if variable not in allowed:
                raise unknown("parameter", variable, allowed)
    given = {key: namespace[key] for key in allowed if namespace.get(key) is not None}
    _check(experiment, given)
    try:
        linked = given | _from_link(experiment.config, allowed)
        _check(experiment, linked)
    except InputError as problem:
        display(HTML(f'<p role="alert"><b>This link is not followed:</b> {escape(str(problem))}</p>'))  # type: ignore[no-untyped-call]
        return given
    return linked


def _check(experiment: Experiment, given: Mapping[str, Any]) -> None:
    """InputError unless `explore` would take these arguments."""
    changes = {key: value for key, value in given.items() if key not in RUN_NAMES}
    experiment.configure(given.get("preset"), **changes)
    run_seeds(given.get("seed", 0), given.get("n_seeds", 1))


def run_seeds(seed: object, n_seeds: object) -> tuple[int, ...]:
    """The seeds seed, seed + 1, ...; InputError for what are no whole numbers or too many."""
    count = whole_number("n_seeds", n_seeds, 1, MAX_SEEDS)
    (first,) = check_seeds([seed])
    return check_seeds(range(first, first + count))


def _variables(namespace: Mapping[str, Any]) -> list[str]:
    """The person's own variables: plain values, not what was imported or defined or what IPython put there."""
    kinds = (ModuleType, FunctionType, type)
    return [
        name
        for name, value in namespace.items()
        if not (name.startswith("_") or name in SHELL_NAMES or isinstance(value, kinds) or callable(value))
    ]


def _from_link(config: type[Config], allowed: tuple[str, ...]) -> dict[str, Any]:
    """What the address of a Voila page sets."""
    given: dict[str, Any] = {}
    query = os.environ.get("QUERY_STRING", "") if is_voila() else ""
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key in SERVER_NAMES:
            continue
        if key not in allowed:
            raise unknown("parameter", key, allowed)
        given[key] = text
    return given
