"""Which experiments there are, and what can be done with each: run a grid of settings, check that it conforms."""

from dyntoolkit.catalog.check import check
from dyntoolkit.catalog.registry import experiments, find, register
from dyntoolkit.catalog.run import run

__all__ = ["check", "experiments", "find", "register", "run"]
