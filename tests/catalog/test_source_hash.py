"""Another hash where, and only where, the results may be others."""

import functools
import linecache
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tiny_experiment
import torch

import dyntoolkit as dt
from dyntoolkit.catalog import source_hash as module
from dyntoolkit.catalog.registry import find, load_one
from dyntoolkit.catalog.source_hash import source_hash, versions
from dyntoolkit.experiment import Experiment

OWN = """
import helper
import dyntoolkit as dt

class Own(dt.Config):
    lr: float = dt.number(0.1, 0.0, 1.0)

def simulate(configs, seeds):
    yield from helper.frames(configs)

OWN = dt.Experiment("own", Own, simulate)
"""


def loaded(folder, **files):
    """The experiment of own.py in that folder, after its files have been written."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
        linecache.checkcache()
        sys.modules.pop(name, None)
    return load_one(str(folder / "own.py"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("helper", None)


def test_the_files_of_an_experiment_and_what_they_import_count(folder):
    first = source_hash(loaded(folder, own=OWN, helper="x = 1\n", other="y = 1\n"))
    assert source_hash(loaded(folder, own=OWN, helper="x = 1\n", other="y = 2\n")) == first
    assert source_hash(loaded(folder, own=OWN, helper="x = 2\n")) != first
    assert source_hash(loaded(folder, own=f"{OWN}# more\n", helper="x = 1\n")) != first


MOVES = {
    "phenomena/label_noise/linear.py": True,
    "phenomena/label_noise/_theory.py": True,
    "phenomena/grokking/oned.py": False,
    "engine/loop.py": True,
    "engine/xla.py": True,  # which is imported within a function
    "engine/transformer.py": False,
    "probes/alignment.py": True,
    "probes/walsh.py": False,
    "experiment/record.py": True,
    "experiment/words.py": False,
    "figure/panels.py": False,
    "catalog/run.py": False,
    "dashboard/dashboard.py": False,
}


@pytest.mark.parametrize(("name", "moves"), MOVES.items())
def test_of_the_package_counts_what_can_change_a_number(name, moves, monkeypatch):
    experiment, read = find("label_noise.linear"), Path.read_bytes
    first = source_hash(experiment)
    assert (module.PACKAGE / name).is_file()
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * path.match(f"dyntoolkit/{name}"))
    assert (source_hash(experiment) != first) == moves


def test_for_an_experiment_of_ones_own_all_counts_that_the_public_face_offers(folder, monkeypatch):
    own, cell = loaded(folder, own=OWN, helper="x = 1\n"), notebook(CELL.replace("yield", "dt.train; yield"))
    read = Path.read_bytes
    for each in (own, cell):
        for name, moves in (("probes/walsh.py", True), ("engine/loop.py", True), ("experiment/words.py", False)):
            first = source_hash(each)
            with monkeypatch.context() as patch:
                patch.setattr(Path, "read_bytes", lambda p, n=name: read(p) + b"#" * p.match(f"dyntoolkit/{n}"))
                assert (source_hash(each) != first) == moves, (each.name, name)


def notebook(text):
    """The experiment that a cell with this text makes: its functions stand in no file."""
    cell = types.ModuleType("a_notebook")
    sys.modules["a_notebook"] = cell
    cell.__dict__.update(dt=dt, Experiment=Experiment, TinyConfig=tiny_experiment.TinyConfig)
    exec(compile(text, "<a cell>", "exec"), cell.__dict__)
    return cell.EXPERIMENT


CELL = """
rate = 0.5
def helper(x):
    return rate * x
def simulate(configs, seeds):
    yield helper(configs)
EXPERIMENT = Experiment("cell", TinyConfig, simulate)
"""


def test_code_of_a_notebook_counts():
    first = source_hash(notebook(CELL))
    assert source_hash(notebook(f"\n\nunused = 3{CELL}")) == first
    assert source_hash(notebook(CELL.replace("0.5", "0.25"))) != first
    assert source_hash(notebook(CELL.replace("rate * x", "rate + x"))) != first
    assert source_hash(notebook(CELL.replace("yield helper(configs)", "yield helper(seeds)"))) != first
    own = "class Own(TinyConfig):\n    def check(self):\n        self.lr > {}\n"
    classes = [
        CELL.replace("EXPERIMENT", own.format(k) + "EXPERIMENT").replace("TinyConfig, s", "Own, s") for k in (1, 1, 2)
    ]
    hashes = [source_hash(notebook(cell)) for cell in classes]
    assert hashes[0] == hashes[1] != hashes[2]


def with_data(*data):
    def simulate(configs, seeds):
        yield data

    return Experiment("closed", tiny_experiment.TinyConfig, functools.partial(simulate, seeds=None))


def test_data_that_a_closure_holds_count():
    first = source_hash(with_data(np.arange(3), {"a": torch.ones(2)}, {3, 4}))
    assert source_hash(with_data(np.arange(3), {"a": torch.ones(2)}, {4, 3})) == first
    assert source_hash(with_data(np.arange(4), {"a": torch.ones(2)}, {3, 4})) != first
    assert source_hash(with_data(np.arange(3), {"a": torch.zeros(2)}, {3, 4})) != first
    assert source_hash(with_data(np.arange(3), {"a": torch.ones(2)}, {3})) != first


@pytest.mark.slow
def test_it_is_the_same_in_every_process():
    names = "source_hash(notebook(CELL)), source_hash(find('loss_spikes.mlp'))"
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(tiny_experiment.__file__).parent)])
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", f"from test_source_hash import *\nprint({names}, sep=', ')"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [source_hash(notebook(CELL)) + ",", source_hash(find("loss_spikes.mlp"))]


def test_versions_are_those_of_what_computes(monkeypatch):
    assert list(versions()) == ["dyntoolkit", "torch", "numpy", "jax"]
    assert versions()["torch"] == torch.__version__
    monkeypatch.setattr(module, "LIBRARIES_USED", ("no_such_library",))
    assert versions()["no_such_library"] == ""
