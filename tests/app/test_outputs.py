"""Standard output and error that are full, closed or unread: no traceback, and not the code of a failed claim."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_experiment

from dyntoolkit.app.outputs import Output, outputs

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs Linux's device that is always full")

MINE = "from tiny_experiment import TINY\nEXPERIMENT = TINY\n"
FAILS, WRONG = "lr=.1", "lr=9"


@pytest.fixture
def shell(tmp_path):
    """Run a line of shell in which $RUN trains the tiny experiment; returns exit code, stdout and stderr."""
    (tmp_path / "mine.py").write_text(MINE)
    run = f"{sys.executable} -m dyntoolkit run mine.py --set"
    own = {"PYTHONPATH": str(Path(tiny_experiment.__file__).parent), "OMP_NUM_THREADS": "1", "RUN": run}

    def obey(line):
        command = ["bash", "-c", f"set -o pipefail; {line}"]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | own, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return obey


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "why"), [("> /dev/full", "No space left on device"), (">&-", "it is closed"), ("| true", None)]
)
def test_a_table_that_cannot_be_printed_is_neither_success_nor_a_failed_claim(shell, where, why):
    code, _, err = shell(f"$RUN {FAILS} {where}")
    assert code == 3
    sentences = [line for line in err.splitlines() if line.startswith("dyntoolkit:")]
    assert sentences == ([f"dyntoolkit: standard output cannot be written: {why}."] if why else [])


@pytest.mark.slow
@pytest.mark.parametrize("where", ["2> /dev/full", "2>&-"])
@pytest.mark.parametrize(("changes", "expected"), [(FAILS, 1), (WRONG, 2)])
def test_without_standard_error_the_table_and_the_exit_code_are_the_same(shell, where, changes, expected):
    code, out, err = shell(f"$RUN {changes} {where}")
    assert (code, err) == (expected, "")
    assert ("x shrinks" in out) == (expected < 2)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["list", "--help"])
def test_every_command_says_so(shell, command):
    assert shell(f"{sys.executable} -m dyntoolkit {command} > /dev/full")[0] == 3


@pytest.mark.slow
def test_a_file_does_not_take_the_place_of_a_closed_output(shell, tmp_path):
    assert shell("$RUN lr=.5 --out curves.nc <&- >&- 2>&-")[0] == 3
    content = (tmp_path / "curves.nc").read_bytes()
    assert content.startswith(b"\x89HDF")
    assert b"x shrinks" not in content


def test_it_drops_what_it_cannot_write_and_remembers_why():
    with FULL.open("wb", buffering=0) as full, Output(full.fileno(), "w", closefd=False) as output:
        assert output.lost is None
        assert output.write(b"some") == 4
        assert output.lost.strerror == "No space left on device"
        assert output.write(b"more") == 4


def test_what_can_be_written_is_written_in_order(tmp_path, monkeypatch):
    with (tmp_path / "text").open("w", encoding="ascii") as file:
        monkeypatch.setattr(sys, "stdout", file)
        print("before")
        with outputs() as written:
            print("2 × 2 = 4")
        print("after")
        assert sys.stdout is file
    assert written.lost is None
    assert (tmp_path / "text").read_text() == "before\n2 ? 2 = 4\nafter\n"


def test_what_somebody_has_put_in_the_place_of_standard_output_stays(monkeypatch):
    own = io.StringIO()
    monkeypatch.setattr(sys, "stdout", own)
    with outputs() as written:
        print("hello")
    assert (own.getvalue(), written) == ("hello\n", None)
