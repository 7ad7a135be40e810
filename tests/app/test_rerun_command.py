"""`dyntoolkit rerun`, and what `dyntoolkit run --out` keeps for it."""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
import tiny_experiment
from tiny_experiment import TINY

from dyntoolkit.app.cli import main
from dyntoolkit.catalog import registry
from dyntoolkit.experiment import Preset

VALLEY = """\
import dyntoolkit as dt
from dyntoolkit.engine.history import Frame
import numpy as np


class Valley(dt.Config):
    lr: float = dt.number(0.15, 0.01, 0.3)


def simulate(configs, seeds):
    for k in range(3):
        yield Frame(k, 2, {"x": np.array([c.lr * k + s for c, s in zip(configs, seeds)])}, np.full(len(seeds), -1))


EXPERIMENT = dt.Experiment("valley", Valley, simulate)
"""


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command where the tiny experiment is the only one; returns its exit code, stdout and stderr."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(registry, "EXPERIMENTS", (TINY,))
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = main([*arguments])
        return code, *capsys.readouterr()

    return command


@pytest.mark.parametrize("name", ["run.csv", "run.nc", "run.json", "RUN.SVG", "run.png", "run.html", "run.report.html"])
def test_a_run_is_kept_and_trained_again(run, name):
    assert run("run", "tiny", "--seed", "7", "2", "--set", "lr=0.3", "--out", name)[0] == 0
    code, out, _ = run("rerun", name)
    assert code == 0
    assert out.splitlines()[0] == "largest difference from the file:"
    assert "metric end" in out
    assert out.endswith("are the same, number by number.\n")


def test_a_report_has_the_controls_if_they_were_trained(run):
    run("run", "tiny", "--claims", "shrinks", "--out", "run.report.html")
    assert "control lr 0: x stays" in Path("run.report.html").read_text()


def changed(path, **changes):
    """A file in which something of what it says about its run is another."""
    document = json.loads(Path(path).read_text())
    document["dyntoolkit-run"] |= changes
    Path(path).write_text(json.dumps(document))


def test_numbers_that_differ_are_told_and_the_exit_code_is_1(run):
    run("run", "tiny", "--out", "run.json")
    document = json.loads(Path("run.json").read_text())
    document["quantities"]["x"]["values"][3][0] += 0.5
    Path("run.json").write_text(json.dumps(document))
    code, out, _ = run("rerun", "run.json")
    assert code == 1
    assert re.search(r"^x +0\.5$", out, re.MULTILINE)
    assert out.endswith("1 of 6 differ.\n")


def test_another_version_is_a_warning_and_no_more(run):
    run("run", "tiny", "--out", "run.json")
    changed("run.json", versions={"dyntoolkit": "0.0.1", "torch": "1.0"}, source="0")
    code, _, err = run("rerun", "run.json")
    assert code == 0
    assert "warning: the run was made with dyntoolkit 0.0.1, here 0.1.0; torch 1.0, here " in err
    assert "warning: the source of tiny.decay is another than when the run was made: numbers may differ." in err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"experiment": "tiny.growth"}, "the run is of the experiment 'tiny.growth', which is not known here"),
        ({"experiment": "x" * 10_000}, "which is not known here"),
        ({"settings": {"lr": 99}}, "lr takes a number from 0 to 3, got 99."),
        ({"settings": {"lr": "__import__('os').abort()"}}, "lr takes a number from 0 to 3"),
        ({"settings": {"speed": 1}}, "unknown field 'speed'."),
        ({"seeds": [2**40]}, "seed takes a whole number"),
        ({"data": "mine.csv"}, "the run stands on the file of data 'mine.csv': give it with --file."),
    ],
)
def test_a_file_of_another_experiment_or_wrong_settings_is_one_sentence(run, changes, sentence):
    run("run", "tiny", "--out", "run.json")
    changed("run.json", **changes)
    code, out, err = run("rerun", "run.json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err


@pytest.mark.parametrize("content", [b"", b"hello", b'{"a": 1}', b"\x80\x04\x95."])
def test_a_file_that_is_no_runs_is_one_sentence(run, content):
    Path("run.csv").write_bytes(content)
    code, out, err = run("rerun", "run.csv")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("dyntoolkit: run.csv ")
    assert os.listdir() == ["run.csv"]


def test_an_experiment_of_a_strangers_file_is_given_with_it(run):
    Path("mine.py").write_text(VALLEY)
    Path("other.py").write_text(VALLEY.replace("valley", "hill"))
    assert run("run", "mine.py", "--out", "run.png")[0] == 0
    code, _, err = run("rerun", "run.png")
    assert (code, err.count("\n")) == (2, 1)
    assert "give the Python file that defines it with --file" in err
    assert "other.py defines hill" in run("rerun", "run.png", "--file", "other.py")[2]
    assert run("rerun", "run.png", "--file", "mine.py")[0] == 0


def on_file(name, content):
    presets = {"file": Preset(name, {"pull": float(content)})}
    return dataclasses.replace(TINY, presets=presets, claims=(), file=None)


def test_a_readers_data_are_given_again(run, monkeypatch):
    monkeypatch.setattr(registry, "EXPERIMENTS", (dataclasses.replace(TINY, file=on_file),))
    Path("pull.csv").write_text("0.25")
    assert run("run", "tiny", "--file", "pull.csv", "--out", "run.csv")[0] == 0
    assert "'pull.csv': give it with --file" in run("rerun", "run.csv")[2]
    assert run("rerun", "run.csv", "--file", "pull.csv")[0] == 0
    assert "none.csv cannot be read" in run("rerun", "run.csv", "--file", "none.csv")[2]


def test_weights_that_there_are_not_cost_no_results(run):
    code, out, err = run("run", "tiny", "--out", "run.safetensors")
    assert code == 2
    assert "shrinks: x shrinks" in out
    assert err.endswith("--out: weights: tiny.decay keeps none: a run of it is not one training by `dt.train`.\n")
    assert os.listdir() == []


def test_an_ending_that_says_nothing_is_refused_before_training(run, monkeypatch):
    monkeypatch.setattr(tiny_experiment, "simulate", None)
    code, out, err = run("run", "tiny", "--out", "run.txt")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "unknown ending of a file's name '.txt'. " in err
