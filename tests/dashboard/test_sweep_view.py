"""A sweep looked through in a notebook."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from dyntoolkit.catalog.run import run
from dyntoolkit.catalog.sweep import sweep
from dyntoolkit.dashboard.sweep_view import SweepView, curves_of, fields_of, show_sweep, sweep_panels
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.config import number
from dyntoolkit.figure.family import sequential

GRID = {"lr": [0.01, 0.1, 0.3], "dim": [1, 3], "kind": ["sgd", "sam"]}
FIRST = {"lr": 0, "dim": 0, "kind": 0}


@pytest.fixture
def runs(tiny):
    return run(tiny, seeds=2, steps=50, **GRID)


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr(sys.modules["dyntoolkit.dashboard.sweep_view"], "display", shown.append)
    return shown


def test_it_knows_the_fields_and_the_curves(runs):
    assert fields_of(runs) == ["lr", "dim", "kind"]
    assert curves_of(runs) == {"norm": "norm"}


def test_a_metric_over_one_field_is_the_median_over_the_seeds(runs):
    (panel,) = sweep_panels(runs, "ratio", "lr", "", FIRST)
    (line,) = panel.marks
    found = runs["metrics"].sel(metric="ratio", dim=1, kind="sgd").values
    assert line.x.tolist() == [0.01, 0.1, 0.3]
    np.testing.assert_array_equal(line.y, np.median(found, axis=1))
    np.testing.assert_array_equal(line.high, found.max(axis=1))


def test_over_words_it_has_bars(runs):
    (panel,) = sweep_panels(runs, "ratio", "kind", "", FIRST)
    assert panel.marks[0].x == ["sgd", "sam"]


def test_a_metric_over_two_fields_is_a_map(runs):
    (panel,) = sweep_panels(runs, "ratio", "lr", "dim", {**FIRST, "kind": 1})
    (heat,) = panel.marks
    assert (heat.x, heat.y) == (["0.01", "0.1", "0.3"], ["1", "3"])
    found = runs["metrics"].sel(metric="ratio", dim=3, kind="sam", lr=0.1).values
    assert heat.z[1, 1] == np.median(found)


def test_a_curve_is_a_family_over_a_field(runs):
    (panel,) = sweep_panels(runs, "norm", "lr", "", {**FIRST, "dim": 1})
    assert panel.title == "norm by lr"
    assert [line.name for line in panel.marks] == ["0.01", "0.1", "0.3"]
    assert [line.color for line in panel.marks] == sequential(3)
    found = runs["norm"].sel(dim=3, kind="sgd", lr=0.3).values
    np.testing.assert_array_equal(panel.marks[2].y, np.median(found, axis=0))
    assert panel.marks[2].x.tolist() == runs["step"].values.tolist()


def test_a_metric_and_a_curve_of_one_name_are_both_there(tiny, displayed):
    same = replace(tiny, metrics=lambda history: {"norm": history["norm"][-1]})
    view = show_sweep(run(same, lr=[0.1, 0.2], steps=50))
    assert view.show.options == ("norm", "norm by step")
    view.up.value = "–"
    metric = view.panels()[0]
    view.show.value = "norm by step"
    curve = view.panels()[0]
    assert (metric.x.label, curve.x.label) == ("lr", "step")
    assert [line.y[-1] for line in curve.marks] == metric.marks[0].y.tolist()


def test_what_is_not_trained_or_measured_is_left_out(runs):
    runs["metrics"].loc[{"lr": 0.1, "dim": 1}] = np.nan
    runs["norm"].loc[{"lr": 0.1, "dim": 1}] = np.nan
    (panel,) = sweep_panels(runs, "ratio", "lr", "dim", FIRST)
    assert np.isnan(panel.marks[0].z).tolist() == [[False, True, False], [False, False, False]]
    (panel,) = sweep_panels(runs, "ratio", "lr", "", FIRST)
    assert np.isnan(panel.marks[0].y).tolist() == [False, True, False]
    (panel,) = sweep_panels(runs, "norm", "lr", "", FIRST)
    assert [len(line.x) for line in panel.marks] == [6, 0, 6]


def test_one_chooses_from_lists(runs):
    view = SweepView(runs, None)
    assert view.show.options == ("norm_end", "ratio", "norm")
    assert [widget.layout.display for widget in view.at.values()] == ["none", "none", "flex"]
    view.show.value = "norm"
    assert view.up.disabled
    assert view.at["dim"].layout.display == "flex"
    assert view.board._newest[0][0].title == "norm by lr"
    view.show.value, view.up.value, view.across.value = "ratio", "lr", "lr"
    assert [type(mark).__name__ for mark in view.board._newest[0][0].marks] == ["Line"]


def test_a_directory_is_opened_and_shown(tiny, tmp_path, displayed, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        sweep(tiny, {"lr": [0.1, 0.2]}, 2, out=tmp_path, executor=executor, steps=20)
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "0")
    view = show_sweep(tmp_path)
    assert displayed == [view.box]
    assert view.up.value == "–"
    (panel,) = view.board._newest[0]
    assert panel.x.label == "Learning rate"
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "1")
    show_sweep(str(tmp_path))
    assert displayed[1].data.startswith(b"\x89PNG")


def known(tiny):
    """The experiment with a theory of its own."""
    return replace(tiny, predictions={"ratio": lambda c: c.lr + c.dim}, borders={"there": lambda c: c.lr - 0.1})


def test_what_theory_says_is_drawn_over_curves_and_maps(runs, tiny, displayed):
    view = show_sweep(runs, known(tiny))
    view.show.value, view.across.value, view.up.value = "ratio", "lr", "–"
    view.at["dim"].value = 1  # the second one, 3
    _, theory = view.panels()[0].marks
    np.testing.assert_allclose(theory.y, theory.x + 3)
    view.up.value = "dim"
    _, border = view.panels()[0].marks
    assert border.name == "there"
    assert np.nanmax(np.abs(border.x - 1)) < 0.05  # the second cell of three
    view.across.value = "kind"
    assert len(view.panels()[0].marks) == 1  # words have no order
    assert len(show_sweep(runs).panels()[0].marks) == 1  # an experiment that is not known


def test_theory_of_settings_that_are_no_more_is_left_out(runs, tiny, displayed):
    class Other(tiny.config):
        lr: float = number(5.0, 4.0, 6.0)

    view = show_sweep(runs, replace(known(tiny), config=Other))
    assert len(view.panels()[0].marks) == 1


def test_what_is_no_sweep_is_refused(tiny):
    for runs in (None, np.ones(3)):
        with pytest.raises(InputError, match="show_sweep takes a sweep or its directory, got "):
            show_sweep(runs)
    with pytest.raises(InputError, match="takes runs over one field at least; these are all of the same settings"):
        show_sweep(run(tiny, seeds=2, steps=20))


def test_values_ascend_however_the_grid_lists_them(tiny, displayed):
    view = show_sweep(run(tiny, lr=[0.3, 0.01, 0.1], kind=["sgd", "sam"], steps=50))
    assert view.panels()[0].marks[0].x == ["0.01", "0.1", "0.3"]
    view.up.value = "–"
    assert view.panels()[0].marks[0].x.tolist() == [0.01, 0.1, 0.3]


def test_a_sweep_of_which_nothing_is_there_says_so(tiny, tmp_path, displayed, monkeypatch):
    def simulate(configs, seeds):
        raise ValueError("<b>no</b> luck")

    with ThreadPoolExecutor(1) as executor, pytest.warns(RuntimeWarning, match="luck"):
        sweep(replace(tiny, simulate=simulate), {"lr": [0.1, 0.2]}, out=tmp_path, executor=executor)
    view = show_sweep(tmp_path)
    assert "0 of 2 runs, seed 0<br>failed: ValueError: &lt;b&gt;no&lt;/b&gt; luck" in view.words.value
    assert view.panels()[0].note == "No run is trained yet."
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "1")
    show_sweep(tmp_path)
    assert displayed[-1].data.startswith(b"\x89PNG")
