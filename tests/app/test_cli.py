import dataclasses
import json
import os
import re
import signal
from collections import OrderedDict

import numpy as np
import pytest
import tiny_experiment
import xarray as xr
from tiny_experiment import TINY, TinyConfig

from dyntoolkit.app.cli import main
from dyntoolkit.catalog import registry
from dyntoolkit.experiment import Experiment, Preset
from dyntoolkit.phenomena.condensation import directions


@pytest.fixture
def tiny(monkeypatch):
    """The tiny experiment as the only one there is; returns a function that puts another in its place."""

    def install(experiment):
        monkeypatch.setattr(registry, "EXPERIMENTS", (experiment,))

    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the command line then leaves the threads of this process alone
    install(TINY)
    return install


@pytest.fixture
def run(tiny, capsys):
    """Run a command; returns its exit code, stdout and stderr."""

    def command(*arguments):
        code = main([*arguments])
        return code, *capsys.readouterr()

    return command


def strict(text):
    """The one JSON document in a text; NaN and Infinity are not JSON."""

    def refuse(word):
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


def test_run_prints_the_claims_and_succeeds(run):
    code, out, err = run("run", "tiny", "--seeds", "3")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("tiny.decay, seeds 0 to 2, ")
    assert lines[1].split() == ["claim", "value", "wanted", "holds"]
    assert lines[2].split() == [
        "+",
        "shrinks:",
        "x",
        "shrinks",
        "1.05e-06",
        "[9.54e-07,",
        "1.14e-06]",
        "<",
        "0.01",
        "3/3",
    ]
    assert max(map(len, lines)) <= 100
    assert "tiny.decay" in err  # the bar
    assert "20/20" in err


def test_run_fails_when_an_expected_claim_does_not_hold(run):
    code, out, _ = run("run", "tiny", "--set", "lr=.1")
    assert code == 1
    assert re.search(r"^-  +shrinks: x shrinks", out, re.M)


def test_the_numbers_are_shown_where_there_are_no_claims(run, tiny):
    tiny(Experiment("bare", TinyConfig, tiny_experiment.simulate))
    code, out, _ = run("run", "bare", "--seeds", "3")
    assert code == 0
    assert out.splitlines()[1:] == ["x  1.05e-06 [9.54e-07, 1.14e-06]"]
    document = strict(run("run", "bare", "--json", "--claims", "all")[1])
    assert (document["claims"], document["preset"]) == ([], "default")
    assert document["metrics"]["x"] == pytest.approx([0.5**20])


def test_a_claim_that_is_not_expected_neither_passes_nor_fails(run):
    code, out, _ = run("run", "tiny", "--preset", "still")
    assert code == 0
    assert re.search(r"^\.  +shrinks: x shrinks \(not expected here\)", out, re.M)


def test_json_is_one_strict_document(run):
    code, out, _ = run("run", "tiny.decay", "--json", "--seed", "4", "2", "--set", "steps=30", "lr=.4")
    document = strict(out)
    assert code == 0
    assert list(document) == [
        "experiment",
        "config",
        "preset",
        "seeds",
        "seconds",
        "versions",
        "engine",
        "diverged",
        "claims",
        "metrics",
    ]
    assert document["experiment"] == "tiny.decay"
    assert document["config"] == {"lr": 0.4, "pull": 0.0, "steps": 30, "law": "linear"}
    assert document["preset"] == "default"
    assert document["seeds"] == [4, 2]
    assert document["diverged"] == [None, None]
    assert set(document["versions"]) == {"dyntoolkit", "python", "torch", "numpy"}
    assert document["engine"] == {"mode": "eager", "device": "cpu", "threads": document["engine"]["threads"]}
    assert set(document["metrics"]) == {"end", "start", "t_small"}
    assert document["metrics"]["start"] == [1.4, 1.2]
    assert [claim["id"] for claim in document["claims"]] == ["shrinks", "settles"]
    shrinks = document["claims"][0]
    assert shrinks["value"] == document["metrics"]["end"] == pytest.approx([1.4 * 0.6**30, 1.2 * 0.6**30])
    assert shrinks["holds"] == [True, True]
    assert (shrinks["statement"], shrinks["threshold"], shrinks["expected"]) == ("x shrinks", "< 0.01", True)


def test_diverged_and_never_are_null(run):
    code, out, err = run("run", "tiny", "--json", "--preset", "lost", "--seeds", "2")
    document = strict(out)
    assert code == 0  # nothing is expected of a diverging setting
    assert document["diverged"] == [20, 20]
    assert document["metrics"]["end"] == [None, None]
    assert document["claims"][0]["value"] == [None, None]
    assert document["claims"][0]["holds"] == [False, False]
    assert "lr above 1 oscillates." in err
    assert strict(run("run", "tiny", "--json", "--preset", "still")[1])["metrics"]["t_small"] == [None]
    assert "diverged: seed 0 at step 20" in run("run", "tiny", "--preset", "lost")[1]


