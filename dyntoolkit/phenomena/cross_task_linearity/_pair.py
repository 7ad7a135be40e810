"""What is measured between two networks of one shape: barriers on the straight way, and how linear features are."""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Array
from dyntoolkit.engine.layers import MLP
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.barrier import barrier, segment
from dyntoolkit.probes.linearity import feature_linearity

Tensor = torch.Tensor

LEAST_BASE = 1e-3  # below it the two networks hardly differ, and a ratio to their difference says nothing


class Way(NamedTuple):
    """The straight way from the second network (alpha = 0) to the first (alpha = 1), on the test digits."""

    loss: Array  # (R, 11) cross-entropy at eleven alphas
    error: Array  # (R, 11) error rate
    first: list[Tensor]  # features (R, n, h_l) of the first network, layer by layer
    second: list[Tensor]
    middle: list[Tensor]  # of the half-way average


def walk(model: MLP, first: Tensor, second: Tensor) -> Way:
    """Look at the test digits with every network of the way between two networks, weights (R, P)."""
    digits = rotated_digits(0)
    seen, kept = [], []
    for k, theta in enumerate(segment(first, second)):
        features = model.features(theta, digits.test_x)
        seen.append(loss_and_error(features[-1], digits.test_y))
        if k in (0, 5, 10):
            kept.append(features)
    loss, error = torch.stack(seen, dim=-1).numpy()
    return Way(loss, error, kept[2], kept[0], kept[1])


def loss_and_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy and error rate, (2, R) float64; logits (R, n, 10), labels (n,)."""
    # (R, 10, n), for along many points the softmax takes a fifth of the time that it takes along ten classes
    each = functional.cross_entropy(logits.mT, labels.expand(len(logits), -1), reduction="none")  # (R, n)
    return torch.stack([each.mean(1).double(), torch.from_numpy(1 - accuracy(logits, labels))])


def connectivity(way: Way) -> dict[str, Array]:
    """loss_path, error_path (R, 11): on the way; loss_barrier, error_barrier (R,): the largest rise over the line."""
    barriers = {"loss_barrier": barrier(way.loss), "error_barrier": barrier(way.error)}
    return {"loss_path": way.loss, "error_path": way.error, **barriers}


def linearity(way: Way) -> dict[str, Array]:
    """ctl_l, base_l, coef_l (R, L + 1) of the half-way average, see `feature_linearity`."""
    half = torch.full((len(way.loss),), 0.5, dtype=torch.float32)  # alpha, (R,)
    found = feature_linearity(way.first, way.second, way.middle, half)
    return {"ctl_l": found.ctl, "base_l": found.base, "coef_l": found.coef}


def mean_ratio(ctl_l: Array, base_l: Array) -> Array:
    """Mean over the hidden layers of ctl_l / base_l, both (..., L + 1); NaN where the mean of base_l is too small."""
    ctl, base = ctl_l[..., :-1], base_l[..., :-1]  # without the logits
    per_layer = np.divide(ctl, base, out=np.full_like(base, np.nan), where=base > 0)
    return np.where(base.mean(-1) >= LEAST_BASE, per_layer.mean(-1), np.nan)


def ratio(error: Array, base: Array) -> Array:
    """error / base where the networks differ enough (base >= LEAST_BASE) to judge it, else NaN."""
    return np.asarray(np.divide(error, base, out=np.full_like(base, np.nan), where=base >= LEAST_BASE))
