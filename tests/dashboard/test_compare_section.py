"""The fold below the figure: one slider over many values, and a map of two."""

from dataclasses import replace

import pytest
from ipywidgets.widgets.widget import _instances

from dyntoolkit.dashboard.runner import State
from dyntoolkit.experiment.config import Config, number, switch
from dyntoolkit.figure.family import sequential


@pytest.fixture
def dashboard(open_dashboard, until):
    dashboard = open_dashboard(steps=50)
    dashboard.train()
    until(lambda: finished(dashboard, "seed 0"))
    return dashboard


def finished(dashboard, what):
    done = dashboard.runner.progress.state is State.FINISHED
    return done and dashboard.monitor.status.text.startswith(f"Finished: {what}")


def shown(board):
    return board._newest[0]


def test_nothing_is_made_before_it_is_opened(dashboard):
    assert dashboard.compare._inside.children == ()
    before = len(_instances)
    dashboard.compare.button.click()
    assert len(_instances) > before + 20
    assert dashboard.compare.of.options == ("norm_end", "ratio", "claim shrinks", "claim stays")
    assert dict(dashboard.compare.field.options)["Learning rate"] == "lr"
    parts = dashboard.compare._inside.children
    dashboard.compare.button.click()
    dashboard.compare.button.click()
    assert dashboard.compare._inside.children == parts


def test_a_slider_is_spread_beside_the_run_that_stays(dashboard, until):
    own, section = dashboard.history, dashboard.compare
    section.button.click()
    section.values.value = "3"
    section.run.click()
    until(lambda: finished(dashboard, "the spread of lr"))
    (panel,) = shown(section.board)
    assert [line.name for line in panel.marks] == ["0.005", "0.05", "0.5"]
    assert [line.color for line in panel.marks] == sequential(3)
    assert dashboard.history is own
    assert [verdict.id for verdict in dashboard.claims] == ["shrinks", "stays"]
    assert section.title.value == "Learning rate from 0.005 to 0.5, steps 50, seed 0"
    assert section.view.options == ("curves", "norm_end", "ratio")
    section.view.value = "ratio"
    (panel,) = shown(section.board)
    assert panel.marks[0].x.tolist() == [0.005, 0.05, 0.5]


def test_a_click_on_a_curve_or_a_point_sets_the_slider(dashboard, until):
    section = dashboard.compare
    dashboard.spread("lr", "0.1, 0.3")
    until(lambda: finished(dashboard, "the spread of lr"))
    section.board._handle_custom_msg({"kind": "pick", "view": "v", "name": "0.3", "x": 10, "y": 0.5}, [])
    assert dashboard.sliders.values()["lr"] == 0.3
    until(lambda: finished(dashboard, "seed 0") and dashboard.history.config.lr == 0.3)
    point = {"kind": "pick", "view": "v", "name": "median over the seeds", "x": 0.10000000149, "y": 0.5}
    section.board._handle_custom_msg(point, [])
    assert dashboard.sliders.values()["lr"] == 0.1


def test_a_map_is_trained_and_a_click_into_it_sets_both_sliders(dashboard, until):
    section = dashboard.compare
    section.button.click()
    section.of.value = "ratio"
    section.y.value = "dim"
    section.map_run.click()
    until(lambda: finished(dashboard, "the map of ratio"))
    (panel,) = shown(section.map_board)
    (heat,) = panel.marks
    assert (len(heat.x), heat.y) == (17, ["1", "2", "3", "4", "5", "6", "7"])
    section.map_board._handle_custom_msg({"kind": "pick", "view": "v", "name": "ratio", "x": heat.x[0], "y": "7"}, [])
    assert (dashboard.sliders.values()["lr"], dashboard.sliders.values()["dim"]) == (0.005, 7)
    assert dashboard.config.dim == 7


def test_an_own_run_that_is_not_finished_comes_first_and_is_judged(open_dashboard, until):
    dashboard = open_dashboard(steps=50)
    dashboard.spread("lr", "2")
    until(lambda: finished(dashboard, "the spread of lr"))
    assert dashboard.history.done
    assert dashboard.claims
    assert len(shown(dashboard.compare.board)[0].marks) == 2


def test_without_claims_the_run_is_not_trained_again(tiny, open_dashboard, until):
    dashboard = open_dashboard(replace(tiny, claims=()), steps=50)
    dashboard.train()
    until(lambda: finished(dashboard, "seed 0"))
    own = dashboard.history
    dashboard.spread("lr", "2")
    until(lambda: finished(dashboard, "the spread of lr"))
    assert dashboard.history is own


def test_wrong_values_are_said_and_train_nothing(dashboard):
    for values in ("1", "0.1, nine"):
        dashboard.spread("lr", values)
        assert dashboard.monitor.status.error
        assert dashboard.runner.progress.state is State.FINISHED
    dashboard.map_sliders("lr", "lr", "ratio")
    assert dashboard.monitor.status.text == "a map takes two different sliders, got lr twice."
    assert dashboard.compared() == {"pins": []}


def test_what_is_compared_is_plain_data(dashboard, until):
    dashboard.pin()
    dashboard.spread("lr", "0.1, 0.3")
    dashboard.map_sliders("lr", "dim", "claim shrinks")
    assert dashboard.compared() == {
        "pins": [{"settings": dashboard.config.asdict(), "seeds": [0]}],
        "spread": {"field": "lr", "values": [0.1, 0.3]},
        "map": {"x": "lr", "y": "dim", "of": "claim shrinks"},
    }
    until(lambda: finished(dashboard, "the spread of lr"))  # which the map had broken off


def test_settings_of_another_kind_bring_other_controls(dashboard):
    class Fewer(Config):
        lr: float = number(0.1, 0.01, 1.0)

    section = dashboard.compare
    section.button.click()
    section.offer(Fewer())
    assert section._inside.children == ()
    assert section.button.description.startswith("▸")
    section.button.click()
    assert [name for _, name in section.field.options] == ["lr"]


def test_where_nothing_is_a_number_there_is_no_such_section(dashboard):
    class Yes(Config):
        flip: bool = switch(False)

    dashboard.compare.offer(Yes())
    assert dashboard.compare.box.layout.display == "none"


def test_it_is_switched_off_with_the_dashboard(dashboard):
    dashboard.compare.button.click()
    dashboard.retire()
    assert dashboard.compare.run.disabled
    assert dashboard.compare.map_run.disabled