def test_claims_all_trains_presets_controls_and_sweeps(run):
    code, out, err = run("run", "tiny", "--claims", "all", "--json")
    document = strict(out)
    assert code == 0  # although the control of `falls` does not do what it should: it is reported
    claims = {claim["id"]: claim for claim in document["claims"]}
    assert list(claims) == ["shrinks", "settles", "falls", "all_small", "mean_start"]
    assert (claims["settles"]["settings"], claims["settles"]["expected"]) == ("preset pulled", True)
    assert claims["settles"]["holds"] == [True]
    assert [control["confirmed"] for control in claims["shrinks"]["controls"]] == [[True], [True], [True]]
    assert claims["shrinks"]["controls"][2]["mean"] == pytest.approx(1.2)
    assert claims["falls"]["controls"][0]["confirmed"] == [False]
    assert document["seeds"] == [0]
    assert document["metrics"]["start"] == [1.0]  # of the seeds asked for, though five were trained
    assert "runs for the claims, loop 2/2" in err


def test_claims_of_some_ids_are_judged_alone_with_their_controls(run):
    code, out, _ = run("run", "tiny", "--claims", "shrinks", "settles")
    assert code == 0
    assert "  +  " in out
    assert "control: lr 0: x stays" in out
    assert "(preset pulled)" in out
    assert "falls" not in out


def test_out_holds_every_curve(run, tmp_path):
    path = tmp_path / "curves.nc"
    path.write_text("an older file")
    assert run("run", "tiny", "--seeds", "2", "--out", str(path))[0] == 0
    with xr.open_dataset(path, engine="h5netcdf") as data:
        np.testing.assert_allclose(data["x"].sel(run=1), 1.1 * 0.5 ** data["step"])
        assert data["seed"].values.tolist() == [0, 1]
        assert data.attrs["finished"] == 1
    assert list(tmp_path.iterdir()) == [path]


def on_file(name, content):
    """The tiny experiment with as large a pull as the file says."""
    presets = {"file": Preset(f"the pull of {name}", {"pull": float(content)})}
    return dataclasses.replace(TINY, presets=presets, claims=())


def test_a_file_of_data_may_be_brought(run, tiny, tmp_path):
    tiny(dataclasses.replace(TINY, file=on_file))
    path = tmp_path / "pull.csv"
    path.write_text("0.25")
    code, out, err = run("run", "tiny", "--file", str(path), "--set", "lr=1", "--json")
    assert (code, err.count("dyntoolkit:")) == (0, 0), err
    document = strict(out)
    assert (document["config"]["pull"], document["config"]["lr"], document["preset"]) == (0.25, 1, "file")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none.csv", "none.csv cannot be read: No such file or directory."),
        ("", "cannot be read: Is a directory."),
        ("large.csv", "large.csv has 60.0 MB: a file of data may have 50 MB at most."),
        ("text.csv", "ValueError"),
    ],
)
def test_a_file_that_cannot_be_taken_is_said(run, tiny, tmp_path, name, sentence):
    tiny(dataclasses.replace(TINY, file=on_file))
    (tmp_path / "text.csv").write_text("much")
    with (tmp_path / "large.csv").open("wb") as large:
        large.truncate(60_000_000)
    code, out, err = run("run", "tiny", "--file", str(tmp_path / name))
    assert (code, out) == (3 if sentence == "ValueError" else 2, "")  # that one is a mistake in the experiment's code
    assert sentence in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tiny", "--file", __file__], "tiny.decay takes no file of data."),
        (["tini"], "unknown experiment 'tini'"),
        (["tiny.decai"], "Did you mean 'tiny.decay'?"),
        (["tiny", "--preset", "stil"], "unknown preset 'stil'. Did you mean 'still'?"),
        (["tiny", "--set", "step=3"], "unknown field 'step'. Did you mean 'steps'?"),
        (["tiny", "--set", "lr"], "--set takes FIELD=VALUE, got 'lr'."),
        (["tiny", "--set", "lr=4"], "lr takes a number from 0 to 3, got 4."),
        (["tiny", "--set", "lr=nan"], "lr takes a number from 0 to 3, got nan."),
        (["tiny", "--set", "lr=fast"], "lr takes a number from 0 to 3, got 'fast'."),
        (["tiny", "--set", "lr="], "lr takes a number from 0 to 3, got ''."),
        (["tiny", "--set", "steps=20.5"], "steps takes a whole number from 10 to 1000, got 20.5."),
        (["tiny", "--set", "law=square"], "law takes one of linear, cubic; got 'square'."),
        (["tiny", "--set", "lr=3", "pull=.5"], "lr 3 allows no pull."),
        (["tiny", "--seed", "1.5"], "seed takes a whole number from 0 to 4294967295, got '1.5'."),
        (["tiny", "--seed", "one"], "seed takes a whole number from 0 to 4294967295, got 'one'."),
        (["tiny", "--seed", "-1"], "seed takes a whole number from 0 to 4294967295, got '-1'."),
        (["tiny", "--seed", "2", "3", "2"], "seed 2 is given more than once."),
        (["tiny", "--seeds", "0"], "--seeds takes a whole number from 1 to 1000, got '0'."),
        (["tiny", "--seeds", "many"], "--seeds takes a whole number from 1 to 1000, got 'many'."),
        (["tiny", "--seeds", "2", "--seed", "1"], "give one of the two."),
        (["tiny", "--claims", "shrink"], "unknown claim 'shrink'. Did you mean 'shrinks'?"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(run, arguments, sentence):
    code, out, err = run("run", *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.startswith("dyntoolkit: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run"], "NAME"),
        (["train"], "invalid choice: 'train'"),
        (["run", "tiny", "--sede", "3"], "unrecognized arguments: --sede 3"),
        (["serve", "my_file.py"], "unrecognized arguments: my_file.py"),  # a page runs what is installed, no file
        (["serve", "--port", "http"], "takes a whole number from 1 to 65535, got 'http'"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_too(tiny, capsys, arguments, sentence):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing/curves.nc", "there is no directory"),
        (".", "is a directory."),
        ("file/curves.nc", "there is no directory"),
        ("x" * 300, "File name too long."),
        ("/proc/curves.nc", "/proc"),
        ("/dev/null", "is a device or the like."),
    ],
)
def test_out_is_checked_before_training(run, tiny, tmp_path, name, sentence):
    def never(configs, seeds):
        raise AssertionError("trained")

    tiny(dataclasses.replace(TINY, simulate=never))
    (tmp_path / "file").touch()
    code, out, err = run("run", "tiny", "--out", str(tmp_path / name))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--out" in err
    assert sentence in err
    assert os.listdir(tmp_path) == ["file"]


