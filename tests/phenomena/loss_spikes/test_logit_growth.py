"""Attention of the tiny transformer: measurements against their definitions, metrics, claims, figures."""

import math

import numpy as np
import pytest

from dyntoolkit.engine.history import Frame
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Plan, to_the_end
from dyntoolkit.phenomena.loss_spikes.logit_growth import EXPERIMENT, Config

CLAIMS = EXPERIMENT.claims
SHORT = Config(steps=50, width=16, batch_size=4)


def begun(configs, seeds, frames):
    """The history of the first measured frames."""
    history, coming = EXPERIMENT.start(configs, seeds)
    for frame in coming:
        history.append(frame)
        if "loss" in history and len(history.at("loss")) == frames:
            return history
    raise AssertionError("too few frames")


def test_it_starts_with_attention_that_is_almost_even():
    history = begun([Config()], [1], 1)
    even = np.mean([math.log(i + 1) for i in range(1, 32)])
    np.testing.assert_allclose(history["entropy"][0], even, rtol=1e-3)
    assert history["loss"][0, 0] == pytest.approx(math.log(24), rel=0.02)


@pytest.mark.parametrize("lr", [0.001, 0.3])
@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize(("width", "batch_size", "weight_decay"), [(16, 32, 0.0), (64, 4, 0.3)])
def test_the_corners_of_the_settings_run(lr, qk_norm, width, batch_size, weight_decay):
    config = Config(lr, 50, qk_norm, batch_size, width, weight_decay)
    history = begun([config], [0], 2)
    assert all(np.isfinite(history[name]).all() for name in history.names())
    assert [len(panel.marks) for panel in EXPERIMENT.panels(history)] == [3, 4, 2, 1]


def test_a_width_without_two_even_heads_is_refused_by_name():
    with pytest.raises(InputError, match="width takes a multiple of 4"):
        Config(width=18)


def test_the_last_frame_is_that_of_the_last_step_and_metrics_skip_the_start():
    history = EXPERIMENT.run(SHORT.replace(steps=54), seeds=(0, 1))
    assert history.at("loss").tolist() == [0, 10, 20, 30, 40, 50, 54]
    metrics = EXPERIMENT.metrics(history)
    np.testing.assert_allclose(metrics["entropy_min"], history["entropy"][1:].min((0, 2)))
    np.testing.assert_allclose(metrics["logit_max"], history["logit_max"][1:].max((0, 2)))
    np.testing.assert_allclose(metrics["logit_excess"], metrics["logit_max"] - math.sqrt(8), rtol=1e-6)
    assert all(len(value) == 2 for value in EXPERIMENT.metrics(begun([SHORT] * 2, [0, 1], 1)).values())


def test_attention_counts_from_step_ten_on():
    history, _ = EXPERIMENT.start([SHORT], [0])
    for step, score, entropy in ((0, 90.0, 0.1), (10, 7.0, 2.0), (50, 8.0, 1.5)):
        values = {"logit_max": np.array([[1.0, score]]), "entropy": np.array([[entropy, 2.5]])}
        values |= {"loss": np.ones(1), "validation": np.ones(1)}
        history.append(Frame(step, 50, values, np.array([-1])))
    metrics = EXPERIMENT.metrics(history)
    assert (metrics["logit_max"][0], metrics["entropy_min"][0]) == (8, 1.5)


@pytest.mark.claims
def test_the_claims_hold_in_a_default_run_and_their_controls_are_confirmed():
    config, plan = Config(), Plan(EXPERIMENT, Config(), (0,))
    histories = [EXPERIMENT.run(), *(to_the_end(*stage()) for stage in plan.stages)]
    verdicts = plan.verdicts(histories)
    assert len(verdicts) == len(CLAIMS)
    for verdict in verdicts:
        assert verdict.expected
        assert verdict.passed, verdict
        assert all(all(control.confirmed) for control in verdict.controls), verdict
    rows = plan.rows(histories)
    scores, entropies, losses = EXPERIMENT.sweep_panels(rows)
    for panel in (scores, entropies, losses):
        np.testing.assert_allclose(panel.marks[0].x, [0.003, 0.01, 0.03, 0.1, 0.3])
        np.testing.assert_allclose(panel.marks[1].x, [0.003, 0.01, 0.03, 0.1, 0.3])
    assert scores.marks[0].y[3] == rows[config, 0]["logit_max"]
    assert (scores.marks[1].y <= scores.marks[2].y).all()


def test_qk_norm_is_not_granted_with_a_collapsed_entropy():
    (claim,) = (claim for claim in CLAIMS if claim.id == "qk_norm_bounds")
    rows = [{"logit_excess": np.array([-0.1, -0.1]), "entropy_min": np.array([1.5, 0.5])}]
    assert claim.bound.holds(claim.sweep.value(rows)).tolist() == [True, False]
