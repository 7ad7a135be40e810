"""Data, start and batches that the experiments share."""

import numpy as np
import pytest
import torch
from torch_twin import theta_of, twin

from dyntoolkit.data import shuffled_images
from dyntoolkit.engine.streams import Stream
from dyntoolkit.phenomena.chaos import _training
from dyntoolkit.phenomena.chaos._training import Config

TINY = Config(n_train=200, batch=64, width=16, steps=500)


def test_each_run_has_its_own_order_of_standardised_digits_and_wrong_labels_in_training_only():
    problem = _training.draw([TINY, TINY.replace(label_noise=0.3)], [1, 2])
    images, labels = shuffled_images()
    pixels = (images - images.mean()) / images.std()
    everything = torch.cat([problem.x, problem.test_x], 1)  # (R, 1797, 64)
    assert everything.shape == (2, 1797, 64)
    assert everything.mean().item() == pytest.approx(0, abs=1e-5)
    assert everything.std().item() == pytest.approx(1, rel=1e-3)
    known = {row.tobytes(): label for row, label in zip(pixels.reshape(-1, 64).astype("f4"), labels, strict=True)}
    for r in range(2):
        given = torch.cat([problem.clean[r], problem.test_y[r]]).tolist()
        assert [known[row.numpy().tobytes()] for row in everything[r]] == given
    wrong = (problem.y != problem.clean).double().mean(1)  # a wrong label is never the right one
    assert wrong[0] == 0
    assert wrong[1].item() == pytest.approx(0.3, abs=0.1)
    assert not torch.equal(problem.clean[0], problem.clean[1])


def test_the_start_is_that_of_he_times_its_scale():
    theta = _training.initial([TINY, TINY.replace(init_scale=0.5)], [3, 3])
    torch.testing.assert_close(theta[1], theta[0] / 2)
    network = twin((64, 16, 16, 10), theta[0])
    assert torch.equal(theta_of(network), theta[0])
    assert network[0].weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.1)
    assert network[4].weight.std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.2)
    assert (network[0].bias == 0).all()


def test_batches_are_those_of_fresh_permutations_and_the_rate_decays_if_asked_to():
    drawn = _training.batches([TINY.replace(decay="cosine")], [4])
    first, then = drawn(0, 2), drawn(2, 7)
    orders = Stream([4], "batches")
    epochs = [orders.permutations(200)[0, :192].view(3, 64) for _ in range(3)]  # 8 images are dropped
    assert torch.equal(torch.cat([first.samples, then.samples])[:, 0], torch.cat(epochs)[:7])
    found = torch.cat([first.factor, then.factor]).numpy()
    np.testing.assert_allclose(found, (1 + np.cos(np.pi * np.arange(7) / 500)) / 2, rtol=1e-6)
    assert (_training.batches([TINY], [4])(0, 3).factor == 1).all()


def test_a_deadly_learning_rate_is_warned_of():
    assert Config().warnings() == []
    assert "kills" in Config(lr=0.15).warnings()[0]
    assert Config(lr=0.15, momentum=0.5).warnings() == Config(lr=0.15, hidden=0).warnings() == []
