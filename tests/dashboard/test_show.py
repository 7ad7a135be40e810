"""`explore` with and without a front end."""

import contextlib
import io
from dataclasses import replace

import pytest
from IPython.core.interactiveshell import InteractiveShell

from dyntoolkit.catalog import registry
from dyntoolkit.dashboard import headless, live, show
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.show import Result, claims_table, explore, trained_map
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Map


@pytest.fixture(autouse=True)
def shown(tiny, monkeypatch):
    """What is displayed; nobody looks, and the only experiment is the tiny one."""
    monkeypatch.setattr(registry, "EXPERIMENTS", (tiny,))
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "1")
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
    assert shown[0].history is result.history


def test_the_shown_result_is_a_picture_and_words_without_measured_numbers(shown):
    explore("tiny")
    (result,) = shown
    shown.clear()
    words = io.StringIO()
    with contextlib.redirect_stdout(words):
        result._ipython_display_()
    assert shown[0].data.startswith(b"\x89PNG")
    assert words.getvalue() == ""


def test_a_result_is_not_shown_twice_by_its_own_cell(shown, monkeypatch):
    monkeypatch.setattr(headless, "execution", lambda: "m1")
    result = explore("tiny")
    shown.clear()
    result._ipython_display_()
    assert not shown
    monkeypatch.setattr(headless, "execution", lambda: "m2")
    with contextlib.redirect_stdout(io.StringIO()):
        result._ipython_display_()
    assert shown


def test_warnings_and_divergence_are_among_the_words():
    result = explore("tiny", lr=4, steps=1000)
    words = io.StringIO()
    with contextlib.redirect_stdout(words):
        result._ipython_display_()
    assert words.getvalue().startswith("lr above 1 oscillates.\nThe run diverged (seed 0 at step ")


def test_claims_table_headless():
    result = explore("tiny")
    assert repr(claims_table(result)) == (
        "✓ shrinks holds: the weights shrink\n– stays not expected here: the weights stay"
    )
    assert "\n    ✓ as it must be control: with tiny steps\n" in repr(claims_table(result, controls=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "tyni"}, "unknown experiment"),
        ({"preset": "slwo"}, "unknown preset"),
        ({"seed": 0.5}, "seed takes"),
        ({"n_seeds": 0}, "n_seeds takes"),
        ({"lr": "high"}, "lr takes"),
        ({"eta": 0.1}, "unknown field"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        explore(**{"name": "tiny", **arguments})


def test_live_returns_a_dashboard_at_once_that_trains(monkeypatch, until):
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "0")
    monkeypatch.setattr(live, "_live", [])
    displayed = []
    monkeypatch.setattr("dyntoolkit.dashboard.dashboard.display", displayed.append)
    dashboard = explore("tiny", seed=2, lr=0.1)
    try:
        assert isinstance(dashboard, Dashboard)
        assert displayed == [dashboard.box]
        until(lambda: dashboard.claims)
        assert dashboard.history.seeds == (2,)
        assert dashboard.claims_html in claims_table(dashboard).children
        assert dashboard.controls_run in claims_table(dashboard, controls=True).children
    finally:
        dashboard.close()


def test_of_two_dashboards_only_the_first_trains_before_it_is_seen(monkeypatch, until):
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "0")
    monkeypatch.setattr(live, "_live", [])
    monkeypatch.setattr("dyntoolkit.dashboard.dashboard.display", lambda _box: None)
    monkeypatch.setattr(headless, "cell", iter(["first", "second"]).__next__)
    first, second = explore("tiny"), explore("tiny")
    try:
        until(lambda: first.claims)
        assert second.history is None
        assert "in sight" in second.monitor.status.text
    finally:
        first.close()
        second.close()


def test_the_error_in_a_notebook_is_one_line(capsys):
    shell = InteractiveShell.instance()
    try:
        shell.run_cell("from dyntoolkit.errors import InputError\nraise InputError('lr takes a number.')")
    finally:
        InteractiveShell.clear_instance()
    assert capsys.readouterr().out.strip() == "InputError: lr takes a number."


def test_a_result_has_a_short_repr():
    assert repr(explore("tiny", n_seeds=3)) == "Result('tiny.one', seeds 0 to 2)"
    assert isinstance(explore("tiny"), Result)


def test_the_map_headless_is_a_picture(tiny, monkeypatch):
    over = Map(
        "Shrinking", "ratio", "lr", "dim", (0.01, 0.1), (1, 3), tiny.simulate, lambda history: history.last("norm")
    )
    monkeypatch.setattr(registry, "EXPERIMENTS", (replace(tiny, map=over),))
    assert trained_map(explore("tiny")).data.startswith(b"\x89PNG")
