"""What is trained beside the run of the settings shown: when it goes on, and when it does not."""

from dataclasses import replace

import numpy as np

from dyntoolkit.dashboard.runner import State


def finished(dashboard, what):
    done = dashboard.runner.progress.state is State.FINISHED
    return done and dashboard.monitor.status.text.startswith(f"Finished: {what}")


def shown(board):
    return board._newest[0]


def shown_map(dashboard):
    newest = dashboard.compare.map_board._newest if dashboard.compare._inside.children else None
    return newest and newest[0][0]


def test_a_map_and_a_spread_that_a_slider_breaks_off_go_on_after_the_run(open_dashboard, until):
    dashboard = open_dashboard(steps=1_000)
    dashboard.map_sliders("lr", "noise_std", "ratio")
    until(lambda: (panel := shown_map(dashboard)) and np.isfinite(panel.marks[0].z).any())
    dashboard.spread("lr", "2")
    dashboard.sliders.widget("steps").value = 100
    until(lambda: dashboard.claims)
    assert dashboard.history.config.steps == 100
    assert dashboard.beside.waiting == ["the spread of lr", "the map of ratio"]
    until(lambda: finished(dashboard, "the map of ratio"), 60)
    assert "runs finished" not in shown_map(dashboard).title
    assert shown(dashboard.compare.board)[0].marks[0].x[-1] == 1_000  # of the settings for which it was asked
    assert dashboard.config.steps == 100


def test_who_stops_wants_no_more_of_what_waits(open_dashboard, until):
    dashboard = open_dashboard(steps=50)
    dashboard.sliders.widget("steps").value = 1_000_000
    dashboard.spread("lr", "2")
    until(lambda: dashboard.monitor.status.text == "Training: seed 0. Then: the spread of lr.")
    dashboard.stop()
    dashboard.sliders.widget("steps").value = 50
    until(lambda: finished(dashboard, "seed 0"))
    assert dashboard.beside.waiting == []


def test_what_fails_is_said_and_not_tried_again(open_dashboard, tiny, until):
    def simulate(configs, seeds):
        if len(configs) > 1:
            raise ValueError("too many")
        return tiny.simulate(configs, seeds)

    dashboard = open_dashboard(replace(tiny, simulate=simulate), steps=50)
    dashboard.spread("lr", "2")
    until(lambda: "too many" in dashboard.monitor.status.text)
    dashboard.train()
    until(lambda: finished(dashboard, "seed 0"))
    assert dashboard.beside.waiting == []
