"""Old dashboards end when their cell runs again or their name is given away."""

import pytest

from dyntoolkit.dashboard import headless, live
from dyntoolkit.dashboard.dashboard import Dashboard


@pytest.fixture
def cell(monkeypatch):
    """cell(id, execution): pretend that this cell is being executed."""
    monkeypatch.setattr(live, "_live", [])

    def enter(place, execution):
        monkeypatch.setattr(headless, "cell", lambda: place)
        monkeypatch.setattr(headless, "execution", lambda: execution)

    yield enter
    for entry in live._live:
        entry.dashboard.close()


@pytest.fixture
def opened(tiny, cell):
    def make(place="c1", execution="m1"):
        cell(place, execution)
        dashboard = Dashboard(tiny)
        live.enter(dashboard)
        return dashboard

    return make


def is_closed(dashboard):
    return dashboard.runner._closed


def test_running_the_cell_again_closes_the_old_one(opened):
    old, new = opened("c1", "m1"), opened("c1", "m2")
    assert is_closed(old)
    assert not is_closed(new)


def test_two_in_one_execution_live_together(opened):
    assert [is_closed(dashboard) for dashboard in (opened(), opened())] == [False, False]


def test_another_cell_is_left_alone(opened):
    old = opened("c1", "m1")
    opened("c2", "m2")
    assert not is_closed(old)


def test_without_cell_ids_the_experiment_counts(opened):
    old = opened("", "m1")
    opened("", "m2")
    assert is_closed(old)


def test_giving_the_name_away_retires(opened):
    dashboard = opened()
    live.retire_unnamed({"view": dashboard})
    assert not is_closed(dashboard)
    live.retire_unnamed({"view": 1, "_1": dashboard, "Out": {1: dashboard}})
    assert is_closed(dashboard)
    assert dashboard.monitor.status.text.startswith("Ended")


def test_one_without_a_name_lives_on(opened):
    dashboard = opened()
    live.retire_unnamed({"_": dashboard})
    live.retire_unnamed({})
    assert not is_closed(dashboard)
