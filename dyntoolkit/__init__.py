"""dyntoolkit: notebooks in which neural networks retrain before your eyes, with the theory drawn over the data.

    import dyntoolkit as dt

    dt.explore("label_noise", lr=0.1)                                  # live, in a notebook
    runs = dt.run("label_noise.linear", noise_std=[0, 1, 2], seeds=4)  # an xarray.Dataset

An experiment of your own is a `Config`, a function that trains, and `Experiment(name, config, simulate)`; `explore`,
`run` and `check` take it as they take a name. `own(model, data)` is that of a network and data of your own. The names
below are the public face, and `dyntoolkit.probes` what can be measured; everything else may change. Each is loaded
when it is first used.
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
    "open_sweep": "catalog.open_sweep",
    "sweep": "catalog.sweep",
    "claims_table": "dashboard.show",
    "explore": "dashboard.show",
    "show_sweep": "dashboard.sweep_view",
    "trained_map": "dashboard.show",
    "look_for": "dashboard.look_for",
    "parameters": "dashboard.parameters",
    "save": "dashboard.save",
    "source": "dashboard.source",
    "train": "engine.loop",
    "evenly": "engine.loop",
    "full_batch": "engine.batches",
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
    "own": "laboratory.own",
    "Probe": "laboratory.probe",
    "Axis": "figure.panels",
    "Level": "figure.panels",
    "Line": "figure.panels",
    "Panel": "figure.panels",
    "median_line": "figure.panels",
}

__all__ = [*_HOME]

if TYPE_CHECKING:  # "as" says to a type checker that the name is offered
    from dyntoolkit.catalog.check import check as check
    from dyntoolkit.catalog.open_sweep import open_sweep as open_sweep
    from dyntoolkit.catalog.registry import experiments as experiments
    from dyntoolkit.catalog.registry import find as find
    from dyntoolkit.catalog.registry import register as register
    from dyntoolkit.catalog.run import run as run
    from dyntoolkit.catalog.sweep import sweep as sweep
    from dyntoolkit.dashboard.look_for import look_for as look_for
    from dyntoolkit.dashboard.parameters import parameters as parameters
    from dyntoolkit.dashboard.save import save as save
    from dyntoolkit.dashboard.show import claims_table as claims_table
    from dyntoolkit.dashboard.show import explore as explore
    from dyntoolkit.dashboard.show import trained_map as trained_map
    from dyntoolkit.dashboard.source import source as source
    from dyntoolkit.dashboard.sweep_view import show_sweep as show_sweep
    from dyntoolkit.engine.batches import full_batch as full_batch
    from dyntoolkit.engine.gradient import value_and_grad as value_and_grad
    from dyntoolkit.engine.history import History as History
    from dyntoolkit.engine.layers import MLP as MLP
    from dyntoolkit.engine.loop import evenly as evenly
    from dyntoolkit.engine.loop import geometrically as geometrically
    from dyntoolkit.engine.loop import train as train
    from dyntoolkit.engine.module import Module as Module
    from dyntoolkit.engine.per_run import per_run as per_run
    from dyntoolkit.engine.streams import Stream as Stream
    from dyntoolkit.engine.update import Adam as Adam
    from dyntoolkit.engine.update import Momentum as Momentum
    from dyntoolkit.engine.update import Sgd as Sgd
    from dyntoolkit.engine.update import adam as adam
    from dyntoolkit.engine.update import momentum as momentum
    from dyntoolkit.engine.update import sgd as sgd
    from dyntoolkit.experiment.claims import Claim as Claim
    from dyntoolkit.experiment.claims import Control as Control
    from dyntoolkit.experiment.claims import Sweep as Sweep
    from dyntoolkit.experiment.claims import above as above
    from dyntoolkit.experiment.claims import at_least as at_least
    from dyntoolkit.experiment.claims import at_most as at_most
    from dyntoolkit.experiment.claims import below as below
    from dyntoolkit.experiment.claims import between as between
    from dyntoolkit.experiment.claims import defaults as defaults
    from dyntoolkit.experiment.claims import settings as settings
    from dyntoolkit.experiment.config import Config as Config
    from dyntoolkit.experiment.config import choice as choice
    from dyntoolkit.experiment.config import number as number
    from dyntoolkit.experiment.config import switch as switch
    from dyntoolkit.experiment.record import Experiment as Experiment
    from dyntoolkit.experiment.record import Preset as Preset
    from dyntoolkit.figure.panels import Axis as Axis
    from dyntoolkit.figure.panels import Level as Level
    from dyntoolkit.figure.panels import Line as Line
    from dyntoolkit.figure.panels import Panel as Panel
    from dyntoolkit.figure.panels import median_line as median_line
    from dyntoolkit.laboratory.own import own as own
    from dyntoolkit.laboratory.probe import Probe as Probe


def __getattr__(name: str) -> Any:
    if name == "probes":
        return importlib.import_module("dyntoolkit.probes")
    if name not in _HOME:
        raise AttributeError(f"module 'dyntoolkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"dyntoolkit.{_HOME[name]}"), name)
    globals()[name] = value  # next time it is found without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "probes"})
