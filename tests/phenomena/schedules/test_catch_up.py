"""Catching up after the switch: schedules against plain SGD, theory against the recipe, windows of the metrics."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.phenomena.schedules import catch_up
from dyntoolkit.phenomena.schedules._regression import Samples, initial_errors, problem
from dyntoolkit.phenomena.schedules.catch_up import EXPERIMENT, Config

TINY = Config(steps=1000, n_features=100, small_batch=2, large_batch=16)


def plain_sgd(config, seed):
    """Final excess risk of small, large and switched."""
    x, noise = (part[:, 0].double() for part in Samples([config], [seed]).draw(config.steps, config.large_batch))
    ends = []
    for switch in (config.steps, 0, config.switch_step):
        v = initial_errors([config], [seed])[0].double()
        for k in range(config.steps):
            B = config.small_batch if k < switch else config.large_batch
            v = v - config.lr / B * x[k, :B].T @ (x[k, :B] @ v - noise[k, :B])
        ends.append(float((torch.from_numpy(problem([config]).variances[0]) * v**2).sum()))
    return ends


def test_all_three_are_plain_sgd_on_the_same_samples_and_alone_as_in_a_batch():
    configs = [TINY, TINY.replace(switch=0.703, source=1.0, lr=0.1)]
    history = run_together(EXPERIMENT, configs, [7, 8])
    for r, (config, seed) in enumerate(zip(configs, (7, 8), strict=True)):
        alone = EXPERIMENT.run(config, (seed,))
        np.testing.assert_allclose(alone["risk"][:, 0], history["risk"][:, r], rtol=1e-4)
        np.testing.assert_allclose(history.last("risk")[r], plain_sgd(config, seed), rtol=1e-3)
        before = history.at("risk") <= config.switch_step
        for name in ("risk", "exact", "fsl"):
            np.testing.assert_allclose(history[name][before][:, r, 2], history[name][before][:, r, 0], rtol=1e-4)


def test_exact_numbers_are_those_of_the_recipe():
    configs = [Config(), Config(source=1.0), Config(noise_std=0.0)]
    history = History("schedules.catch_up", configs, [0, 0, 0])
    for k, (exact, _) in zip(sorted(catch_up.record(4000)), catch_up.theory(configs), strict=True):
        history.append(Frame(k, 4000, {"exact": exact}, np.full(3, -1)))
    found = catch_up.excesses(history, "exact")
    assert found["before"] == pytest.approx([0.422, 6.3, 0.030], rel=0.02)
    assert found["after300"] == pytest.approx([0.038, 0.50, 0.003], rel=0.02, abs=5e-4)
    assert found["end"] == pytest.approx([0.011, 0.11, 0.001], rel=0.04, abs=1e-3)
    assert found["never"] == pytest.approx([0.70, 6.9, 0.031], rel=0.02)


def test_the_metrics_are_those_of_the_recipe():
    configs = [TINY.replace(switch=p) for p in (0.5, 0.8)]
    history = History("schedules.catch_up", configs, [0, 0])
    for k in range(0, 1001, 10):
        small = 3.0 if k <= 500 else 4.0
        switched = np.where(k <= np.array([500, 800]), small, 1.5 if k <= 900 else 1.2)
        row = np.stack([np.full(2, small), np.ones(2), switched], 1)
        history.append(Frame(k, 1000, {"risk": row, "exact": 2 * row}, np.full(2, -1)))
    found = EXPERIMENT.metrics(history)
    np.testing.assert_allclose(found["before"], [2, 3])
    np.testing.assert_allclose(found["after300"], [0.5, np.nan])  # there are no 300 steps after the second switch
    np.testing.assert_allclose(found["end"], [0.2, 0.2])
    np.testing.assert_allclose(found["never"], [3, 3])
    np.testing.assert_allclose(found["end_exact"], found["end"])
    np.testing.assert_allclose(found["closed300"], [0.75, np.nan])
    np.testing.assert_allclose(found["data_saved"], [0.5 * 14 / 16, 0.8 * 14 / 16])
    assert EXPERIMENT.predictions["data_saved"](TINY) == pytest.approx(0.5 * 14 / 16)


def test_samples_are_counted_for_each_schedule():
    used = Config(steps=1000, switch=0.3).samples(np.array([0, 300, 301, 1000]))
    assert used[:, 0].tolist() == [0, 2400, 2408, 8000]
    assert used[:, 1].tolist() == [0, 19200, 19264, 64000]
    assert used[:, 2].tolist() == [0, 2400, 2464, 2400 + 700 * 64]


def test_the_figure_shows_the_gap_from_the_switch_on():
    history, frames = EXPERIMENT.start([TINY], [1])
    for frame in frames:
        history.append(frame)
        if frame.step in (100, 500):
            assert EXPERIMENT.panels(history)[1].note
    by_step, gap, by_samples = EXPERIMENT.panels(history)
    assert gap.note == ""
    assert [mark.name for mark in gap.marks] == ["sampled", "exact", "exact, source 0.2", "exact, source 1"]
    assert gap.marks[0].x[-1] == 500
    exact = history.last("exact")[0]
    assert gap.marks[1].y[-1] == pytest.approx(exact[2] / exact[1] - 1)
    np.testing.assert_allclose(gap.marks[1].y, gap.marks[2].y)  # the default is the hard task
    assert by_samples.marks[2].x[-1] == 500 * 2 + 500 * 16
    assert by_step.marks[-1].x == 500
