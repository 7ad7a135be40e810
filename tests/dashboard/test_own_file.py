"""The dashboard on a reader's own file of data."""

from dataclasses import replace

import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances

from dyntoolkit.dashboard import live
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.runner import State
from dyntoolkit.engine.history import Frame
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment, Preset
from dyntoolkit.experiment.config import Config, choice, number

MISSING = "Choose the file again: it does not travel in a link."


class Settings(Config):
    data: str = choice("ones", ["ones", "twos", "file"], main=True)
    lr: float = number(0.5, 0.1, 1.0, main=True)
    steps: int = number(10, 5, 1_000_000, log=True, structural=True)


def simulate(configs, seeds, values=None):
    """The mean of the data, shrinking."""
    if configs[0].data == "file" and values is None:
        raise InputError(MISSING, "data")
    start = {"ones": 1.0, "twos": 2.0}.get(configs[0].data) or values[configs[0].target]
    lr = np.array([config.lr for config in configs])
    for k in range(configs[0].steps + 1):
        yield Frame(k, configs[0].steps, {"mean": start * (1 - lr) ** k}, np.full(len(seeds), -1))


def on_file(name, content):
    """Lines of `column,value`."""
    if not content:
        raise InputError(f"{name} is empty.", "file")
    values = {column: float(value) for column, value in (line.split(",") for line in content.decode().split())}

    class OnFile(Settings):
        data: str = choice("file", ["file"])
        target: str = choice(next(iter(values)), list(values), main=True)

    return replace(
        MEANS,
        config=OnFile,
        presets={"file": Preset(f"the mean of {name}", {"steps": 8})},
        simulate=lambda configs, seeds: simulate(configs, seeds, values),
    )


MEANS = Experiment(
    "tiny.means",
    Settings,
    simulate,
    file=on_file,
    presets={"ones": Preset("one"), "quick": Preset("fast", {"lr": 0.9})},
)


@pytest.fixture
def dashboard():
    dashboard = Dashboard(MEANS)
    yield dashboard
    dashboard.close()
    dashboard.runner.join(60)


def trained(dashboard):
    """Between two experiments there is no history."""
    return lambda: dashboard.runner.progress.state is State.FINISHED and dashboard.history and dashboard.history.done


def test_the_row_stands_above_the_settings_of_an_experiment_that_takes_files(dashboard):
    dashboard.build()
    assert dashboard._settings.children[0] is dashboard.file_row
    without = Dashboard(replace(MEANS, file=None))
    without.build()
    assert without.file_row is None
    assert without._settings.children[0] is without.sliders.main
    without.close()


def test_a_file_makes_it_the_dashboard_of_that_file_in_place(dashboard, until):
    dashboard.train()
    until(trained(dashboard))
    first, board, row, box = dashboard.history, dashboard.board, dashboard.file_row, dashboard.box
    dashboard.sliders.widget("data").value = "twos"
    dashboard.sliders.widget("lr").value = 0.3
    elsewhere = dashboard.elsewhere(lambda: dashboard.sliders.widget("lr"))
    dashboard.pin()
    dashboard.use_file("prices.csv", b"price,5\nrooms,3")
    until(lambda: dashboard.history is not first and trained(dashboard)())
    assert dashboard.history.config.asdict() == {"data": "file", "lr": 0.3, "steps": 8, "target": "price"}
    assert dashboard.history["mean"][0] == 5
    assert (dashboard.board, dashboard.file_row, dashboard.box) == (board, row, box)
    assert row.file == "prices.csv"
    assert dashboard._settings.children[:2] == (row, dashboard.sliders.main)
    assert elsewhere.children == (dashboard.sliders.widget("lr"),)
    assert list(dashboard.presets.buttons) == ["file"]
    assert len(dashboard.pins) == 1
    own, kept = dashboard.board._newest[0][0].marks  # its panel fits
    assert kept.y[0] == 1
    assert own.y[0] == 5
    dashboard.sliders.widget("target").value = "rooms"
    until(lambda: trained(dashboard)() and dashboard.history["mean"][0] == 3)


