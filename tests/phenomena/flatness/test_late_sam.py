"""The step against the paper's formula, schedules, metrics by hand, and the claims on a fresh seed."""

import numpy as np
import pytest
import torch

from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import History
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.judging import majority
from dyntoolkit.phenomena.flatness import _copies as copies
from dyntoolkit.phenomena.flatness import late_sam
from dyntoolkit.phenomena.flatness._theory import edge
from dyntoolkit.phenomena.flatness.late_sam import CLAIMS, EXPERIMENT, SCHEDULES, Batch, Config, Schedules

SMALL = Config(steps=500, n_train=80, width=16, batch=16)
CONFIGS, SEEDS = [SMALL, SMALL.replace(lr=0.02, rho=0.1)], (411, 412)


@pytest.fixture(scope="module")
def history():
    with asking(Asked("eager")):
        return EXPERIMENT.run(SMALL, SEEDS)


def test_a_step_is_that_of_the_paper_on_one_batch_for_all_copies():
    samples = copies.draw(CONFIGS, SEEDS, "digits", torch.float32)
    net = copies.network(samples, CONFIGS[0])
    one, other = copies.initial(CONFIGS, SEEDS, net, torch.float32)
    start = torch.stack([k / 3 * (other if k == 1 else one) for k in range(1, 8)], 1)  # (2, 7, P)
    chosen = torch.tensor([[1, 5, 7], [0, 2, 79]])
    climbs = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])
    step = late_sam.make_step(CONFIGS, samples, copies.squares(net))
    after = step(Schedules.start(start), Batch(chosen, climbs))
    for r, c in np.ndindex(2, 7):

        def slope(w, r=r):
            w = w.clone().requires_grad_()
            residual = net(w[None], samples.x[r, chosen[r]])[0] - samples.y[r, chosen[r]]
            return torch.autograd.grad((residual**2).sum() / 2 / 3, w)[0]

        g = slope(start[r, c])
        rho = CONFIGS[r].rho if c >= 2 and climbs[c - 2] else 0.0
        expected = start[r, c] - CONFIGS[r].lr * slope(start[r, c] + rho * g / g.norm())
        torch.testing.assert_close(after.theta[r, c], expected)
        torch.testing.assert_close(after.norms[r, c], g.norm())
    assert not after.left.any()
    assert after.updates.tolist() == [1, 1]


def test_batches_go_through_all_samples_and_schedules_climb_from_their_switch_on():
    assert late_sam.switches(1500) == [0, 750, 1125, 1350, 1455]
    batches = late_sam.make_batches(CONFIGS, SEEDS)
    first = batches(0, 10)
    assert first.samples.shape == (10, 2, 16)
    assert sorted(first.samples[:5, 0].flatten().tolist()) == list(range(80))
    assert not torch.equal(first.samples[0, 0], first.samples[0, 1])
    later = batches(10, 500).climbs
    assert (later.sum(0) + torch.tensor([10.0, 0, 0, 0, 0])).tolist() == [500, 250, 125, 50, 15]


def test_a_schedule_is_sgd_until_its_switch_and_leaves_it_then(history):
    loss, steps = history["loss"], history.at("loss")
    for s, first in enumerate(late_sam.switches(500)[1:], 2):
        assert np.isnan(loss[steps < first, :, s]).all()
        (k,) = np.flatnonzero(steps == first)
        np.testing.assert_allclose(loss[k, :, s], loss[k, :, 0], rtol=1e-6)
        after = history[f"after_{SCHEDULES[s]}"]
        np.testing.assert_array_equal(history.at(f"after_{SCHEDULES[s]}"), np.arange(first, min(first + 30, 500) + 1))
        np.testing.assert_allclose(after[0], loss[k, :, s], rtol=1e-6)
        assert (after[1] != after[0]).all()
        assert (loss[-1, :, s] != loss[-1, :, 0]).all()


