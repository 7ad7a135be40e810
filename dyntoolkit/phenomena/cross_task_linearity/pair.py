"""What is measured between two networks of one shape on the upright test digits."""

from collections.abc import Callable

import torch

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Array
from dyntoolkit.engine.layers import MLP
from dyntoolkit.phenomena.cross_task_linearity.training import cross_entropy
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.barrier import along_segment, barrier
from dyntoolkit.probes.linearity import feature_linearity

Tensor = torch.Tensor


def loss_and_error(model: MLP) -> Callable[[Tensor], Tensor]:
    """The function from weights (R, P) to cross-entropy and error rate on the 597 test digits, (2, R) float64."""
    digits = rotated_digits(0)

    def evaluate(theta: Tensor) -> Tensor:
        logits = model(theta, digits.test_x)  # (R, 597, 10)
        loss = cross_entropy(logits, digits.test_y.expand(len(theta), -1)).double()
        return torch.stack([loss, torch.from_numpy(1 - accuracy(logits, digits.test_y))])

    return evaluate


def connectivity(model: MLP, first: Tensor, second: Tensor) -> dict[str, Array]:
    """loss_path, error_path (R, 11): on the straight way from the second to the first network; loss_barrier,
    error_barrier (R,): their rise over the line between the ends. Weights (R, P)."""
    loss, error = along_segment(loss_and_error(model), first, second).numpy()  # (R, 11) each
    return {"loss_path": loss, "error_path": error, "loss_barrier": barrier(loss), "error_barrier": barrier(error)}


def linearity(model: MLP, first: Tensor, second: Tensor) -> dict[str, Array]:
    """ctl_l, base_l, coef_l (R, L + 1) of the half-way average, see `feature_linearity`."""
    x, half = rotated_digits(0).test_x, torch.full((len(first),), 0.5)
    f_i, f_j, f_mid = (model.features(theta, x) for theta in (first, second, (first + second) / 2))
    found = feature_linearity(f_i, f_j, f_mid, half)
    return {"ctl_l": found.ctl, "base_l": found.base, "coef_l": found.coef}