def test_a_second_file_takes_its_place(dashboard, until):
    dashboard.use_file("a.csv", b"a,5\nb,3")
    dashboard.sliders.widget("target").value = "b"
    dashboard.use_file("b.csv", b"c,7\nd,8")
    until(lambda: trained(dashboard)() and dashboard.history["mean"][0] == 7)
    assert dashboard.history.config.target == "c"
    assert dashboard.file_row.file == "b.csv"


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "a.csv is empty."), (b"price,dear", "ValueError: could not convert string to float")]
)
def test_a_wrong_file_is_said_until_the_next_run_and_nothing_is_lost(dashboard, until, content, words):
    dashboard.sliders.widget("steps").value = 1_000_000
    until(lambda: dashboard.history is not None and dashboard.history.step > 100)
    history = dashboard.history
    dashboard.use_file("a.csv", content)
    step = history.step
    until(lambda: history.step > step + 100)
    assert dashboard.monitor.status.text.startswith(words)
    assert dashboard.monitor.status.error
    assert dashboard.experiment is MEANS
    assert dashboard.file_row.file == ""
    dashboard.stop()
    until(lambda: dashboard.runner.progress.state is State.STOPPED)
    assert dashboard.monitor.status.text.startswith(words)
    dashboard.sliders.widget("steps").value = 10
    until(trained(dashboard))
    assert dashboard.monitor.status.text.startswith("Finished")


def test_a_file_that_is_too_large_or_makes_no_experiment_is_said(dashboard):
    dashboard.use_file("large.csv", bytes(51_000_000))
    assert dashboard.monitor.status.text == "large.csv has 51.0 MB: a file of data may have 50 MB at most."
    dashboard.original = replace(MEANS, file=lambda name, content: None)
    dashboard.use_file("a.csv", b"a,1")
    assert dashboard.monitor.status.text == "file of tiny.means must return an Experiment; it returned NoneType."


def test_a_link_is_for_the_experiment_without_the_file(dashboard, until):
    dashboard.use_file("a.csv", b"a,5")
    dashboard.sliders.widget("lr").value = 0.9
    until(trained(dashboard))
    assert dashboard.monitor.status.link == "experiment=tiny.means&preset=quick&data=file&steps=8"
    assert dashboard.share.note.startswith("a.csv does not travel in a link: who opens it chooses the file again.")
    assert "dt.find(MEANS).with_file('a.csv', " in dashboard.share.python
    assert dashboard.share.command.endswith(":MEANS --file a.csv --set lr=0.9")
    assert live.newest("tiny.means") is None


def test_of_a_link_to_a_file_the_sliders_are_kept_until_it_is_chosen(until):
    dashboard = Dashboard(MEANS, MEANS.configure("quick", data="file", steps=20), seed=4)
    dashboard.train()
    until(lambda: dashboard.monitor.status.error)
    assert dashboard.monitor.status.text == MISSING
    dashboard.use_file("a.csv", b"a,5")
    until(trained(dashboard))
    assert dashboard.history.config.asdict() == {"data": "file", "lr": 0.9, "steps": 20, "target": "a"}
    assert dashboard.history.seeds == (4,)
    assert not dashboard.monitor.status.error
    dashboard.close()
    dashboard.runner.join(60)


def test_a_preset_of_another_experiment_is_said(dashboard):
    dashboard.use_file("a.csv", b"a,5")
    dashboard.apply("quick")
    assert "unknown preset 'quick'" in dashboard.monitor.status.text


def test_claims_come_and_go_with_the_experiment(tiny, until):
    before = set(_instances)
    dashboard = Dashboard(replace(tiny, file=lambda name, content: replace(tiny, claims=())))
    dashboard.train()
    until(lambda: trained(dashboard)() and dashboard.claims)
    assert dashboard._grid.children[-1] is dashboard._claims_box
    dashboard.use_file("a.csv", b"1")
    assert dashboard._grid.children == (dashboard._view_box, dashboard._settings)
    until(lambda: trained(dashboard)() and not dashboard.claims)
    dashboard.close()
    dashboard.runner.join(60)
    assert set(_instances) == before


def test_once_it_is_closed_no_file_is_taken():
    dashboard = Dashboard(MEANS)
    dashboard.build()
    dashboard.close()
    dashboard.use_file("a.csv", b"a,5")
    assert dashboard.experiment is MEANS


def test_once_it_has_ended_no_file_can_be_chosen(dashboard):
    dashboard.build()
    dashboard.retire()
    assert dashboard.file_row.disabled
