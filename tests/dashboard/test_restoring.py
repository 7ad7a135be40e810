"""A link that compares: pinned runs, a spread and a map are trained again, after the reader's own run."""

import pytest

from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.linked import linked
from dyntoolkit.dashboard.runner import State

PINS = [("compare.pin", "lr:0.1"), ("compare.pin", "lr:0.001,seed:2,n_seeds:2"), ("step", "55")]


@pytest.fixture
def follow(tiny):
    opened = []

    def make(pairs):
        dashboard = Dashboard(tiny)
        opened.append(dashboard)
        dashboard.follow(linked(tiny, pairs))
        dashboard.train()
        return dashboard

    yield make
    for dashboard in opened:
        dashboard.close()
        dashboard.runner.join(60)


def is_done(dashboard, what):
    done = dashboard.runner.progress.state is State.FINISHED
    return done and dashboard.monitor.status.text.startswith(f"Finished: {what}")


def test_sliders_seeds_pins_and_the_moment_are_there_again(follow, tiny, until):
    dashboard = follow([("lr", "0.2"), ("seed", "4"), *PINS])
    until(lambda: is_done(dashboard, "pinned run 2 of 2"))
    assert (dashboard.sliders.values()["lr"], dashboard.seed.value) == (0.2, 4)
    assert dashboard.history.config == tiny.configure(lr=0.2)
    assert [pin.history.config.lr for pin in dashboard.pins] == [0.1, 0.001]
    assert [pin.history.seeds for pin in dashboard.pins] == [(0,), (2, 3)]
    assert [verdict.id for verdict in dashboard.pins[0].verdicts] == ["shrinks", "stays"]
    assert [pin.label for pin in dashboard.pins] == ["", "with tiny steps"]  # a control is known by its settings
    assert dashboard.lapse.step == 50
    assert dashboard.share.query.startswith("experiment=tiny.one&lr=0.2&seed=4&compare.pin=lr:0.1&compare.pin=")


def test_a_spread_and_a_map_follow_the_pinned_runs(follow, until):
    dashboard = follow([PINS[0], ("compare.spread", "lr:0.1,0.2"), ("compare.map", "lr:noise_std:ratio")])
    until(lambda: is_done(dashboard, "the map of ratio"))
    assert len(dashboard.pins) == 1
    assert dashboard.compared()["spread"] == {"field": "lr", "values": [0.1, 0.2]}
    assert dashboard.compare.board.layout.display == "block"
    assert dashboard.compare.map_board.layout.display == "block"


def test_a_map_of_what_no_run_has_is_said(follow, until):
    dashboard = follow([("compare.map", "lr:noise_std:gone")])
    until(lambda: dashboard.monitor.status.error)
    assert dashboard.monitor.status.text.startswith("unknown quantity of the link's map 'gone'.")


def test_a_reader_goes_first_and_the_pinned_runs_are_trained_after(follow, until):
    dashboard = follow([("compare.pin", "steps:1000000"), PINS[0]])
    until(lambda: dashboard.monitor.status.text.startswith("Training: pinned run 1 of 2"))
    dashboard.sliders.widget("lr").value = 0.2
    until(lambda: dashboard.claims)
    assert dashboard.history.config.lr == 0.2
    assert dashboard.pins == ()
    until(lambda: dashboard.monitor.status.text.startswith("Training: pinned run 1 of 2"))
    dashboard.stop()
    until(lambda: dashboard.runner.progress.state is State.STOPPED)
    dashboard.train()
    until(lambda: is_done(dashboard, "seed 0"))
    assert dashboard.pins == ()  # who stops wants no more of them


def test_a_pinned_run_that_fails_is_said_and_not_tried_again(follow, tiny, until, monkeypatch):
    simulate = tiny.simulate

    def failing(configs, seeds):
        if configs[0].lr == 0.1:
            raise ValueError("no such run")
        return simulate(configs, seeds)

    monkeypatch.setitem(vars(tiny), "simulate", failing)
    dashboard = follow(PINS)
    until(lambda: dashboard.monitor.status.error)
    assert "no such run" in dashboard.monitor.status.text
    dashboard.sliders.widget("noise_std").value = 0.1
    until(lambda: is_done(dashboard, "pinned run 2 of 2"))
    assert [pin.history.config.lr for pin in dashboard.pins] == [0.001]
