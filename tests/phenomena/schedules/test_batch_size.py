"""When to grow the batch: sampled schedules against plain SGD, theory against the recipe's numbers, metrics."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.phenomena.schedules import batch_size
from dyntoolkit.phenomena.schedules._regression import Samples, initial_errors, problem
from dyntoolkit.phenomena.schedules.batch_size import EXPERIMENT, POINTS, Config

TINY = Config(data=8000, n_features=100, small_batch=8, large_batch=32)


def plain_sgd(config, seed, switch):
    """Final excess risk of one schedule: small batches for so many chunks, then large ones."""
    v = initial_errors([config], [seed])[0].double()
    x, noise = Samples([config], [seed]).draw(config.chunks * config.ratio, config.small_batch)
    x = x[:, 0].reshape(config.chunks, -1, config.n_features).double()
    noise = noise[:, 0].reshape(config.chunks, -1).double()
    for chunk in range(config.chunks):
        size = config.small_batch if chunk < switch else config.large_batch
        for part, errors in zip(x[chunk].split(size), noise[chunk].split(size), strict=True):
            v = v - config.lr / size * part.T @ (part @ v - errors)
    return float((torch.from_numpy(problem([config]).variances[0]) * v**2).sum())


def test_every_schedule_is_plain_sgd_on_the_same_samples_and_alone_as_in_a_batch():
    configs = [TINY, TINY.replace(source=1.0, lr=0.1, noise_std=0.5)]
    history = run_together(EXPERIMENT, configs, [7, 8])
    assert history.total == TINY.chunks * TINY.ratio
    for r, (config, seed) in enumerate(zip(configs, (7, 8), strict=True)):
        alone = EXPERIMENT.run(config, (seed,))
        np.testing.assert_allclose(alone["risk"][:, 0], history["risk"][:, r], rtol=1e-4)
        for s in (0, 5, 13):
            expected = plain_sgd(config, seed, config.switches[s])
            assert history.last("risk")[r, s] == pytest.approx(expected, rel=1e-3)


def test_before_its_switch_a_schedule_is_the_trunk():
    history = EXPERIMENT.run(TINY, (1,))
    for k, chunk in enumerate(TINY.recorded_chunks):
        still = TINY.switches >= chunk
        for name in ("risk", "exact", "fsl"):
            row = history[name][k, 0]
            np.testing.assert_allclose(row[still], row[-1], rtol=1e-5)


def test_theory_is_the_recursion_of_each_schedule_by_itself():
    config = TINY.replace(data=8000, large_batch=64, lr=0.3)
    *_, (exact, fsl) = batch_size.theory([config, config.replace(noise_std=0.0)])
    variances, _, start = (part[0] for part in problem([config]))
    for s in (0, 6, 13):
        m, q, T = start, np.zeros(100), 0.0
        for chunk in range(config.chunks):
            B = config.small_batch if chunk < config.switches[s] else config.large_batch
            for _ in range(config.large_batch // B):
                L, e = (variances * m).sum(), (variances * start * np.exp(-2 * variances * T)).sum()
                step = 0.3 * variances
                m = m * (1 - 2 * step + step**2 * (1 + 1 / B)) + 0.3 * step * (L + 1) / B
                q = (q + step**2 / B * (1 + e)) * np.exp(-2 * step)
                T += 0.3
        e = (variances * start * np.exp(-2 * variances * T)).sum()
        assert exact[0, s] == pytest.approx((variances * m).sum(), rel=1e-9)
        assert fsl[0, s] == pytest.approx(e + q.sum(), rel=1e-9)
    assert (exact[1] < exact[0]).all()


@pytest.mark.parametrize(
    ("changes", "best", "early", "late"),  # as the recipe measured them, without any sampling
    [
        ({}, 0.9, 3.575, 1.823),
        ({"source": 1.0}, 0.0, 1.0, 6.70),
        ({"source": 1.0, "init_scale": 1.0}, 0.85, None, None),
    ],
)
def test_exact_numbers_are_those_of_the_recipe(changes, best, early, late):
    *_, (exact, _) = batch_size.theory([Config(**changes)])
    found = batch_size.judged(exact, "")
    assert found["best_switch"] == [best]
    if early:
        assert found["early_cost"] == pytest.approx([early], rel=2e-3)
        assert found["late_cost"] == pytest.approx([late], rel=2e-3)


def test_the_metrics_are_those_of_the_recipe():
    history, ones = History("schedules.batch_size", [TINY], [0]), np.ones(len(POINTS))
    risk = np.where(np.array(POINTS) == 0.3, 0.5, 1.0)
    for step, fsl in ((0, 9.0), (5, 9.0), (50, 1.2), (100, 0.9)):
        values = {"risk": risk, "exact": ones, "fsl": fsl * ones, "exact_quiet": 0.5 * ones}
        history.append(Frame(step, 100, {name: value[None] for name, value in values.items()}, np.array([-1])))
    found = EXPERIMENT.metrics(history)
    assert found["best_switch"] == [0.3]
    assert found["early_cost"] == found["late_cost"] == [2.0]
    assert found["best_switch_exact"] == [0.0]  # the first of equals
    assert found["sgd_error"] == pytest.approx([0.5 / 14])
    assert found["quiet_error"] == pytest.approx([13 / 14])
    assert found["fsl_error"] == pytest.approx([0.15])  # without the first tenth
    assert np.isnan(batch_size.judged(np.full((1, 14), np.nan), "")["best_switch"])


def test_the_map_shows_the_expectation_at_the_end():
    history, frames = History("schedules.batch_size", [TINY], [0]), batch_size.simulate_exact([TINY], [0])
    history.append(next(frames))
    assert np.isnan(batch_size.best_switch_exact(history))
    for frame in frames:
        history.append(frame)
    assert history.done
    expected = EXPERIMENT.metrics(EXPERIMENT.run(TINY, (0,)))["best_switch_exact"]
    assert batch_size.best_switch_exact(history) == expected


def test_the_figure_marks_the_best_schedule():
    history = EXPERIMENT.run(TINY, (0, 1))
    courses, ends = EXPERIMENT.panels(history)
    s = int(np.median(history.last("risk"), axis=0).argmin())
    assert f"best: p = {POINTS[s]:g}" in [mark.name for mark in courses.marks]
    assert (ends.marks[-1].x[0], ends.marks[-1].y[0]) == (POINTS[s], np.median(history.last("risk"), axis=0)[s])
    assert courses.marks[len(POINTS)].x[-1] == TINY.chunks * TINY.large_batch


@pytest.mark.claims
def test_claims_hold_at_the_defaults():
    metrics = EXPERIMENT.metrics(EXPERIMENT.run(seeds=(902, 903, 904)))
    for claim in EXPERIMENT.claims:
        if not claim.preset:
            assert claim.where(Config())
            assert np.median(claim.bound.holds(metrics[claim.metric])), claim.id
            assert not claim.where(EXPERIMENT.configure("easy"))
