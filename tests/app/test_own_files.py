"""`run` and `list` with a file or a module of one's own."""

import json
import sys

import pytest

from dyntoolkit.app.cli import main
from dyntoolkit.catalog import registry

FILE = '''
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


'''
ONE = FILE + 'EXPERIMENT = dt.Experiment("valley", Valley, simulate)\n'
CLAIMED = FILE + (
    'SMALL = dt.Claim(id="small", statement="x gets small", metric="x", bound=dt.below(0.01))\n'
    'EXPERIMENT = dt.Experiment("valley", Valley, simulate, claims=(SMALL,))\n'
)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Write my_file.py and run a command beside it; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(registry, "_registered", {})

    def run(text, *arguments):
        (tmp_path / "my_file.py").write_text(text)
        code = main([*arguments])
        return code, *capsys.readouterr()

    yield run
    sys.modules.pop("dyntoolkit_file_my_file", None)


def test_a_file_is_run_by_its_path(command):
    code, out, err = command(ONE, "run", "my_file.py", "--set", "lr=.25", "--seed", "1", "2")
    assert code == 0
    assert out.splitlines()[0].startswith("valley, seeds 1 to 2, ")
    assert out.splitlines()[1] == f"x  {1.15 * 0.75**10:.3g} [{1.1 * 0.75**10:.3g}, {1.2 * 0.75**10:.3g}]"
    assert "10/10" in err


def test_its_claims_decide(command):
    assert command(CLAIMED, "run", "my_file.py:EXPERIMENT")[0] == 0
    assert command(CLAIMED, "run", "my_file.py", "--set", "lr=.1")[0] == 1


def test_a_file_is_listed_alone(command):
    code, out, err = command(ONE, "list", "my_file.py")
    assert (code, out, err) == (
        0,
        "valley: Valley\n  Does the ball roll down?\n  default: The settings as they come.\n",
        "",
    )
    (entry,) = json.loads(command(CLAIMED, "list", "my_file.py", "--json")[1])
    assert (entry["name"], entry["claims"], list(entry["fields"])) == ("valley", ["small"], ["lr"])


def test_a_registered_one_is_listed_with_all_others(command, monkeypatch):
    monkeypatch.setattr(registry, "EXPERIMENTS", ())
    command(ONE + "dt.register(EXPERIMENT)\n", "list", "my_file.py")
    assert "valley: Valley" in command(ONE, "list")[1]


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        (ONE, ["run", "your_file.py"], "there is no file your_file.py."),
        (ONE, ["list", "your_file.py"], "there is no file your_file.py."),
        (ONE, ["run", "my_file.py:VALLEY"], "unknown experiment in my_file.py 'VALLEY'. Allowed: EXPERIMENT."),
        (FILE, ["run", "my_file.py"], "my_file.py defines no dyntoolkit Experiment."),
        ("1 / 0", ["run", "my_file.py"], "my_file.py cannot be loaded: ZeroDivisionError: division by zero"),
        ("raise SystemExit", ["list", "my_file.py"], "my_file.py cannot be loaded: SystemExit: "),
        (ONE + "B = dt.Experiment('b', Valley, simulate)", ["run", "my_file.py"], "name one as my_file.py:VARIABLE."),
        (ONE, ["run", "my_file.py", "--set", "lr=2"], "lr takes a number from 0.1 to 0.9, got 2."),
        (ONE, ["run", "my_file.py", "--claims", "small"], "unknown claim 'small'."),
    ],
)
def test_what_is_wrong_is_one_sentence(command, text, arguments, sentence):
    code, out, err = command(text, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