def test_the_metrics_by_hand(history):
    found = EXPERIMENT.metrics(history)
    sharp, error = history.last("sharpness"), history.last("error")
    np.testing.assert_allclose(found["ratio_90"], sharp[:, 4] / sharp[:, 0])
    np.testing.assert_allclose(found["over_sam_50"], sharp[:, 2] / sharp[:, 1])
    np.testing.assert_allclose(found["gain_75"], error[:, 0] - error[:, 3])
    even = history["error"][np.isin(history.at("error"), range(0, 501, 25)), :, 0]
    assert len(even) == 21
    np.testing.assert_allclose(found["over_early_stop_75"], error[:, 3] - even.min(0))
    np.testing.assert_allclose(found["peak_75"], history["after_75"].max(0) / history["after_75"][0])
    path = history.last("paths")[1, 0]
    rise = max(path[k] - (1 - k / 20) * path[0] - k / 20 * path[20] for k in range(21))
    assert found["barrier_other"][1] == pytest.approx(rise)
    assert found["barrier_other"].min() > found["barrier_75"].max()
    norms = history["norms"][history.at("norms") == 490][0]
    norm = (history.last("norms") - norms)[:, 1] / 10
    np.testing.assert_allclose(found["edge_sam"], sharp[:, 1] / edge(0.05, 0.2 / norm))
    for name, at in (("other", 0), ("sam", 1)):
        np.testing.assert_allclose(found[f"distance_{name}"], history.last("distance")[:, at])


def test_where_sam_diverges_the_others_go_on_and_the_figure_says_when():
    def burst(gradient):  # of "sam" only
        return late_sam.uphill(gradient) * torch.tensor([1e22, 1, 1, 1, 1])[:, None]

    with asking(Asked("eager")):
        frames = late_sam.simulate([SMALL], SEEDS[:1], climb=burst)
        lost = History("flatness.late_sam", [SMALL], SEEDS[:1])
        for frame in frames:
            lost.append(frame)
    assert lost.last("left")[0].tolist() == [0, 1, 0, 0, 0, 0]
    assert lost.diverged.tolist() == [-1]
    found = EXPERIMENT.metrics(lost)
    assert np.isnan([found[f"{name}_sam"][0] for name in ("sharpness", "error", "gain", "barrier")]).all()
    assert np.isfinite([found[name][0] for name in ("sharpness_sgd", "ratio_75", "barrier_75")]).all()
    assert found["ratio_75"][0] != 1
    assert lost["loss"][-1, 0, 0] < lost["loss"][1, 0, 0]
    assert EXPERIMENT.panels(lost)[0].marks[1].name == "SAM: diverged at step 1"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"data": "wine", "n_train": 121}, "n_train takes at most 120 where data is wine, got 121."),
        ({"n_train": 100, "batch": 128}, "batch takes at most n_train, here 100, got 128."),
        ({"batch": 48}, "batch takes one of 16, 32, 64, 128, got 48."),
    ],
)
def test_settings_that_do_not_go_together_are_refused(fields, sentence):
    with pytest.raises(InputError, match=sentence):
        Config(**fields)


def test_engines_agree(history):
    with asking(Asked("xla")):
        compiled = EXPERIMENT.run(SMALL, SEEDS)
    assert compiled.engine == "xla"
    for name in ("sharpness", "error", "after_75", "paths", "norms"):
        scale = np.nanmax(np.abs(history[name]))
        np.testing.assert_allclose(compiled[name], history[name], rtol=1e-2, atol=1e-2 * scale)


@pytest.mark.claims
def test_most_fresh_seeds_show_the_claims_and_those_controls_that_are_of_the_same_run():
    found = EXPERIMENT.metrics(EXPERIMENT.run(seeds=range(421, 426)))
    for claim in CLAIMS:
        assert claim.where(Config()) == (not claim.preset)
        assert majority(claim.bound.holds(found[claim.metric])), (claim.id, found[claim.metric])
        for control in claim.controls:
            if control.metric:
                assert majority(~claim.bound.holds(found[control.metric])), (claim.id, control.label)
