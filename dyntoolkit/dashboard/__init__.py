"""Explore an experiment in a notebook: live with sliders, or as one picture where nobody is looking."""

from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.look_for import look_for
from dyntoolkit.dashboard.parameters import parameters
from dyntoolkit.dashboard.show import Result, claims_table, explore, trained_map
from dyntoolkit.dashboard.source import source

__all__ = ["Dashboard", "Result", "claims_table", "explore", "look_for", "parameters", "source", "trained_map"]
