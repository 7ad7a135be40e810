"""Annealing: schedules against plain SGD, the scaling law against its recursion, what is fitted and predicted."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.loop import evenly
from dyntoolkit.phenomena.schedules import _annealing_law as law
from dyntoolkit.phenomena.schedules import annealing
from dyntoolkit.phenomena.schedules._regression import Samples, initial_errors, problem
from dyntoolkit.phenomena.schedules.annealing import EXPERIMENT, NAMES, Config

TINY = Config(steps=1000, n_features=100, batch=4, replicas=2)


@pytest.fixture(scope="module")
def history():
    return run_together(EXPERIMENT, [TINY, TINY.replace(source=1.0, lr=0.1)], [7, 8])


def test_schedules_are_those_of_the_recipe():
    found = annealing.schedules(1000)
    ends = {"constant": 1, "cosine": 0.1, "wsd": 0.1, "two_step": 0.3, "linear": 0.1, "wsd_50": 0.1}
    for name, rates in found.items():
        assert rates[0] == 1
        assert rates[-1] == pytest.approx(ends[name], abs=0.006)
    assert found["wsd"][[800, 900]] == pytest.approx([1, 0.55])
    assert found["wsd_50"][[500, 750]] == pytest.approx([1, 0.55])
    assert found["two_step"][[499, 500]].tolist() == [1, 0.3]


def test_a_loss_is_the_mean_of_plain_sgd_over_the_replicas_and_updates_of_a_frame(history):
    x, noise = (part[:, 0].double() for part in Samples([TINY], [7]).draw(1000, 2, 4))  # (1000, 2, 4, M)
    factors, variances = annealing.schedules(1000), torch.from_numpy(problem([TINY]).variances[0])
    for s in (0, 3):
        risks = np.zeros((2, 1000))
        for g in range(2):
            v = initial_errors([TINY], [7])[0].double()
            for k in range(1000):
                v = v - TINY.lr * factors[NAMES[s]][k] / 4 * x[k, g].T @ (x[k, g] @ v - noise[k, g])
                risks[g, k] = (variances * v**2).sum()
        expected = risks.mean(0).reshape(100, 10).mean(1)
        np.testing.assert_allclose(history["loss"][:, 0, s], expected, rtol=1e-3)


def test_a_run_alone_is_that_among_others(history):
    alone = EXPERIMENT.run(TINY, (7,))
    np.testing.assert_allclose(alone["loss"][:, 0], history["loss"][:, 0], rtol=1e-4)
    np.testing.assert_allclose(alone["fsl"][:, 0], history["fsl"][:, 0], rtol=1e-12)
    np.testing.assert_allclose(alone.last("law")[0], history.last("law")[0], rtol=1e-2)


def test_the_scaling_law_is_its_recursion(history):
    lr, variances, start = TINY.lr * annealing.schedules(1000)["linear"], *problem([TINY])[::2]
    q, T, risks = np.zeros(100), 0.0, []
    for k in range(1000):
        e = (variances[0] * start[0] * np.exp(-2 * variances[0] * T)).sum()
        q = (q + (lr[k] * variances[0]) ** 2 / 4 * (1 + e)) * np.exp(-2 * lr[k] * variances[0])
        T += lr[k]
        risks.append((variances[0] * start[0] * np.exp(-2 * variances[0] * T)).sum() + q.sum())
    np.testing.assert_allclose(history["fsl"][:, 0, 4], np.reshape(risks, (100, 10)).mean(1), rtol=1e-9)


def test_the_law_sees_two_schedules_only(history):
    losses = history["loss"][:, :1].transpose(1, 2, 0).copy()  # (1, 6, 100)
    changed = losses.copy()
    changed[:, [0, 3, 4, 5]] *= 3
    changed[:, :, :10] *= 5  # the first 100 steps
    (one, _), (other, _) = (
        returned(annealing.fitted([TINY], each, np.array([True]), None)) for each in (losses, changed)
    )
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_array_equal(one["law"][0], history.last("law")[0])
    L0, log_A, alpha, C = one["coefficients"][0]
    lr, frames = TINY.lr * annealing.schedules(1000)["wsd_50"], np.array(evenly(1000, 101))
    S1, S2 = law.framewise(law.area(lr), frames), law.framewise(law.annealed(lr, one["decay"][0]), frames)
    np.testing.assert_allclose(one["law"][0, 5], L0 + np.exp(log_A) * S1**-alpha - C * S2, rtol=1e-9)


def returned(generator):
    """What a generator returns, and how often it yields."""
    beats = 0
    while True:
        try:
            next(generator)
            beats += 1
        except StopIteration as end:
            return end.value, beats


def test_a_diverged_run_has_no_law():
    losses = np.full((2, 6, 100), np.nan)
    losses[1] = np.linspace(1, 100, 100) ** -0.5
    found, beats = returned(annealing.fitted([TINY, TINY], losses, np.array([False, True]), None))
    assert beats == 1
    assert np.isnan(found["law"][0]).all()
    assert np.isfinite(found["law"][1]).all()


def test_the_metrics_and_the_figure_are_those_of_the_recipe(history):
    found = EXPERIMENT.metrics(history)
    ends = history["loss"][-5:].mean(0)  # (R, 6)
    laws = history.last("law")[:, :, -5:].mean(2)
    np.testing.assert_allclose(found["error_two_step"], laws[:, 3] / ends[:, 3] - 1)
    np.testing.assert_allclose(found["annealing_gain"], ends[:, 0] / ends[:, 2])
    np.testing.assert_allclose(
        found["without_S2_wsd_50"], history.last("without_S2")[:, 5, -5:].mean(1) / ends[:, 5] - 1
    )
    worst = np.maximum(abs(found["error_two_step"]), abs(found["error_wsd_50"]))
    np.testing.assert_allclose(found["error_unseen"], worst)
    *_, panel = EXPERIMENT.panels(history.run(0))
    np.testing.assert_allclose(panel.marks[1].x, ends[0])
    np.testing.assert_allclose(panel.marks[1].y, laws[0])
    losses = EXPERIMENT.panels(history)[1].marks
    dashed = [mark.dash for mark in losses[6:]]
    assert dashed == [name not in ("cosine", "wsd") for name in NAMES]


def test_before_the_end_nothing_is_fitted():
    growing, frames = EXPERIMENT.start([TINY], [1])
    for _ in range(5):
        growing.append(next(frames))
    frames.close()
    assert np.isnan(EXPERIMENT.metrics(growing)["error_unseen"]).all()
    assert EXPERIMENT.panels(growing)[-1].note