def test_bad_input_after_out_leaves_no_file(run, tmp_path):
    assert run("run", "tiny", "--out", str(tmp_path / "curves.nc"), "--claims", "none")[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_in_the_end_costs_no_results(run, tiny, tmp_path):
    path = tmp_path / "curves.nc"

    def simulate(configs, seeds):
        yield from tiny_experiment.simulate(configs, seeds)
        path.mkdir()

    tiny(dataclasses.replace(TINY, simulate=simulate))
    code, out, err = run("run", "tiny", "--out", str(path))
    assert code == 2
    assert "shrinks: x shrinks" in out
    assert "could not be written: Is a directory." in err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "words"), [(OSError(28, "No space left"), "No space left"), (MemoryError(), "out of memory")]
)
def test_a_disk_or_memory_that_is_full_costs_no_results_and_leaves_an_older_file(
    run, monkeypatch, tmp_path, error, words
):
    def full(*_):
        raise error

    path = tmp_path / "curves.nc"
    path.write_text("an older file")
    monkeypatch.setattr(os, "replace", full)
    code, out, err = run("run", "tiny", "--out", str(path))
    assert code == 2
    assert "shrinks: x shrinks" in out
    assert err.splitlines()[-1] == f"dyntoolkit: --out: {path} could not be written: {words}."
    assert path.read_text() == "an older file"
    assert list(tmp_path.iterdir()) == [path]


def signalled(number, step, after=None):
    """The tiny simulation, in which the process gets a signal just before the frame of a step."""

    def simulate(configs, seeds):
        if after is not None and configs[0] == after:
            yield from tiny_experiment.simulate(configs, seeds)
            return
        for frame in tiny_experiment.simulate(configs, seeds):
            if frame.step == step:
                os.kill(os.getpid(), number)
            yield frame

    return dataclasses.replace(TINY, simulate=simulate)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_writes_what_was_computed(run, tiny, tmp_path, number):
    tiny(signalled(number, step=8))
    path = tmp_path / "curves.nc"
    path.write_text("an older file")
    handler = signal.getsignal(number)
    code, out, err = run("run", "tiny", "--out", str(path), "--json")
    assert (code, out) == (130, "")
    assert f"stopped at step 8 of 20. The curves so far are in {path}. The claims were not judged." in err
    with xr.open_dataset(path, engine="h5netcdf") as data:
        assert data["step"].values.tolist() == [0, 2, 4, 6, 8]
        assert data.attrs["finished"] == 0
    assert list(tmp_path.iterdir()) == [path]
    assert signal.getsignal(number) is handler


