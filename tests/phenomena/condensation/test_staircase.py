"""Plateaus of known curves, targets, claims in a real run."""

import numpy as np
import pytest

from dyntoolkit.phenomena.condensation import staircase
from dyntoolkit.phenomena.condensation.staircase import EXPERIMENT, Config, plateaus

STEPS = np.arange(0, 10_001, 5)


def test_a_flat_stretch_is_a_plateau_and_a_power_law_is_none():
    rest = np.where(STEPS < 1000, 0.2, 0.2 * (np.maximum(STEPS, 1) / 1000.0) ** -2)
    (found,) = plateaus(STEPS, rest, np.array([10, 500]), np.array([7.0, 1.1]))
    assert found.level == pytest.approx(0.2)
    assert 5 <= found.start < 8
    assert 800 < found.end < 1300
    assert found.n_eff == 1.1
    assert plateaus(STEPS, 1 / np.maximum(STEPS, 1), np.array([10]), np.array([1.0])) == []


def test_two_levels_are_two_plateaus_and_a_short_rest_is_none():
    logs = np.interp(np.log10(np.maximum(STEPS, 1)), [0, 1.5, 2, 3, 3.2, 3.4, 4], [0, 0, -1, -1, -2, -2, -4])
    levels = [plateau.level for plateau in plateaus(STEPS, 10**logs, np.array([1]), np.array([1.0]))]
    assert levels == pytest.approx([1.0, 0.1])


@pytest.mark.parametrize(
    ("target", "mean", "affine"),
    [("relu3", 0.410, 0.142), ("relu_zig", None, 0.0759), ("tanh_bump", None, 0.756), ("tanh_mix", None, 0.289)],
)
def test_targets_have_the_levels_of_the_recipe(target, mean, affine):
    x, y = staircase.load_data(Config(target=target))
    assert staircase.affine_loss(x, y) == pytest.approx(affine, rel=5e-3)
    assert mean is None or float(y.square().mean()) == pytest.approx(mean, rel=5e-3)


def test_directions_are_measured_at_the_steps_of_the_recipe():
    steps = sorted(staircase.snapshot_steps(12000))
    assert steps[:4] == [0, 4, 5, 6]
    assert steps[-2:] == [10000, 12000]


def test_the_claims_of_one_run_hold_and_the_figure_shows_them():
    history = EXPERIMENT.run(seeds=(771,))
    metrics = EXPERIMENT.metrics(history)
    for claim in EXPERIMENT.claims[:1]:
        assert claim.where(history.config)
        assert claim.bound.holds(metrics[claim.metric])[0]
    loss, count, neurons, function = EXPERIMENT.panels(history)
    assert np.isfinite(loss.marks[1].y).any()
    assert count.marks[0].y[-1] == metrics["n_eff"][0]
    assert len(neurons.marks[0].x) == 100
    assert np.abs(function.marks[0].y - function.marks[1].y).max() < 0.2
