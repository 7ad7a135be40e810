"""`dyntoolkit sweep`, trained in this process; in others: tests/catalog/test_sweep_processes.py."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import tiny_experiment
from tiny_experiment import TINY

from dyntoolkit.app import sweep_command
from dyntoolkit.app.cli import main
from dyntoolkit.catalog import local_workers, registry
from dyntoolkit.catalog.open_sweep import open_sweep
from dyntoolkit.phenomena import EXPERIMENTS

COUNTS = []  # of workers asked for


@contextmanager
def threads(count):
    COUNTS.append(count)
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command on the tiny experiment; returns its exit code, stdout and stderr."""
    monkeypatch.setattr(local_workers, "local_workers", threads)
    monkeypatch.setattr(registry, "EXPERIMENTS", (TINY, *EXPERIMENTS))

    def command(*arguments):
        code = main([*map(str, arguments)])
        return code, *capsys.readouterr()

    return command


def test_a_sweep_prints_its_metrics_and_show_prints_them_again(run, tmp_path):
    arguments = ("sweep", "tiny", "--grid", "lr=0:0.5:2", "--grid", "law=linear,cubic", "--seeds", 3, "--out", tmp_path)
    code, out, err = run(*arguments, "--metric", "end", "start", "--set", "steps=100", "--workers", 3)
    assert code == 0
    assert COUNTS[-1] == 3
    lines = out.splitlines()
    assert lines[0] == "tiny.decay, 12 of 12 runs, seeds 0 to 2"
    assert lines[1].split() == ["lr", "law", "end", "start"]
    assert lines[2].split() == ["0", "linear", "1.1", "[1,", "1.2]", "1.1", "[1,", "1.2]"]
    assert len(lines) == 6
    said = err.splitlines()
    assert said[0].startswith("dyntoolkit: 6 runs are left: about 1 s, ")
    assert said[0].endswith(" GB each, workers: 3.")
    code, shown, _ = run("show", tmp_path, "--print")
    assert code == 0
    assert shown.splitlines()[1].split() == ["lr", "law", "end", "start", "t_small"]
    again = run(*arguments, "--metric", "end", "start", "--set", "steps=100")
    assert again == (0, out, "")
    assert COUNTS[-1] == local_workers.cores()


def test_what_is_kept_says_what_is_not_there(run, tmp_path):
    code, out, err = run("sweep", "tiny", "--grid", "lr=0.5,3.0", "--set", "steps=100", "--seeds", 2, "--out", tmp_path)
    assert code == 0
    assert out.splitlines()[0] == "tiny.decay, 4 of 4 runs, seeds 0 to 1, 2 diverged"
    assert re.split(r"  +", out.splitlines()[3].strip()) == ["3", *["2 diverged"] * 3]
    assert not err


def fails(configs, seeds):
    if configs[0].steps == 20:
        raise ValueError("twenty is too little")
    yield from tiny_experiment.simulate(configs, seeds)


def test_a_failing_batch_is_said_and_ends_with_exit_code_3(run, tmp_path, monkeypatch):
    experiment = replace(TINY, name="tiny.fails", simulate=fails)
    monkeypatch.setattr(registry, "EXPERIMENTS", (experiment,))
    code, out, err = run("sweep", "tiny", "--grid", "steps=20,30", "--out", tmp_path)
    assert code == 3
    lines = out.splitlines()
    assert lines[0] == "tiny.fails, 1 of 2 runs, seed 0"
    assert lines[1].startswith("failed: ValueError: twenty is too little (test_sweep_command.py, line ")
    assert lines[3].split() == ["20"]  # neither trained nor "never"
    assert err.splitlines()[-1].startswith("dyntoolkit: 1 of 2 batches failed, the first one by ValueError: twenty")


def test_the_engine_and_a_file_of_data_are_given_as_for_run(run, tmp_path):
    data, out = tmp_path / "mine.csv", tmp_path / "sweep"
    data.write_text("size,price\n" + "".join(f"{k},{k * k % 7}\n" for k in range(30)))
    grid = ("--grid", "width=4,8", "--set", "data=file", "steps=20", "--out", out)
    asked = ("sweep", "laboratory.network", *grid, "--file", data, "--engine", "eager")
    assert run(*asked)[0] == 0
    assert open_sweep(out).attrs["engine"] == "eager"
    assert run(*asked[:-1], "quick")[2].startswith("dyntoolkit: unknown engine 'quick'.")
    data.write_text(data.read_text() + "30,2\n")
    sentence = f"dyntoolkit: out: {out} holds a sweep from before its source was changed.\n"
    assert run(*asked) == (2, "", sentence)
    assert run(*asked[:-4], "--file", tmp_path / "none.csv") == (
        2,
        "",
        f"dyntoolkit: --file: {tmp_path / 'none.csv'} cannot be read: No such file or directory.\n",
    )


def test_more_than_an_hour_needs_a_yes(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_command, "HOUR", 0.0)
    arguments = ("sweep", "tiny", "--grid", "steps=20,30", "--out", tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "dyntoolkit: the sweep takes about 1 s: add --yes, if that is meant."
    assert run("show", tmp_path, "--print")[1].startswith(
        "tiny.decay, 1 of 2 runs"
    )  # the first batch, by which it is known
    assert run(*arguments, "--yes")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--grid", "lr=1:0:3"], "--grid lr: a range ascends, got '1:0:3'."),
        (["--grid", "lr=0:1:3", "--grid", "lr=1,2"], "--grid lr is given more than once."),
        (["--grid", "lr=0:1:3", "--set", "lr=1"], "lr is a dimension of the grid, and cannot be set as well."),
        (["--grid", "lr=0:1:3", "--seeds", "0"], "seeds takes a whole number from 1 to 100000, got '0'."),
        (["--grid", "lr=0:1:1000", "--seeds", "1000"], "at most 100000 runs at once, got 1000000."),
        (["--grid", "lr=0:1:3", "--workers", "0"], "--workers takes a whole number from 1 to 1000, got '0'."),
        (
            ["--grid", "lr=0:1:3", "--metric", "ende"],
            "unknown metric 'ende'. Did you mean 'end'? Allowed: end, start, t_small.",
        ),
        (
            ["--grid", "lr=0:1:3", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"],
            "--workers are processes here, and --scheduler has its own: give one of the two.",
        ),
    ],
)
def test_wrong_input_is_said_in_one_sentence(run, tmp_path, arguments, sentence):
    code, out, err = run("sweep", "tiny", *arguments, "--out", tmp_path / "sweep")
    assert (code, out, err) == (2, "", f"dyntoolkit: {sentence}\n")


def test_without_dask_a_scheduler_is_no_use(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = run("sweep", "tiny", "--grid", "lr=0:1:3", "--out", tmp_path, "--scheduler", "tcp://127.0.0.1:1")
    assert (code, err) == (2, 'dyntoolkit: --scheduler needs Dask: pip install "dyntoolkit[dask]".\n')


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0, "1 s"), (89.0, "89 s"), (91.0, "2 min"), (5000.0, "83 min"), (9000.0, "2.5 h")]
)
def test_durations_in_words(seconds, words):
    assert sweep_command._time(seconds) == words