def test_ctrl_c_while_the_claims_are_trained_keeps_the_run(run, tiny, tmp_path):
    tiny(signalled(signal.SIGINT, step=8, after=TINY.configure()))
    path = tmp_path / "curves.nc"
    code, _, err = run("run", "tiny", "--out", str(path), "--claims", "settles")
    assert code == 130
    assert "stopped after the run, before its claims" in err
    with xr.open_dataset(path, engine="h5netcdf") as data:
        assert data.attrs["finished"] == 1
        assert data["step"].values.tolist() == list(range(0, 21, 2))


def test_ctrl_c_before_the_first_frame_keeps_an_older_file(run, tiny, tmp_path):
    def simulate(configs, seeds):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the second one does not wait for a frame
        yield

    tiny(dataclasses.replace(TINY, simulate=simulate))
    path = tmp_path / "curves.nc"
    path.write_text("an older file")
    code, _, err = run("run", "tiny", "--out", str(path))
    assert (code, path.read_text()) == (130, "an older file")
    assert "Nothing was computed yet." in err


def test_what_breaks_off_with_an_error_is_no_failed_claim(run, tiny):
    def simulate(configs, seeds):
        yield from tiny_experiment.simulate(configs, seeds)
        raise ZeroDivisionError

    tiny(dataclasses.replace(TINY, simulate=simulate))
    code, out, err = run("run", "tiny")
    assert (code, out) == (3, "")
    assert "ZeroDivisionError" in err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_says_what_the_exit_codes_mean(capsys, arguments):
    assert main(arguments) == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("0 done", "1 a claim fails", "2 wrong input", "3 an error", "130 stopped by Ctrl-C"):
        assert words in text


def test_list_shows_every_experiment(run):
    code, out, _ = run("list")
    assert code == 0
    assert out.splitlines()[0] == "tiny.decay: Decay (0.01 s)"
    assert "Does x shrink?" in out
    assert "pulled: x settles at 1" in out
    (entry,) = strict(run("list", "--json")[1])
    assert list(entry["presets"]) == ["default", "still", "pulled", "lost"]
    assert entry["fields"]["lr"] == {"default": 0.5, "help": "step size", "low": 0, "high": 3, "log": False, "unit": ""}
    assert entry["fields"]["law"]["options"] == ["linear", "cubic"]
    assert entry["claims"] == ["shrinks", "settles", "falls", "all_small", "mean_start"]


@pytest.mark.parametrize("engine", ["xla", "recorded", "eager"])
def test_an_engine_can_be_asked_for_and_is_written_everywhere(engine, capsys, tmp_path):
    chosen = ["run", "condensation.directions", "--set", "steps=30", "--engine", engine]
    assert main([*chosen, "--json", "--out", str(tmp_path / "run.nc")]) in (0, 1)
    assert strict(capsys.readouterr().out)["engine"]["mode"] == engine
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as written:
        assert written.attrs["engine"] == engine
    main(chosen)
    assert f"engine {engine}" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--engine", "xls"], "unknown engine 'xls'. Did you mean 'xla'? Allowed: xla, recorded, eager."),
        (["--device", "gpu"], "unknown device 'gpu'. Did you mean 'cpu'? Allowed: cpu, cuda."),
        (["--device", "cuda", "--engine", "eager"], "device: an eager step runs on the CPU, where its tensors are"),
    ],
)
def test_an_engine_or_device_that_there_is_not_is_one_sentence(run, wrong, words):
    code, out, err = run("run", "tiny.decay", *wrong)
    assert (code, out) == (2, "")
    assert words in err


def test_without_a_gpu_the_sentence_says_so(run, monkeypatch):
    monkeypatch.setattr("dyntoolkit.engine.choice._jax_has_gpu", lambda: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = run("run", "tiny.decay", "--device", "cuda")
    assert code == 2
    assert "device: cuda needs a GPU and a JAX or torch that is built for it; there is none." in err


def test_warm_compiles_each_default_once(tiny, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("dyntoolkit.engine.choice._PROGRAMS", OrderedDict())  # what this process has compiled so far
    tiny(directions.EXPERIMENT)
    main(["warm"])
    first = capsys.readouterr().out
    assert first.splitlines()[0].startswith("condensation.directions: ")
    assert len(list((tmp_path / "dyntoolkit" / "programs").iterdir())) > 1  # programs, and a note that they are there
    main(["warm"])
    assert capsys.readouterr().out == "Everything is compiled.\n"


def test_warm_says_where_nothing_can_be_kept(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file in place of a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    code, out, err = run("warm")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(
        f"dyntoolkit: programs are kept in {tmp_path / 'file' / 'dyntoolkit' / 'programs'}, which must"
    )


def test_warm_without_jax_says_that_there_is_nothing_to_do(run, monkeypatch):
    monkeypatch.setattr("dyntoolkit.engine.choice.has_jax", lambda: False)
    code, out, err = run("warm")
    assert (code, out) == (0, "")
    assert "JAX is not installed here" in err
