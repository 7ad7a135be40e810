import numpy as np
import pytest

from dyntoolkit.figure.panels import Level, Line
from dyntoolkit.phenomena.label_noise.linear import EXPERIMENT

SHORT = {"steps": 500, "width": 16, "dim": 4, "n_train": 40}


def marks(preset, seeds=(0,), **changes):
    """(panel number, mark name) -> mark, of a finished short run."""
    history = EXPERIMENT.run(EXPERIMENT.configure(preset, **SHORT, **changes), seeds)
    return {(p, mark.name): mark for p, panel in enumerate(EXPERIMENT.panels(history)) for mark in panel.marks}, history


def test_the_flow_is_drawn_dashed_over_the_measured_norm_and_alignment():
    found, history = marks("two_phase")
    for panel, name, values in ((0, "flow", "flow_w2"), (1, "flow: alignment", "flow_align")):
        assert found[panel, name].dash
        np.testing.assert_array_equal(found[panel, name].y, history[values][:, 0])
    np.testing.assert_array_equal(found[0, "measured"].y, history["w2"][:, 0])
    assert found[0, "end of the flow: √d ‖β*‖/s"].y == pytest.approx(history.config.end_norm)


def test_without_noise_the_noise_free_theory_is_drawn_and_met():
    found, history = marks("small_init_rich")
    assert not any("flow" in name for _, name in found)
    found, history = marks("lazy_control")
    assert history["w2"][-1, 0] == pytest.approx(found[0, "noise-free theory"].y, rel=0.2)  # one draw of W
    assert history["align"][-1, 0] == pytest.approx(found[1, "alignment without noise"].y, abs=0.1)


def test_the_law_of_kicks_starts_at_the_measured_norm_and_falls():
    found, history = marks("kick")
    law = next(mark for (_, name), mark in found.items() if name.startswith("law of kicks"))
    row = np.flatnonzero(history.at("w2") == law.x[0])[0]
    assert law.x[0] >= 125
    assert law.y[0] == history["w2"][row, 0]
    assert (np.diff(law.y) < 0).all()


def test_periods_with_noise_are_marked():
    found, _ = marks("on_off", noise_period=100)
    bar = found[0, "noise is on"]
    on = bar.x[~np.isnan(bar.y)]
    assert set(on // 100) == {0, 2, 4}
    assert (0, "noise is on") not in marks("two_phase")[0]


def test_one_run_shows_neurons_and_several_show_bands():
    one, _ = marks("two_phase")
    history = EXPERIMENT.run(EXPERIMENT.configure("two_phase", **SHORT))
    neurons = EXPERIMENT.panels(history)[2].marks
    assert len(neurons) == 16
    assert sum(mark.legend for mark in neurons) == 2
    several, history = marks("two_phase", seeds=(0, 1, 2))
    band = several[2, "rms a<sub>j</sub>"]
    np.testing.assert_allclose(band.high, np.sqrt(history["a2"] / 16).max(1))
    assert not any(isinstance(mark, Line) and mark.low is None for mark in several.values())
    assert {key for key, mark in one.items() if isinstance(mark, Level)} == {
        key for key, mark in several.items() if isinstance(mark, Level)
    }
