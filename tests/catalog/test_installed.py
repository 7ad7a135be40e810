"""Experiments of installed packages: a real little package, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0"

[project.entry-points."dyntoolkit.experiments"]
{entries}
"""

VALLEY = '''
"""Two experiments, with nothing but what an experiment needs."""

import numpy as np

import dyntoolkit as dt
from dyntoolkit.engine.history import Frame


class Valley(dt.Config):
    """Does the ball roll down?"""

    lr: float = dt.number(0.5, 0.1, 0.9)


def simulate(configs, seeds):
    x = 1 + np.array(seeds) / 10
    for k in range(11):
        yield Frame(k, 10, {"x": x}, np.full(len(seeds), -1))
        x = x * (1 - dt.per_run(configs, "lr").numpy())


DEEP = dt.Experiment("valley.deep", Valley, simulate)
BOTH = (DEEP, dt.Experiment("valley.wide", Valley, simulate))
'''


def build(folder: Path, name: str, entries: str, source: str) -> Path:
    """Install a package of one module of its own name; returns where to."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "__init__.py").write_text("")
    (folder / name / "experiments.py").write_text(source)
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, entries=entries))
    target = folder / "installed"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def valley(tmp_path_factory):
    """Where a package is installed whose experiments are in order."""
    entries = 'valley = "some_valley.experiments:BOTH"'
    return build(tmp_path_factory.mktemp("valley"), "some_valley", entries, VALLEY)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Where one is installed that cannot be imported, that takes two names, and that has an entry which is none."""
    source = VALLEY + '\nTAKEN = dt.Experiment("valley.deep", Valley, lambda *_: iter(()))\n'
    source += 'BARE = dt.Experiment("label_noise", Valley, simulate)\n'
    entries = "\n".join(
        [
            'exits = "some_broken.exits:EXPERIMENT"',
            'gone = "some_broken.experiments:GONE"',
            'none = "some_broken.experiments:Valley"',
            'taken = "some_broken.experiments:TAKEN"',
            'bare = "some_broken.experiments:BARE"',
        ]
    )
    folder = tmp_path_factory.mktemp("broken")
    (folder / "some_broken").mkdir()
    (folder / "some_broken" / "exits.py").write_text("import sys\nsys.exit(7)\n")
    return build(folder, "some_broken", entries, source)


def run(code: str, *path: Path) -> "subprocess.CompletedProcess[str]":
    """A Python process in which these folders hold installed packages; warnings are errors."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", f"import dyntoolkit as dt\n{code}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


MAIN = "from dyntoolkit.app.cli import main\n"


def test_what_is_installed_is_listed_run_and_found_by_name(valley):
    done = run(
        MAIN + "print(main(['list']))\n"
        "print(main(['run', 'valley.wide', '--set', 'lr=.25', '--json']))\n"
        "print(dt.find('valley').name, dt.run('valley.deep', lr=[.1, .2]).sizes['lr'])",
        valley,
    )
    listed, document, found = done.stdout.partition("0\n{")[0], *done.stdout.splitlines()[-3::2]
    assert "valley.deep: Valley: deep\n  Does the ball roll down?\n" in listed
    assert listed.index("label_noise.linear") < listed.index("valley.deep") < listed.index("valley.wide")
    assert f'"x": [{0.75**10}]' in document
    assert found == "valley.deep 2"
    assert "note" not in done.stderr


def test_what_is_wrong_with_an_entry_is_one_sentence_and_everything_else_works(valley, broken):
    done = run(
        MAIN + "print(main(['list']), file=__import__('sys').stderr)\n"
        "print(main(['run', 'valley.deep']), dt.find('valley').name, dt.find('label_noise').name)",
        valley,
        broken,
    )
    assert "valley.wide" in done.stdout
    assert done.stdout.endswith("\n0 valley.deep label_noise.linear\n")
    notes = sorted(done.stderr.partition("\n0\n")[0].splitlines())  # of `list`; the bar of `run` comes after it
    assert [note.split(":")[2].split()[2] for note in notes] == ["bare", "exits", "gone", "none", "taken"]
    wanted = (
        "the name 'label_noise' is taken (dyntoolkit.phenomena.label_noise.linear.simulate).",
        "cannot be loaded: SystemExit: 7 (exits.py, line 2: sys.exit(7))",
        "cannot be loaded: AttributeError: module 'some_broken.experiments' has no attribute 'GONE'",
        "is no dyntoolkit Experiment, but type.",
        "the name 'valley.deep' is taken (some_valley.experiments.simulate).",
    )
    for note, words in zip(notes, wanted, strict=True):
        assert note.startswith("dyntoolkit: note: entry point ")
        assert note.endswith(words)
