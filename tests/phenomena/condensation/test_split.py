"""Splitting, Newton's method and the predicted inertia against their definitions; claims."""

import numpy as np
import pytest
import torch

from dyntoolkit.errors import InputError
from dyntoolkit.phenomena.condensation import split
from dyntoolkit.phenomena.condensation.split import EXPERIMENT, RATIOS, Config

SHORT = Config(steps=1000, fit_steps=500)


def random_theta(k, seed=1):
    return torch.randn(2, 3 * k, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("k", "j"), [(1, 0), (2, 0), (2, 1)])
def test_splitting_keeps_the_loss_and_has_the_two_copies(k, j):
    theta = random_theta(k)
    wide = split.split(theta, j, 0.3)
    torch.testing.assert_close(split.loss_and_gradient(wide)[0], split.loss_and_gradient(theta)[0])
    w, b, a = wide.unflatten(-1, (3, -1)).unbind(-2)
    own = theta.unflatten(-1, (3, -1))
    torch.testing.assert_close(w[:, j], w[:, k])
    torch.testing.assert_close(b[:, j], b[:, k])
    torch.testing.assert_close(a[:, j], 0.3 * own[:, 2, j])
    torch.testing.assert_close(a[:, k], 0.7 * own[:, 2, j])


def test_loss_gradient_and_hessian_are_those_of_the_written_network():
    theta = random_theta(2)[0]

    def loss(flat):
        w, b, a = flat.view(3, 2)
        return ((torch.tanh(split.X[:, None] * w + b) @ a - split.Y) ** 2).mean()

    torch.testing.assert_close(split.loss_and_gradient(theta)[0], loss(theta))
    torch.testing.assert_close(split.loss_and_gradient(theta)[1], torch.func.grad(loss)(theta))
    torch.testing.assert_close(split.hessian(theta), torch.func.hessian(loss)(theta))


def test_the_critical_point_of_one_neuron_is_that_of_the_recipe():
    history = EXPERIMENT.run(None, (771, 772))
    metrics = EXPERIMENT.metrics(history)
    assert (metrics["narrow_gradient"] < 1e-9).all()
    assert history.last("critical_loss") == pytest.approx([0.22176] * 2, abs=1e-5)
    assert metrics["lambda_min"] == pytest.approx([-0.0499] * 2, abs=1e-4)
    assert (metrics["mismatches"] == 0).all()
    at_half = history.last("inertia")[0, np.abs(RATIOS - 0.5).argmin()]
    assert at_half.tolist() == [1, 1, 4]
    assert history.last("inertia")[0, np.abs(RATIOS).argmin()].tolist() == [0, 3, 3]
    for claim in EXPERIMENT.claims:
        if claim.sweep is None:
            assert claim.where(Config())
            assert claim.bound.holds(metrics[claim.metric]).all(), claim.id
    assert not EXPERIMENT.claims[0].bound.holds(metrics["copy_gradient"]).any()


def test_the_prediction_can_be_wrong_where_the_point_is_not_critical():
    theta = random_theta(1, seed=4)
    wide = torch.stack([split.split(theta, 0, float(c)) for c in RATIOS], dim=1)
    measured = split.inertia(torch.linalg.eigvalsh(split.hessian(wide)).numpy())
    assert (measured != split.predicted_inertia(theta, 0, RATIOS)).any()


@pytest.mark.slow
def test_a_smaller_kick_escapes_later_by_the_predicted_steps():
    (claim,) = [claim for claim in EXPERIMENT.claims if claim.id == "escape_gap"]
    rows = [EXPERIMENT.metrics(EXPERIMENT.run(Config(**change), (771,))) for change in claim.sweep.changes]
    assert claim.bound.holds(claim.sweep.value(rows))[0]


def test_without_a_critical_point_there_is_a_sentence_and_no_number():
    history = EXPERIMENT.run(SHORT.replace(width=2, fit_steps=500, fit_lr=0.001), (1,))
    history._rows["narrow_gradient"] = [np.array([1e-3])]  # as of a run that goes to infinity
    assert np.isnan(EXPERIMENT.metrics(history)["mismatches"]).all()
    _, spectrum, signs, escape = EXPERIMENT.panels(history)
    assert {panel.note for panel in (spectrum, signs, escape)} == {
        "No critical point: the fit ends with a gradient of 0.001."
    }


def test_the_neuron_to_split_must_be_there():
    with pytest.raises(InputError, match="split_neuron takes 0 at width 1, got 1"):
        Config(split_neuron=1)
