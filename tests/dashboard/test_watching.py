"""What is watched may be changed in the middle of a run: the run goes on, and no number of it changes."""

from dataclasses import replace

import numpy as np
import pytest

from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.runner import State
from dyntoolkit.engine.history import Frame, Live
from dyntoolkit.experiment import Experiment, Preset
from dyntoolkit.experiment.claims import Claim, above
from dyntoolkit.experiment.config import Config, number, switch
from dyntoolkit.figure.panels import BLUE, Axis, Panel, median_line

SLOW = 10**6


class Watched(Config):
    lr: float = number(0.5, 0.1, 1.0, main=True)
    steps: int = number(20, 10, SLOW, log=True, structural=True)
    watch_square: bool = switch(False, live=True, main=True)


def simulate(configs, seeds):
    """x <- (1 - lr / steps) x, and its square for as long as it is watched."""
    x, shrinks = 1 + np.array(seeds, dtype=float), np.array([1 - config.lr / config.steps for config in configs])
    watches = configs[0].watch_square
    for k in range(configs[0].steps + 1):
        values = {"x": x.copy()} | ({"square": x**2} if watches else {})
        heard = yield Frame(k, configs[0].steps, values, np.full(len(seeds), -1))
        watches = heard.values["watch_square"] if isinstance(heard, Live) else watches
        x = x * shrinks


def panels(history):
    names = ["x", *(["square"] if history.config.watch_square and "square" in history else [])]
    lines = {name: median_line(name, history.at(name), history[name], BLUE) for name in names}
    return [Panel(name, Axis("step"), Axis(name), [line]) for name, line in lines.items()]


WATCHED = Experiment(
    "tiny.watched",
    Watched,
    simulate,
    panels=panels,
    presets={"plain": Preset("x shrinks"), "seen": Preset("and its square", {"watch_square": True})},
    claims=(Claim(id="stays", statement="x stays above 0", metric="x", bound=above(0)),),
)


@pytest.fixture
def watched():
    """A dashboard whose run goes on until it is stopped."""
    dashboard = Dashboard(WATCHED, Watched(steps=SLOW))
    yield dashboard
    dashboard.close()
    dashboard.runner.join(60)


def runs(dashboard):
    return lambda: dashboard.history is not None and dashboard.runner.progress.state is State.RUNNING


def finished(dashboard):
    return lambda: dashboard.runner.progress.state is State.FINISHED and dashboard.history.done


def test_a_run_that_goes_on_is_told(watched, until):
    watched.train()
    until(runs(watched))
    history = watched.history
    watched.sliders.widget("watch_square").value = True
    until(lambda: "square" in history)
    assert history.config == watched.config == Watched(steps=SLOW, watch_square=True)
    assert watched.monitor.status.link == f"experiment=tiny.watched&preset=seen&steps={SLOW}"
    until(lambda: len(watched.board._newest[0]) == 2)
    watched.sliders.widget("watch_square").value = False
    until(lambda: not history.config.watch_square)
    until(lambda: len(watched.board._newest[0]) == 1)
    assert watched.history is history
    watched.stop()
    until(lambda: watched.runner.progress.state is State.STOPPED)
    assert 0 < len(history.at("square")) < len(history.at("x")) == history.step + 1


def test_a_paused_run_is_told_when_it_goes_on(watched, until):
    watched.train(step=True)
    until(lambda: watched.runner.progress.state is State.PAUSED)
    history = watched.history
    watched.sliders.widget("watch_square").value = True
    assert watched.runner.progress.state is State.PAUSED
    watched.step()
    until(lambda: "square" in history)
    assert history.at("square").tolist() == [1]
    assert watched.history is history


def test_no_number_of_the_run_changes(until):
    plain = WATCHED.run(Watched(steps=1000))
    _, frames = WATCHED.start([Watched(steps=1000)], [0])
    seen = [next(frames), *(frames.send(Live({"watch_square": k % 3 == 0})) for k in range(1000))]
    assert [frame.values["x"][0] for frame in seen] == plain["x"][:, 0].tolist()


def test_where_no_run_goes_on_it_trains_anew(watched, until):
    watched.sliders.set(Watched())
    until(finished(watched))
    first = watched.history
    watched.sliders.widget("watch_square").value = True
    until(lambda: watched.history is not first and finished(watched)())
    assert len(watched.history.at("square")) == 21
    assert (watched.history["x"] == first["x"]).all()


@pytest.mark.parametrize("field", ["lr", "steps", "seed"])
def test_with_anything_else_it_trains_anew(watched, until, field):
    watched.train()
    until(runs(watched))
    history = watched.history
    if field == "seed":
        with watched.board.hold_trait_notifications():
            watched._quiet = True
            watched.seed.value = 3
            watched._quiet = False
        watched.sliders.widget("watch_square").value = True
    else:
        watched.sliders.set(watched.config.replace(**{field: 1.0 if field == "lr" else SLOW - 1}, watch_square=True))
    until(lambda: watched.history is not history)
    assert watched.history.config.watch_square
    assert watched.history.at("square")[0] == 0


def test_what_comes_too_late_for_a_run_trains_it_anew(until):
    """After the last frame has been asked for, nothing can be told any more."""
    late = []

    def simulate_and_move(configs, seeds):
        yield from simulate(configs, seeds)
        if not late:
            late.append(dashboard)
            dashboard.sliders.widget("watch_square").value = True

    dashboard = Dashboard(replace(WATCHED, simulate=simulate_and_move))
    dashboard.train()
    until(lambda: finished(dashboard)() and dashboard.history.config.watch_square and dashboard.claims)
    assert len(dashboard.history.at("square")) == 21
    dashboard.close()
    dashboard.runner.join(60)


def test_while_the_controls_train_it_trains_anew(watched, until):
    watched.train_controls()
    until(runs(watched))
    history = watched.history
    watched.sliders.widget("watch_square").value = True
    until(lambda: watched.history is not history)


def test_a_preset_that_differs_in_what_is_watched_is_marked(watched, until):
    watched.sliders.set(Watched())
    until(finished(watched))
    watched.presets.buttons["seen"].click()
    until(lambda: finished(watched)() and "square" in watched.history)
    assert "dyn-active" in watched.presets.buttons["seen"]._dom_classes
