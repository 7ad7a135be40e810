"""A pinned run beside the present one."""

from dataclasses import replace

import pytest

from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.runner import State
from dyntoolkit.figure.panels import BLUE, Axis, Panel, median_line


def compare(history, pinned):
    """The difference of the norms up to where both are known."""
    known = min(len(history.at("norm")), len(pinned.at("norm")))
    line = median_line("difference", history.at("norm")[:known], history["norm"][:known] - pinned["norm"][:known], BLUE)
    return [Panel("Difference", Axis("step"), Axis("norm"), [line])]


@pytest.fixture
def dashboard(tiny, until):
    dashboard = Dashboard(replace(tiny, compare=compare))
    dashboard.train()
    until(lambda: dashboard.runner.progress.state is State.FINISHED and dashboard.history.done)
    yield dashboard
    dashboard.close()
    dashboard.runner.join(60)


def titles(dashboard):
    return [panel.title for panel in dashboard.board._newest[0]]


def test_panels_that_compare_are_drawn_while_a_run_is_pinned(dashboard, until):
    assert titles(dashboard) == ["Norm"]
    dashboard.pin()
    assert titles(dashboard) == ["Norm", "Difference"]
    (line,) = dashboard.board._newest[0][1].marks
    assert (line.y == 0).all()  # with itself
    dashboard.sliders.widget("lr").value = 0.2
    until(lambda: dashboard.history.config.lr == 0.2 and dashboard.history.done and dashboard.claims)
    (line,) = dashboard.board._newest[0][1].marks
    assert line.y[0] == 0
    assert (line.y[1:-1] < 0).all()
    dashboard.lapse.slider.value = 3
    until(lambda: len(dashboard.board._newest[0][1].marks[0].y) == 4)  # at the step shown
    dashboard.unpin([0])
    assert titles(dashboard) == ["Norm"]


def test_what_compares_is_not_pinned_itself(dashboard):
    dashboard.pin()
    dashboard.unpin([0])
    dashboard.pin()
    assert [len(panel.marks) for panel in dashboard.board._newest[0]] == [2, 1]


def test_of_several_runs_the_one_pinned_last_is_compared(dashboard, until):
    dashboard.pin()
    dashboard.sliders.widget("lr").value = 0.2
    until(lambda: dashboard.history.config.lr == 0.2 and dashboard.history.done and dashboard.claims)
    dashboard.pin()
    assert titles(dashboard) == ["Norm", "Difference"]
    assert (dashboard.board._newest[0][1].marks[0].y == 0).all()  # with itself
    dashboard.unpin([1])
    assert (dashboard.board._newest[0][1].marks[0].y[1:-1] < 0).all()


def test_a_comparison_that_fails_is_said_and_the_rest_goes_on(dashboard, tiny):
    def broken(history, pinned):
        raise ZeroDivisionError("no barrier")

    dashboard.view.of.experiment = replace(tiny, compare=broken)
    dashboard.pin()
    assert "no barrier" in dashboard.monitor.status.text
    dashboard.unpin([0])
    assert titles(dashboard) == ["Norm"]
