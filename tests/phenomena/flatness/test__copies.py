"""Data, network and what is measured of copies, against their definitions."""

from functools import partial

import numpy as np
import pytest
import torch

from dyntoolkit.data import standardized
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.phenomena.flatness import _copies as copies
from dyntoolkit.phenomena.flatness.late_sam import Config

SEEDS = (401, 402)
NET = MLP((3, 2, 2), torch.tanh)
LOSS = copies.squares(NET)


def small(runs, networks):
    """Weights (R, S, P), and samples (R, 5, 3) with targets (R, 5, 2)."""
    made = torch.Generator().manual_seed(0)
    theta = torch.randn(runs, networks, NET.parameters, dtype=torch.float64, generator=made)
    x = torch.randn(runs, 5, 3, dtype=torch.float64, generator=made)
    y = torch.randn(runs, 5, 2, dtype=torch.float64, generator=made)
    return theta, copies.Samples(x, y, x, y)


def loss_of_run(r, samples, w):
    return LOSS(w[None], samples.x[r : r + 1], samples.y[r : r + 1])[0]


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine"])
def test_each_run_has_an_order_of_its_own_and_wrong_labels_in_training_only(name):
    configs = [Config(data=name, n_train=80, label_noise=rate) for rate in (0.0, 0.4)]
    samples = copies.draw(configs, SEEDS, name, torch.float64)
    x, classes = standardized(name)
    row = {tuple(each): k for k, each in enumerate(x.tolist())}
    for r in range(2):
        order = [row[tuple(each)] for each in torch.cat([samples.x[r], samples.test_x[r]]).tolist()]
        assert len(set(order)) >= len(x) - 1  # two tumours, or digits, may be the same
        wrong = (samples.y[r].argmax(1) != classes[order[:80]]).double().mean()
        assert wrong == 0 if r == 0 else 0.25 < wrong < 0.55
        assert torch.equal(samples.test_classes[r], classes[order[80:]])
    assert (samples.y.sum(2) == 1).all()
    assert not torch.equal(samples.x[0], samples.x[1])


def test_the_weights_have_the_standard_deviation_of_the_recipe_and_two_starts_differ():
    configs = [Config(), Config(init_scale=2.0)]
    samples = copies.draw(configs, SEEDS[:1] * 2, "digits", torch.float32)
    net = copies.network(samples, Config(hidden=2))
    assert net.sizes == (64, 64, 64, 10)
    one, other = copies.initial(configs, SEEDS[:1] * 2, net, torch.float32)
    torch.testing.assert_close(one[1], 2 * one[0])
    weight, bias = net.split(one)[0]
    assert weight[0].std() == pytest.approx(1 / 8, rel=0.05)
    assert not bias.any()
    assert not torch.isclose(one[0], other[0]).all()


def test_the_loss_is_half_the_squared_distance_summed_over_classes():
    theta, samples = small(2, 1)
    output = NET(theta[:, 0], samples.x)
    expected = [
        0.5 * sum(float((output[r, i] - samples.y[r, i]) @ (output[r, i] - samples.y[r, i])) for i in range(5)) / 5
        for r in range(2)
    ]
    np.testing.assert_allclose(LOSS(theta[:, 0], samples.x, samples.y), expected)


def test_sharpness_is_the_largest_eigenvalue_and_new_copies_begin_at_the_first_ones():
    theta, samples = small(2, 3)
    watch = copies.Sharpness(LOSS, samples)
    found = watch(theta[:, :2], 1500)
    begun = watch.vectors[:, 0].clone()
    again = watch(theta, 1)
    torch.testing.assert_close(again[:, :2], found, rtol=1e-6, atol=0)
    for r, s in np.ndindex(2, 3):
        hessian = torch.autograd.functional.hessian(partial(loss_of_run, r, samples), theta[r, s])
        values = torch.linalg.eigvalsh(hessian)
        first = begun[r] @ hessian @ begun[r]
        expected = first if s == 2 else values[values.abs().argmax()]
        assert again[r, s] == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize("broken", [torch.inf, torch.nan, -1e7])
def test_a_copy_that_diverges_stays_where_it_was_for_good_and_the_others_go_on(broken):
    theta, none = torch.ones(1, 2, 3), torch.zeros(1, 2, dtype=torch.int64)
    step = torch.tensor([[[1.0, 1.0, 1.0], [1.0, broken, 1.0]]])
    after, left = copies.moved(theta, step, none, torch.tensor([7]))
    assert after.tolist() == [[[2.0] * 3, [1.0] * 3]]
    assert left.tolist() == [[0, 7]]
    after, left = copies.moved(after, torch.ones(1, 2, 3), left, torch.tensor([8]))
    assert after.tolist() == [[[3.0] * 3, [1.0] * 3]]
    assert left.tolist() == [[0, 7]]
    assert np.isnan(copies.of_healthy(torch.tensor([[4.0, 5.0]]), left)).tolist() == [[False, True]]


def test_the_loss_on_the_way_begins_at_the_first_end():
    theta, samples = small(2, 2)
    paths = copies.loss_between(LOSS, samples, theta[:, :1], theta[:, 1:])  # (2, 1, 21)
    for k in (0, 7, 20):
        point = (1 - k / 20) * theta[:, 0] + k / 20 * theta[:, 1]
        torch.testing.assert_close(paths[:, 0, k], LOSS(point, samples.x, samples.y))


def test_a_run_counts_as_diverged_where_the_plain_copy_has_and_the_figure_names_all_that_have():
    history = History("flatness", [Config()] * 2, SEEDS)
    values = {"left": np.array([[0, 3], [4, 4]])}
    seen = list(copies.marked([Frame(5, 10, values, np.full(2, -1)), Frame(6, 10, {}, np.full(2, -1))], plain=0))
    assert [frame.diverged.tolist() for frame in seen] == [[-1, 4]] * 2
    assert copies.named(history, "SAM", 1) == "SAM"
    history.append(seen[0])
    assert copies.named(history, "SAM", 1) == "SAM: diverged in 2 of 2 runs"
    assert copies.named(history.run(1), "SAM", 0) == "SAM: diverged at step 4"
    assert copies.named(history.run(0), "SGD", 0) == "SGD"
