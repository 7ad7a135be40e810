"""The dashboard of `dt.own`: a class that is edited and run again, and what is switched on meanwhile."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from torch import nn

import dyntoolkit as dt
from dyntoolkit.dashboard import headless, live
from dyntoolkit.dashboard.dashboard import Dashboard

X = np.random.default_rng(0).normal(size=(40, 2))
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def executions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often the cell was executed; somebody looks at it. All dashboards are closed afterwards."""
    count = [0]
    monkeypatch.setenv("DYNTOOLKIT_HEADLESS", "0")
    monkeypatch.setattr(live, "_live", [])
    monkeypatch.setattr(headless, "cell", lambda: "cell")
    monkeypatch.setattr(headless, "execution", lambda: f"m{count[0]}")
    monkeypatch.setattr(sys.modules["dyntoolkit.dashboard.dashboard"], "display", lambda box: None)
    yield count
    for entry in list(live._live):
        entry.dashboard.close()
        entry.dashboard.runner.join(60)


def is_trained(view: Dashboard, **settings) -> bool:
    """Whether the run of these settings is at its end."""
    history = view.history
    return history is not None and history.done and settings.items() <= history.config.asdict().items()


def explored(activation: type[nn.Module], **more) -> Dashboard:
    """A cell with a class and `explore` in it."""

    class Net(nn.Module):
        def __init__(self, width=8):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(2, width), activation(), nn.Linear(width, 2))

        def forward(self, x):
            return self.layers(x)

    view = dt.explore(dt.own(Net, (X, Y), sliders={"width": (2, 64)}, **more), steps=50)
    assert isinstance(view, Dashboard)
    return view


def test_a_class_that_is_edited_and_run_again_keeps_moved_sliders(executions, until):
    old = explored(nn.Tanh)
    until(lambda: is_trained(old, width=8))
    old.sliders.widget("width").value = 32
    until(lambda: is_trained(old, width=32))
    executions[0] += 1
    new = explored(nn.ReLU, probes=["distance"])
    assert old.runner.closed
    until(lambda: is_trained(new, width=32))
    assert "distance" in new.history
    assert new.history["theta"].shape == old.history["theta"].shape
    assert not np.array_equal(new.history["loss"], old.history["loss"])


def test_what_fails_at_some_sizes_is_said_and_the_dashboard_goes_on(until):
    def network(parts=2):
        return nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (parts, 4 // parts)), nn.Flatten(), nn.Linear(4, 2))

    view = dt.explore(dt.own(network, (X, Y)), steps=50)
    until(lambda: is_trained(view, parts=2))
    view.sliders.widget("parts").value = 3
    until(lambda: "module: Sequential fails on samples" in view.monitor.status.text)
    view.sliders.widget("parts").value = 4
    until(lambda: is_trained(view, parts=4))
    assert np.isfinite(view.history["loss"]).all()
