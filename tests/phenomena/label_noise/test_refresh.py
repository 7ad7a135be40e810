"""Fresh flips: the labels of each step, metrics and figure. The network: test__signal_noise."""

import numpy as np
import pytest
import torch
from run_together import run_together

from dyntoolkit.phenomena.label_noise import _signal_noise, refresh
from dyntoolkit.phenomena.label_noise.refresh import EXPERIMENT, Config

SMALL = Config(n_train=20, dim=200, width=3, steps=500)


def labels_of(config, steps=2000):
    problem, _ = _signal_noise.draw([config, config], [1, 2], 2)
    return problem, refresh.make_labels([config] * 2, [1, 2], problem)(0, steps)  # (steps, R, n)


def test_labels_are_flipped_anew_in_every_step_with_the_given_probability():
    problem, labels = labels_of(SMALL)
    wrong = (labels != problem.y).double()
    assert float(wrong.mean()) == pytest.approx(0.3, abs=0.01)
    assert float(wrong.mean(0).std()) < 0.02  # every sample alike
    assert not torch.equal(labels[0], labels[1])
    assert not torch.equal(labels[:, 0], labels[:, 1])


def test_flipped_once_the_labels_stay():
    problem, labels = labels_of(SMALL.replace(fresh_flips=False), 50)
    assert (labels == labels[0]).all()
    assert (labels[0] != problem.y).sum(1).tolist() == [6, 6]
    torch.testing.assert_close((labels[0] != problem.y), problem.flipped)
    _, clean = labels_of(SMALL.replace(flip_rate=0), 5)
    assert (clean == problem.y).all()


@pytest.mark.claims
def test_default_run_claims_metrics_and_figure():
    history = EXPERIMENT.run(seeds=(901,))
    metrics = EXPERIMENT.metrics(history)
    for claim in EXPERIMENT.claims:
        assert claim.where(history.config)
        assert not claim.where(EXPERIMENT.configure("fixed"))
        assert claim.bound.holds(metrics[claim.metric])[0], claim.id
    steps, test = history.at("test"), history["test"][:, 0]
    assert metrics["t_test95"][0] == next(k for k, share in zip(steps, test, strict=True) if share > 0.95)
    accuracy, _, _ = EXPERIMENT.panels(history)
    assert accuracy.marks[1].y[-1] == metrics["final_test"][0]
    assert "true labels" in accuracy.marks[0].name
    assert (
        "given labels"
        in EXPERIMENT.panels(EXPERIMENT.start([SMALL.replace(fresh_flips=False)], [0])[0])[0].marks[0].name
    )


def test_a_run_alone_is_the_run_among_others():
    configs = [SMALL.replace(lr=0.05, signal_norm=2), SMALL]
    together, alone = run_together(EXPERIMENT, configs, [1, 2]), EXPERIMENT.run(configs[1], [2])
    for name in ("loss", "gamma", "rho"):
        np.testing.assert_allclose(together[name][:, 1], alone[name][:, 0], rtol=1e-2, atol=1e-4)
