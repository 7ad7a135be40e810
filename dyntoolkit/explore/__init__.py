"""Explore an experiment in a notebook: live with sliders, or as one picture where nobody is looking."""

from dyntoolkit.explore.dashboard import Dashboard
from dyntoolkit.explore.look_for import look_for
from dyntoolkit.explore.parameters import parameters
from dyntoolkit.explore.show import Result, claims_table, explore, trained_map
from dyntoolkit.explore.source import source

__all__ = ["Dashboard", "Result", "claims_table", "explore", "look_for", "parameters", "source", "trained_map"]
