"""What is measured between two networks of one shape: barriers on the straight way, and how linear features are."""

from collections.abc import Callable

import numpy as np
import torch

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Array
from dyntoolkit.engine.layers import MLP
from dyntoolkit.phenomena.cross_task_linearity._training import cross_entropy
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.barrier import along_segment, barrier
from dyntoolkit.probes.linearity import feature_linearity

Tensor = torch.Tensor

LEAST_BASE = 1e-3  # below it the two networks hardly differ, and a ratio to their difference says nothing


def loss_and_error(model: MLP) -> Callable[[Tensor], Tensor]:
    """The function from weights (R, P) to cross-entropy and error rate on the 597 test digits, (2, R) float64."""
    digits = rotated_digits(0)

    def evaluate(theta: Tensor) -> Tensor:
        logits = model(theta, digits.test_x)  # (R, 597, 10)
        loss = cross_entropy(logits, digits.test_y.expand(len(theta), -1)).double()
        return torch.stack([loss, torch.from_numpy(1 - accuracy(logits, digits.test_y))])

    return evaluate


def connectivity(model: MLP, first: Tensor, second: Tensor) -> dict[str, Array]:
    """The straight way from the second network (alpha = 0) to the first (alpha = 1), on the test digits.

    Weights (R, P). loss_path, error_path (R, 11): at eleven alphas. loss_barrier, error_barrier (R,): the largest rise
    over the line between the ends.
    """
    loss, error = along_segment(loss_and_error(model), first, second).numpy()  # (R, 11) each
    return {"loss_path": loss, "error_path": error, "loss_barrier": barrier(loss), "error_barrier": barrier(error)}


def linearity(model: MLP, first: Tensor, second: Tensor) -> dict[str, Array]:
    """ctl_l, base_l, coef_l (R, L + 1) of the half-way average on the test digits, see `feature_linearity`.

    Weights (R, P).
    """
    x = rotated_digits(0).test_x
    half = torch.full((len(first),), 0.5, dtype=torch.float32)  # alpha, (R,)
    f_i, f_j, f_mid = (model.features(theta, x) for theta in (first, second, (first + second) / 2))
    found = feature_linearity(f_i, f_j, f_mid, half)
    return {"ctl_l": found.ctl, "base_l": found.base, "coef_l": found.coef}


def mean_ratio(ctl_l: Array, base_l: Array) -> Array:
    """Mean over the hidden layers of ctl_l / base_l, both (..., L + 1); NaN where the mean of base_l is too small."""
    ctl, base = ctl_l[..., :-1], base_l[..., :-1]  # without the logits
    per_layer = np.divide(ctl, base, out=np.full_like(base, np.nan), where=base > 0)
    return np.where(base.mean(-1) >= LEAST_BASE, per_layer.mean(-1), np.nan)


def ratio(error: Array, base: Array) -> Array:
    """error / base where the networks differ enough (base >= LEAST_BASE) to judge it, else NaN."""
    return np.asarray(np.divide(error, base, out=np.full_like(base, np.nan), where=base >= LEAST_BASE))
