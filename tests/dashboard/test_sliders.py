"""The panel of sliders: exact values, one change per preset, and the right kind of widget."""

import itertools
import math

import ipywidgets as widgets
import pytest

from dyntoolkit.dashboard.sliders import SliderPanel, _stops
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.config import Config, Slider, number, switch


@pytest.fixture
def panel(tiny):
    return SliderPanel(tiny.configure())


def test_each_kind_of_field_has_its_kind_of_widget(panel):
    kinds = {
        "lr": widgets.SelectionSlider,
        "init_scale": widgets.SelectionSlider,
        "steps": widgets.SelectionSlider,
        "dim": widgets.IntSlider,
        "select": widgets.SelectionSlider,
        "flip": widgets.Checkbox,
        "kind": widgets.Dropdown,
    }
    for name, kind in kinds.items():
        assert type(panel.widget(name)) is kind, name


def test_main_fields_are_in_sight_and_the_others_folded_away(panel):
    assert list(panel.main.children) == [panel.widget(name) for name in ("lr", "init_scale", "noise_std")]
    button, box = panel.more.children
    assert panel.widget("steps") in box.children
    assert (box.layout.display, button.description) == ("none", "▸ More settings")
    button.click()
    assert (box.layout.display, button.description) == ("flex", "▾ More settings")
    button.click()
    assert box.layout.display == "none"


def test_what_is_watched_has_a_fold_of_its_own():
    class Watched(Config):
        """Two switches and a number."""

        lr: float = number(0.1, 0.01, 1.0, main=True)
        flip: bool = switch(False)
        watch: bool = switch(False, live=True)

    panel = SliderPanel(Watched())
    (measurements, watched), (more, others) = panel.main.children[-1].children, panel.more.children
    assert (measurements.description, more.description) == ("▸ Measurements", "▸ More settings")
    assert watched.children == (panel.widget("watch"),)
    assert others.children == (panel.widget("flip"),)


def test_labels_help_and_classes(panel):
    lr = panel.widget("lr")
    assert lr.description == "Learning rate"
    assert lr.tooltip == "step size"
    assert "dyn-field-lr" in lr._dom_classes


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0.05},
        {"lr": 0.001},
        {"lr": 4},
        {"lr": 0.0123456, "init_scale": 0.123456789},
        {"lr": 0.1 + 0.2},
        {"steps": 4321, "dim": 7, "select": 1234, "flip": True, "kind": "sam"},
        {"steps": 1_000_000, "select": 2000},
    ],
)
def test_a_set_value_survives_exactly(tiny, panel, changes):
    config = tiny.configure(**changes)
    panel.set(config)
    assert tiny.config(**panel.values()) == config


def test_moving_one_widget_leaves_the_others_exact(tiny, panel):
    config = tiny.configure(lr=0.0123456)
    panel.set(config)
    panel.widget("init_scale").value = 0.5
    assert tiny.config(**panel.values()) == config.replace(init_scale=0.5)


def test_every_stop_is_what_its_label_says_and_is_accepted(tiny, panel):
    for name, slider in tiny.config.sliders().items():
        widget = panel.widget(name)
        if isinstance(widget, widgets.SelectionSlider):
            assert (widget.options[0][1], widget.options[-1][1]) == (slider.low, slider.high)
            assert 40 < len(widget.options) <= 252
            for label, value in widget.options:
                assert float(label) == value
                assert getattr(tiny.configure(**{name: value}), name) == value
        elif isinstance(widget, widgets.IntSlider):
            assert (widget.min, widget.max) == (slider.low, slider.high)


def test_stops_of_a_logarithmic_slider_are_spaced_by_a_like_ratio(panel):
    values = [value for _, value in panel.widget("lr").options]
    ratios = [math.log(b / a) for a, b in itertools.pairwise(values)]
    assert max(ratios) < 3 * math.log(4 / 0.001) / 100


def test_zero_is_a_stop_where_it_is_allowed(panel):
    assert [value for _, value in panel.widget("select").options][:3] == [0, 1, 2]


def test_whole_numbers_are_whole(panel):
    assert all(isinstance(value, int) for name in ("steps", "select") for _, value in panel.widget(name).options)


def test_set_is_one_change(tiny, panel):
    calls = []
    panel.on_change(lambda: calls.append(panel.values()))
    config = tiny.configure("slow", steps=500, kind="sam")
    assert panel.set(config)
    assert calls == [config.asdict()]
    assert not panel.set(config)
    assert len(calls) == 1


def test_moving_a_widget_is_a_change(panel):
    calls = []
    panel.on_change(lambda: calls.append(1))
    panel.widget("lr").index += 1
    panel.widget("flip").value = True
    assert len(calls) == 2


def test_a_rule_between_fields_is_left_to_the_config(tiny, panel):
    panel.widget("kind").value = "sam"
    panel.widget("noise_std").value = 0.9
    with pytest.raises(InputError, match="at most"):
        tiny.config(**panel.values())


def test_a_memory_has_its_stops_close_to_one():
    slider = Slider("beta2", "memory", 0.5, 0.9999, near_one=True)
    stops = _stops(slider, 0.999)
    assert (stops[0], stops[-1]) == (0.5, 0.9999)
    assert stops == sorted(stops)
    assert sum(stop > 0.99 for stop in stops) > 30


def test_a_logarithmic_slider_from_0_has_0_and_six_decades():
    stops = _stops(Slider("decay", low=0.0, high=0.1, log=True), 0.01)
    assert stops[:2] == [0.0, 1e-7]
    assert stops[-1] == 0.1
    assert stops == sorted(stops)
    assert sum(stop < 1e-4 for stop in stops) == pytest.approx(len(stops) / 2, abs=2)


def test_a_slider_that_doubles_has_its_values_as_stops():
    assert _stops(Slider("batch", low=2, high=32, log=True, doubling=True), 8) == [2, 4, 8, 16, 32]
