"""What a reader copies gives, for every experiment, the numbers of the dashboard to the bit."""

import shlex
import sys
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from small_settings import small

from dyntoolkit.app import cli
from dyntoolkit.catalog.course import course, course_label
from dyntoolkit.catalog.registry import find, load_one
from dyntoolkit.dashboard import snippets
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.runner import State
from dyntoolkit.dashboard.snippets import Source, command_snippet, python_snippet, rerun_snippet, source_of
from dyntoolkit.phenomena import EXPERIMENTS

SEEDS = (3, 4)


def trained(dashboard, until):
    dashboard.train()
    until(lambda: dashboard.runner.progress.state in (State.FINISHED, State.FAILED), 60)
    assert dashboard.runner.progress.state is State.FINISHED, dashboard.monitor.status.text
    return dashboard.history


@pytest.mark.slow
@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_python_and_command_give_the_same_numbers(experiment, until, tmp_path, monkeypatch, capsys):
    dashboard = Dashboard(experiment, small(experiment), SEEDS[0], len(SEEDS))
    history = trained(dashboard, until)
    names = {}
    exec(dashboard.share.python, names)
    runs = names["runs"]
    for name in history.names():
        steps, values = course(history, name)
        found = runs[course_label(name, ("seed",))].sel(step=steps).transpose("step", "seed", ...)
        np.testing.assert_array_equal(found, values.astype(float))
    assert runs["seed"].values.tolist() == list(SEEDS)

    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(dashboard.share.command)
    assert program == "dyntoolkit"
    assert cli.main([*arguments, "--out", "run.nc"]) in (0, cli.CLAIMS_FAIL)
    with xr.open_dataset("run.nc") as kept:
        xr.testing.assert_equal(kept.load(), history.to_xarray())
    dashboard.close()


def test_lines_of_python_and_a_command_name_only_what_differs(tiny, monkeypatch):
    monkeypatch.setattr(snippets, "packaged", lambda: (tiny,))
    assert "dt.run('tiny.one')" in python_snippet(tiny, tiny, "", tiny.configure(), (0,))
    assert command_snippet(tiny, tiny, "", tiny.configure(), (0,)) == "dyntoolkit run tiny.one"
    config = tiny.configure("slow", lr=0.1, flip=True)
    lines = python_snippet(tiny, tiny, "", config, (0, 1)).splitlines()
    assert lines[2] == "runs = dt.run('tiny.one', preset='slow', lr=0.1, flip=True, seeds=2)"
    assert lines[4] == "# dt.explore('tiny.one', preset='slow', lr=0.1, flip=True, n_seeds=2)"
    assert command_snippet(tiny, tiny, "", config, (0, 1)) == (
        "dyntoolkit run tiny.one --preset slow --set lr=0.1 flip=True --seed 0 1"
    )


def test_an_experiment_of_ones_own_goes_by_the_variable_that_holds_it(tiny, monkeypatch):
    assert source_of(tiny).python == "TINY"  # of the module that defines it
    assert source_of(tiny).imports.startswith("from ")
    mine = replace(tiny, name="mine")
    assert source_of(mine) == Source("", "EXPERIMENT", "my_file.py:EXPERIMENT", everywhere=False)
    monkeypatch.setattr(sys.modules["__main__"], "valley", mine, raising=False)
    assert source_of(mine) == Source("", "valley", "my_file.py:valley", everywhere=False)
    assert "dt.run(valley, lr=0.1)" in python_snippet(mine, mine, "", mine.configure(lr=0.1), (0,))


def test_what_reruns_a_file_names_the_readers_own_files(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    experiment = find("laboratory.network")
    assert rerun_snippet(experiment) == "dyntoolkit rerun FILE"
    assert rerun_snippet(replace(experiment, data="a b.csv")) == "dyntoolkit rerun FILE --file 'a b.csv'"
    assert rerun_snippet(replace(tiny, name="mine")) == "dyntoolkit rerun FILE --file my_file.py"  # of a notebook
    lines = "import dyntoolkit as dt\nclass Mine(dt.Config):\n    lr: float = dt.number(1.0, 0.1, 2.0)\n"
    (tmp_path / "my valley.py").write_text(f"{lines}E = dt.Experiment('valley', Mine, print)")
    own = load_one(str(tmp_path / "my valley.py"))
    assert rerun_snippet(replace(own, data="x.csv")) == "dyntoolkit rerun FILE --file 'my valley.py' --file x.csv"
    del sys.modules["dyntoolkit_file_my valley"]


def test_lines_of_python_and_a_command_read_a_readers_file(monkeypatch, tmp_path, capsys):
    experiment = find("laboratory.network")
    name = 'it\'s "mine" $(rm x).csv'
    content = b"a,b,y\n" + b"".join(b"%d,%d,%d\n" % (k, k * k % 7, k % 3) for k in range(40))
    (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    own = experiment.with_file(name, content)
    config = own.configure(steps=20, width=8, target="b")
    history = own.run(config, SEEDS)
    names = {}
    exec(python_snippet(experiment, own, name, config, SEEDS), names)
    np.testing.assert_array_equal(names["runs"]["loss"].isel(step=-1), history["loss"][-1])
    _, *arguments = shlex.split(command_snippet(experiment, own, name, config, SEEDS))
    assert cli.main([*arguments, "--out", "run.nc"]) in (0, cli.CLAIMS_FAIL)
    with xr.open_dataset("run.nc") as kept:
        xr.testing.assert_equal(kept.load(), history.to_xarray())
