"""dyntoolkit: notebooks in which neural networks retrain before your eyes, with the theory drawn over the data.

    import dyntoolkit as dt

    dt.explore("label_noise", lr=0.1)                                  # live, in a notebook
    runs = dt.run("label_noise.linear", noise_std=[0, 1, 2], seeds=4)  # an xarray.Dataset

An experiment of your own is a `Config`, a function that trains, and `Experiment(name, config, simulate)`; `explore`,
`run` and `check` take it as they take a name. The names below are the public face; everything else may change.
Each is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Config": "experiment.config",
    "number": "experiment.config",
    "choice": "experiment.config",
    "switch": "experiment.config",
    "Experiment": "experiment.record",
    "Preset": "experiment.record",
    "Claim": "experiment.claims",
    "Control": "experiment.claims",
    "Sweep": "experiment.claims",
    "above": "experiment.claims",
    "at_least": "experiment.claims",
    "at_most": "experiment.claims",
    "below": "experiment.claims",
    "between": "experiment.claims",
    "defaults": "experiment.claims",
    "settings": "experiment.claims",
    "check": "catalog.check",
    "experiments": "catalog.registry",
    "find": "catalog.registry",
    "register": "catalog.registry",
    "run": "catalog.run",
    "claims_table": "dashboard.show",
    "explore": "dashboard.show",
    "trained_map": "dashboard.show",
    "look_for": "dashboard.look_for",
    "parameters": "dashboard.parameters",
    "source": "dashboard.source",
    "train": "engine.loop",
    "evenly": "engine.loop",
    "full_batch": "engine.loop",
    "geometrically": "engine.loop",
    "History": "engine.history",
    "MLP": "engine.layers",
    "Module": "engine.module",
    "Stream": "engine.streams",
    "per_run": "engine.per_run",
    "value_and_grad": "engine.gradient",
    "Adam": "engine.update",
    "Momentum": "engine.update",
    "Sgd": "engine.update",
    "adam": "engine.update",
    "momentum": "engine.update",
    "sgd": "engine.update",
    "Axis": "figure.panels",
    "Level": "figure.panels",
    "Line": "figure.panels",
    "Panel": "figure.panels",
    "median_line": "figure.panels",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from dyntoolkit.catalog.check import check
    from dyntoolkit.catalog.registry import experiments, find, register
    from dyntoolkit.catalog.run import run
    from dyntoolkit.dashboard.look_for import look_for
    from dyntoolkit.dashboard.parameters import parameters
    from dyntoolkit.dashboard.show import claims_table, explore, trained_map
    from dyntoolkit.dashboard.source import source
    from dyntoolkit.engine.gradient import value_and_grad
    from dyntoolkit.engine.history import History
    from dyntoolkit.engine.layers import MLP
    from dyntoolkit.engine.loop import evenly, full_batch, geometrically, train
    from dyntoolkit.engine.module import Module
    from dyntoolkit.engine.per_run import per_run
    from dyntoolkit.engine.streams import Stream
    from dyntoolkit.engine.update import Adam, Momentum, Sgd, adam, momentum, sgd
    from dyntoolkit.experiment.claims import (
        Claim,
        Control,
        Sweep,
        above,
        at_least,
        at_most,
        below,
        between,
        defaults,
        settings,
    )
    from dyntoolkit.experiment.config import Config, choice, number, switch
    from dyntoolkit.experiment.record import Experiment, Preset
    from dyntoolkit.figure.panels import Axis, Level, Line, Panel, median_line


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dyntoolkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"dyntoolkit.{_HOME[name]}"), name)
    globals()[name] = value  # next time it is found without this function
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
