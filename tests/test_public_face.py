"""The names that people use: each is there, says what it does, and shows it."""

import ast
import doctest
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dyntoolkit
from dyntoolkit.catalog import registry

ROOMS = ("app", "catalog", "dashboard", "engine", "experiment", "figure", "laboratory", "phenomena", "probes")
NAMES = [
    *("Config", "number", "choice", "switch", "Experiment", "Preset", "Claim", "Control", "Sweep"),
    *("above", "at_least", "at_most", "below", "between", "defaults", "settings"),
    *("check", "experiments", "find", "open_sweep", "register", "run", "show_sweep", "sweep"),
    *("claims_table", "explore", "trained_map", "look_for", "parameters", "save", "source"),
    *("train", "evenly", "full_batch", "geometrically", "History", "MLP", "Module", "Stream", "per_run"),
    *("value_and_grad", "Adam", "Momentum", "Sgd", "adam", "momentum", "sgd"),
    *("Axis", "Level", "Line", "Panel", "median_line", "own", "Probe"),
]
PUBLIC = {name: getattr(dyntoolkit, name) for name in dyntoolkit.__all__}


def test_the_list_of_names_is_a_contract():
    assert sorted(dyntoolkit.__all__) == sorted(NAMES)
    assert {"__version__", *NAMES} <= set(dir(dyntoolkit))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_from_where_it_is_written_and_says_what_it_does(name):
    thing = getattr(dyntoolkit, name)
    assert thing is getattr(importlib.import_module(thing.__module__), thing.__name__)
    assert thing.__name__ == name
    assert thing.__doc__
    assert "(" not in thing.__doc__.split()[0]  # none that dataclass or NamedTuple made up


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dyntoolkit' has no attribute 'exlore'"):
        dyntoolkit.exlore  # noqa: B018
    with pytest.raises(ImportError):
        exec("from dyntoolkit import exlore")


def test_probes_are_there_by_their_names():
    assert dyntoolkit.probes.sharpness is importlib.import_module("dyntoolkit.probes.sharpness").sharpness
    assert "probes" in dir(dyntoolkit)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(dyntoolkit.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname: node.module for node in block.body for alias in node.names}  # "as" offers it on
    assert seen == {name: f"dyntoolkit.{home}" for name, home in dyntoolkit._HOME.items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_name_works(name, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "1")
    (test,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={**PUBLIC, "np": np, "torch": torch})
    assert test.examples
    output: list[str] = []
    doctest.DocTestRunner().run(test, out=output.append)
    assert not output, "".join(output)


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_offers_is_there(room):
    module = importlib.import_module(f"dyntoolkit.{room}")
    offered = getattr(module, "__all__", [])
    assert len(offered) == len(set(offered))
    for name in offered:
        assert hasattr(module, name)
    if room == "probes":
        assert all(inspect.isfunction(getattr(module, name)) for name in offered if name.islower())


LIGHT = """
import sys
{code}
heavy = {{"torch", "numpy", "plotly", "matplotlib", "ipywidgets", "xarray", "sklearn"}} & set(sys.modules)
sys.exit(", ".join(heavy) or None)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import dyntoolkit; dir(dyntoolkit); dyntoolkit.__version__",
        "from dyntoolkit.app.cli import parser; parser()",
        "import dyntoolkit.errors",
    ],
)
def test_what_is_not_used_is_not_loaded(code):
    command = [sys.executable, "-W", "error", "-c", LIGHT.format(code=code)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_everything_can_be_imported_at_once():
    names: dict[str, object] = {}
    exec("from dyntoolkit import *", names)
    assert set(NAMES) <= set(names)
