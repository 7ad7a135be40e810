import pytest
from small_network import ALL, EVERYTHING, Config, Small, frames

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.training import to_the_end
from dyntoolkit.figure.panels import Level
from dyntoolkit.figure.plotly_figure import panel_to_dict
from dyntoolkit.laboratory.panels import accuracy_panel, loss_panel, probe_panel, watched


@pytest.fixture(params=[(0,), (0, 1)], ids=["one run", "two runs"])
def history(request):
    configs = [Config(optimizer="sgd", steps=20, **EVERYTHING)] * len(request.param)
    return to_the_end(History("small", configs, request.param), frames(configs, request.param))


def test_a_panel_for_each_that_is_on(history):
    probes = watched(history, ALL)
    assert probes == list(ALL)
    for probe in probes:
        panel = probe_panel(probe, history, Small(True))
        marks = [mark for mark in panel.marks if not isinstance(mark, Level)]
        assert len(marks) == (len(probe.lines(Small(True))) if probe.lines else 1)
        assert panel_to_dict(panel)["data"]


def test_the_limit_is_drawn_where_there_is_one(history):
    (sharpness,) = [probe for probe in ALL if probe.name == "sharpness"]
    (level,) = [mark for mark in probe_panel(sharpness, history, Small(True)).marks if isinstance(mark, Level)]
    assert level.y == 200.0


def test_before_anything_is_measured():
    empty = History("small", [Config(watch_sharpness=True)], (0,))
    assert [probe.name for probe in watched(empty, ALL)] == ["sharpness"]
    for panel in (loss_panel(empty), accuracy_panel(empty), *(probe_panel(p, empty, Small(True)) for p in ALL)):
        assert panel_to_dict(panel)["data"]
