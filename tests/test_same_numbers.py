"""The command that shows that no number moved: in a small repository whose one experiment is changed bit by bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dyntoolkit

SCRIPT = Path(dyntoolkit.__file__).parent.parent / "benchmarks" / "same_numbers.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs a checkout")

PHENOMENA = """
import numpy as np

class History:
    diverged = np.array([-1, 7])
    def names(self): return ["loss"]
    def at(self, name): return np.array([0, 1])
    def __getitem__(self, name): return np.array([[1.0, np.nan], [LAST, 0.0]])

class Config:
    def __init__(self, preset): self.preset = preset
    def asdict(self): return FIELDS

class Experiment:
    name = "tiny.decay"
    presets = ["default"]
    def configure(self, preset="default"): return Config(preset)
    def run(self, config, seeds):
        assert seeds == [3, 4]
        return History()
    def metrics(self, history): return {"end": METRIC}

EXPERIMENTS = (Experiment(),)
"""
AT_FIRST = {"LAST": "0.5", "METRIC": "history['loss'][-1]", "FIELDS": "{'lr': 0.1}"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "same_numbers.py").write_text(SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "dyntoolkit" / "phenomena").mkdir(parents=True)
    (tmp_path / "dyntoolkit" / "__init__.py").touch()
    write(tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "first")
    return tmp_path


def write(repository: Path, **changes: str) -> None:
    """The experiment with some of its numbers changed, not committed."""
    source = PHENOMENA
    for name, text in {**AT_FIRST, **changes}.items():
        source = source.replace(name, text)
    (repository / "dyntoolkit" / "phenomena" / "__init__.py").write_text(source)


def git(repository: Path, *arguments: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # a hook sets some
    command = ["git", *arguments]
    return subprocess.run(command, cwd=repository, env=own, check=True, capture_output=True, text=True).stdout


def compare(repository: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit code and printed lines; the checkout of the revision is gone afterwards."""
    command = [sys.executable, "benchmarks/same_numbers.py", *arguments]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    return done.returncode, done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "equal, 5 quantities"),
        ({"FIELDS": "{'lr': 0.1, 'new': 1}"}, "equal, 5 quantities"),
        ({"LAST": "0.5 + 2e-16"}, "metric end: 1 of 2 numbers, by 2.2e-16 at most; array loss: 1 of 4 numbers"),
        ({"METRIC": "history['loss'][-1] * [1, -1]"}, "metric end: 0 of 2 numbers, by 0 at most"),  # -0.0 for 0.0
        ({"METRIC": "history['loss'][-1].astype('f4')"}, "metric end: float64(2,) -> float32(2,)"),
        ({"METRIC": "{}[0]"}, "fails here: KeyError"),
        ({"FIELDS": "{'lr': 0.2}"}, "preset default: lr 0.1 -> 0.2"),
        ({'"tiny.decay"': '"tiny.other"'}, "gone"),
    ],
)
def test_every_bit_that_moved_is_named(repository: Path, changes: dict[str, str], line: str) -> None:
    write(repository, **changes)
    code, lines = compare(repository, "HEAD")
    assert lines[0].startswith(f"tiny.decay: {line}")
    assert code == (not line.startswith("equal"))
    assert lines[-1] == ("1 of 1 differ" if code else "all 1 equal")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["no-such-revision"], ["HEAD", "tiny.unknown"]])
def test_what_cannot_be_compared_is_an_error(repository: Path, arguments: list[str]) -> None:
    assert compare(repository, *arguments) == (2, [])
