"""`explore` with and without a front end."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from dyntoolkit.catalog import registry
from dyntoolkit.dashboard import headless, live, show
from dyntoolkit.dashboard.show import claims_table, explore, trained_map
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Map
from dyntoolkit.figure.panels import Axis, Panel


@pytest.fixture(autouse=True)
def shown(tiny, monkeypatch):
    """What is displayed in a notebook in which nobody looks; the only experiment is the tiny one."""
    monkeypatch.setattr(registry, "EXPERIMENTS", (tiny,))
    monkeypatch.setattr(live, "_live", [])
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "1")
    monkeypatch.setattr(headless, "in_notebook", lambda: True)
    objects = []
    monkeypatch.setattr(show, "display", objects.append)
    return objects


def test_headless_trains_to_the_end_and_shows_the_result(shown):
    result = explore("tiny", "slow", seed=4, n_seeds=2, steps=500)
    assert result.history.done
    assert result.history.seeds == (4, 5)
    assert result.history.config.steps == 500
    assert [verdict.id for verdict in result.claims] == ["shrinks", "stays"]
    assert len(shown) == 1
    assert shown[0].data == result.png()


def test_text_is_taken_for_numbers_and_an_experiment_for_its_name(tiny, monkeypatch):
    monkeypatch.setattr(registry, "EXPERIMENTS", ())
    result = explore(tiny, seed="4", n_seeds="2", steps="5e2", flip="yes", lr=np.float32(0.5))
    assert result.history.seeds == (4, 5)
    assert result.history.config == tiny.configure(steps=500, flip=True, lr=0.5)


def test_in_a_notebook_it_is_a_picture_and_words_without_measured_numbers(shown, capsys):
    explore("tiny")
    (picture,) = shown
    assert picture.data.startswith(b"\x89PNG")
    assert capsys.readouterr().out == ""


def test_a_result_is_not_shown_twice_by_its_own_cell(shown, monkeypatch):
    monkeypatch.setattr(headless, "execution", lambda: "m1")
    result = explore("tiny")
    shown.clear()
    result._ipython_display_()
    assert not shown
    monkeypatch.setattr(headless, "execution", lambda: "m2")
    result._ipython_display_()
    assert shown


def test_warnings_and_divergence_are_among_the_words(capsys):
    explore("tiny", lr=4, steps=1000)
    assert capsys.readouterr().out.startswith("lr above 1 oscillates.\nThe run diverged (seed 0 at step ")


TEXT = (
    "tiny.one, seed 0, 200 of 200 steps\n"
    "settings: lr 0.05, init_scale 1, noise_std 0, steps 200, dim 3, select 0, flip no, kind sgd\n"
    "metrics: norm_end {norm}, ratio 3.51e-05\n"
    "✓ shrinks holds: the weights shrink (3.51e-05, threshold < 0.5)\n"
    "– stays not expected here: the weights stay (3.51e-05, threshold > 0.9)\n"
)


def test_in_a_script_it_is_text_with_settings_numbers_and_verdicts(tiny, monkeypatch, shown, capsys):
    monkeypatch.setattr(headless, "in_notebook", lambda: False)
    result = explore("tiny")
    norm = f"{result.history['norm'][-1, 0]:.3g}"
    assert capsys.readouterr().out == TEXT.format(norm=norm) == f"{result}\n"
    assert not shown
    bare = explore(replace(tiny, claims=()), lr=4, steps=1000, n_seeds=2)
    lines = repr(bare).splitlines()
    assert lines[0] == "tiny.one, seeds 0 to 1, 1,000 of 1,000 steps"
    assert lines[2:4] == ["metrics: norm_end 2 diverged, ratio 2 diverged", "lr above 1 oscillates."]
    assert lines[4].startswith("2 of 2 runs diverged (seed 0 at step ")


def test_pythons_own_prompt_shows_it_once(monkeypatch, capsys):
    monkeypatch.setattr(headless, "in_notebook", lambda: False)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(headless, "get_ipython", lambda: None)
    result = explore("tiny")
    assert capsys.readouterr().out == ""  # the prompt itself shows what it returns
    sys.displayhook(result)
    assert capsys.readouterr().out.startswith("tiny.one, seed 0, 200 of 200 steps\n")


def test_a_terminals_ipython_shows_it_once_and_again_when_asked(tiny, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "1")
    shell = InteractiveShell.instance()
    try:
        shell.user_ns["tiny"] = tiny
        shell.run_cell("from dyntoolkit import explore")
        shell.run_cell("result = explore(tiny)", store_history=True)
        assert capsys.readouterr().out.count("✓ shrinks holds") == 1
        shell.run_cell("explore(tiny)", store_history=True)
        assert capsys.readouterr().out.count("✓ shrinks holds") == 1
        shell.run_cell("result", store_history=True)
        assert capsys.readouterr().out.count("✓ shrinks holds") == 1
    finally:
        InteractiveShell.clear_instance()


@pytest.mark.slow
def test_a_script_shows_it_once(tmp_path):
    path = tmp_path / "script.py"
    path.write_text("import dyntoolkit as dt\nresult = dt.explore('label_noise', steps=500, width=16)\n")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("DYNTOOLKIT_HEADLESS", None)
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("label_noise.linear, seed 0, 500 of 500 steps\nsettings: ") == 1


def test_claims_table_headless():
    result = explore("tiny")
    assert repr(claims_table(result)) == (
        "✓ shrinks holds: the weights shrink\n– stays not expected here: the weights stay"
    )
    assert "\n    ✓ as it must be control: with tiny steps\n" in repr(claims_table(result, controls=True))


def test_claims_table_headless_with_controls_shows_the_figure_of_all_runs(tiny, shown):
    rates = []

    def sweep_panels(rows):
        rates.extend(sorted({config.lr for config, _ in rows}))
        return [Panel("t", Axis("x"), Axis("y"))]

    result = explore(replace(tiny, sweep_panels=sweep_panels))
    shown.clear()
    claims_table(result, controls=True)
    assert rates == [0.001, 0.05]
    (picture,) = shown
    assert picture.data.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"experiment": "tyni"}, "unknown experiment"),
        ({"preset": "slwo"}, "unknown preset"),
        ({"seed": 0.5}, "seed takes"),
        ({"n_seeds": 0}, "n_seeds takes"),
        ({"lr": "high"}, "lr takes"),
        ({"eta": 0.1}, "unknown field"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        explore(**{"experiment": "tiny", **arguments})


def test_the_error_in_a_notebook_is_one_line(capsys):
    shell = InteractiveShell.instance()
    try:
        shell.run_cell("from dyntoolkit.errors import InputError\nraise InputError('lr takes a number.')")
    finally:
        InteractiveShell.clear_instance()
    assert capsys.readouterr().out.strip() == "InputError: lr takes a number."


def test_the_map_headless_is_a_picture(tiny):
    over = Map("Shrinking", "ratio", "lr", "dim", (0.01, 0.1), (1, 3), tiny.simulate, lambda h: h.last("norm"))
    mapped = replace(tiny, map=over)
    assert trained_map(explore(mapped)).data.startswith(b"\x89PNG")
    assert trained_map(mapped).data.startswith(b"\x89PNG")  # trains it first
    with pytest.raises(InputError, match=r"tiny\.one has no map\."):
        trained_map("tiny")


def test_claims_of_a_name_or_an_experiment_are_those_of_a_run_of_it(tiny):
    words = "✓ shrinks holds: the weights shrink\n– stays not expected here: the weights stay"
    assert repr(claims_table("tiny")) == repr(claims_table(tiny)) == words
