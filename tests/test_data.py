import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.datasets import load_digits

from dyntoolkit import data


@pytest.mark.parametrize("degrees", [-75, -60, -45, 10, 30, 61.3, 90, 133])
def test_rotation_is_that_of_scipy(degrees: float) -> None:
    images = data.shuffled_images()[0][:20]
    theirs = [ndimage.rotate(image, degrees, reshape=False, order=1, mode="constant") for image in images]
    np.testing.assert_allclose(data.rotate(images, degrees), theirs, atol=1e-12)


@pytest.mark.parametrize("turns", [-1, 0, 1, 2])
def test_quarter_turns_are_exact(turns: int) -> None:
    images = data.shuffled_images()[0][:20]
    np.testing.assert_array_equal(data.rotate(images, 90 * turns), np.rot90(images, turns, axes=(1, 2)))


def test_split_is_the_permutation_of_scikit_learns_digits() -> None:
    digits, raw = data.rotated_digits(0), load_digits()
    x, y = data.one_hot_digits()
    assert torch.equal(x, torch.from_numpy(data.shuffled_images()[0]).float().flatten(1))
    assert torch.equal(y.argmax(1)[:1200], digits.train_y)
    assert y.sum(1).eq(1).all()
    order = np.random.RandomState(0).permutation(1797)
    assert digits.train_x.shape == (1200, 64)
    assert digits.test_x.shape == (597, 64)
    assert digits.train_x.dtype == torch.float32
    np.testing.assert_allclose(digits.test_x.numpy(), (raw.data[order[1200:]] / 16 - 0.3) / 0.37, rtol=1e-6)
    np.testing.assert_array_equal(digits.train_y.numpy(), raw.target[order[:1200]])


def test_pixels_outside_the_rotated_image_are_black() -> None:
    corner = data.rotated_digits(45).train_x[:, 0]
    torch.testing.assert_close(corner, torch.full((1200,), -0.3 / 0.37))


def test_pixel_shuffle_is_one_permutation_for_training_and_test() -> None:
    upright, shuffled = data.rotated_digits(0), data.pixel_shuffled_digits()
    order = np.random.RandomState(3).permutation(64)
    np.testing.assert_array_equal(shuffled.train_x.numpy(), upright.train_x.numpy()[:, order])
    np.testing.assert_array_equal(shuffled.test_x.numpy(), upright.test_x.numpy()[:, order])
    assert torch.equal(shuffled.train_y, upright.train_y)


def test_noisy_labels_are_those_of_the_recipe() -> None:
    clean, noisy = data.noisy_labels(0), data.noisy_labels(0.2)
    assert torch.equal(clean, data.rotated_digits(0).train_y)
    assert (noisy != clean).sum() == 210  # of 242 redrawn points
    redrawn = np.random.RandomState(0).uniform(size=1200) < 0.2
    assert not (noisy != clean).numpy()[~redrawn].any()


def test_returned_labels_do_not_touch_the_cache() -> None:
    before = data.rotated_digits(0).train_y.clone()
    data.noisy_labels(0.5)
    assert torch.equal(data.rotated_digits(0).train_y, before)


def test_standardized_samples_have_mean_0_and_deviation_1_together_or_column_by_column() -> None:
    pixels, classes = data.standardized("digits")
    digits = load_digits()
    order = np.random.RandomState(0).permutation(1797)
    flat = digits.data[order]
    np.testing.assert_allclose(pixels.numpy(), (flat - flat.mean()) / flat.std())
    np.testing.assert_array_equal(classes.numpy(), digits.target[order])
    for name, shape in (("breast_cancer", (569, 30)), ("wine", (178, 13))):
        columns, classes = data.standardized(name)
        assert columns.shape == shape
        assert columns.dtype == torch.float64
        np.testing.assert_allclose(columns.mean(0), 0, atol=1e-12)
        np.testing.assert_allclose(columns.std(0, correction=0), 1)
        assert classes.dtype == torch.int64


@pytest.mark.slow
def test_a_machine_without_shared_memory_is_no_reason_to_warn():
    code = (
        "import _multiprocessing\n"
        "def none(*_, **__): raise OSError(30, 'Read-only file system')\n"
        "_multiprocessing.SemLock = none\nimport dyntoolkit.phenomena"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert "joblib" not in done.stderr
