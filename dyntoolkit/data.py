"""Real data that comes with scikit-learn, as tables ready for training. Nothing is downloaded.

The handwritten digits: 1797 images of 8x8 pixels, shuffled once for everybody, 1200 to train and 597 to test.
Everything here is the same for every seed and run, and cached; do not write into what it returns.
"""

import warnings
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import cosdg, sindg

with warnings.catch_warnings():  # about a machine without /dev/shm: nothing here would be done in parallel
    warnings.filterwarnings("ignore", r".*joblib will operate in serial mode")
    from sklearn import datasets as datasets  # said twice: other modules take it from here

Array = np.ndarray

TRAIN = 1200  # the first 1200 shuffled digits are for training, the last 597 for testing
CENTRE = 3.5  # of an 8x8 image, in pixels
MEAN, SPREAD = 0.3, 0.37  # of all pixels, one pair of numbers for every task: never per pixel


class Split(NamedTuple):
    """Images as rows of 64 normalized pixels (float32) with their labels (int64), for training and for testing."""

    train_x: torch.Tensor  # (1200, 64)
    train_y: torch.Tensor  # (1200,)
    test_x: torch.Tensor  # (597, 64)
    test_y: torch.Tensor  # (597,)


@lru_cache(maxsize=1)
def shuffled_images() -> tuple[Array, Array]:
    """All digits in the order of `RandomState(0).permutation`: images (1797, 8, 8) in [0, 1], labels (1797,)."""
    digits = datasets.load_digits()
    order = np.random.RandomState(0).permutation(len(digits.target))
    return digits.images[order] / 16, digits.target[order].astype(np.int64)


def one_hot_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """All digits in that order, as rows of 64 pixels in [0, 1] (1797, 64), and one-hot labels (1797, 10), float32."""
    images, labels = shuffled_images()
    one_hot = torch.eye(10, dtype=torch.float32)[torch.from_numpy(labels)]
    return torch.from_numpy(images.reshape(-1, 64)).float(), one_hot


def rotate(images: Array, degrees: float) -> Array:
    """Images (n, 8, 8) turned counter-clockwise about their centre, size kept.

    Each output pixel is the bilinear interpolation of the image at the point it came from, 0 where that point lies
    outside the image. Multiples of 90 degrees are exact.
    """
    cos, sin = cosdg(degrees), sindg(degrees)  # exact at the quarter turns
    i, j = np.mgrid[:8, :8] - CENTRE
    row, col = CENTRE + cos * i + sin * j, CENTRE - sin * i + cos * j  # where each output pixel came from, (8, 8)
    inside = (row >= 0) & (row <= 7) & (col >= 0) & (col <= 7)
    top, left = np.clip(row, 0, 6).astype(int), np.clip(col, 0, 6).astype(int)
    down, right = row - top, col - left
    upper = (1 - right) * images[:, top, left] + right * images[:, top, left + 1]  # (n, 8, 8)
    lower = (1 - right) * images[:, top + 1, left] + right * images[:, top + 1, left + 1]
    return np.where(inside, (1 - down) * upper + down * lower, 0)


@lru_cache(maxsize=64)
def rotated_digits(degrees: float) -> Split:
    """The digits rotated by so many degrees, normalized."""
    images, labels = shuffled_images()
    pixels = (rotate(images, degrees).reshape(-1, 64) - MEAN) / SPREAD
    x, y = torch.from_numpy(pixels.astype(np.float32)), torch.from_numpy(labels)
    return Split(x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:])


@lru_cache(maxsize=1)
def pixel_shuffled_digits() -> Split:
    """The upright digits with the 64 pixels permuted, by one permutation for all images."""
    digits = rotated_digits(0)
    order = torch.from_numpy(np.random.RandomState(3).permutation(64))
    return digits._replace(train_x=digits.train_x[:, order], test_x=digits.test_x[:, order])


def noisy_labels(fraction: float) -> torch.Tensor:
    """The training labels (1200,), each redrawn uniformly from 0-9 with a probability of `fraction`.

    A redrawn label may hit the right one. The points redrawn at one fraction are among those redrawn at a larger one.
    """
    labels = shuffled_images()[1][:TRAIN].copy()
    random = np.random.RandomState(0)
    redrawn = random.uniform(size=TRAIN) < fraction
    labels[redrawn] = random.randint(0, 10, redrawn.sum())
    return torch.from_numpy(labels)


def standardized(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All samples of "digits", "breast_cancer" or "wine", standardized (N, d) float64, and their classes (N,) int64.

    Digits by the mean and the standard deviation of all pixels together, the others column by column.
    """
    if name == "digits":
        images, labels = shuffled_images()
        pixels = images.reshape(-1, 64)
        return torch.from_numpy((pixels - pixels.mean()) / pixels.std()), torch.from_numpy(labels)
    table, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return torch.from_numpy((table - table.mean(0)) / table.std(0)), torch.from_numpy(labels.astype(np.int64))
