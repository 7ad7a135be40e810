"""Losses on the run axis: output (R, n, k) and targets in, one number per run (R,) out, the mean over the samples."""

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

Tensor = torch.Tensor
Loss = Callable[[Tensor, Tensor], Tensor]


def mse(output: Tensor, y: Tensor) -> Tensor:
    """Mean over samples and outputs of (output - y)^2. y: (R, n, k), or classes (R, n).

    Classes are taken as one-hot, and with one output as -1 and 1.

    >>> mse(torch.tensor([[[1.0], [3.0]]]), torch.zeros(1, 2, 1))
    tensor([5.])
    """
    if y.ndim < output.ndim:
        k, y = output.shape[-1], y.unsqueeze(-1)
        # not functional.one_hot, which looks at the numbers: a step with it cannot be recorded
        y = (y == torch.arange(k, dtype=y.dtype) if k > 1 else 2 * y - 1).to(output.dtype)  # (R, n, k)
    return (output - y).square().flatten(1).mean(1)


def cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    """Mean of -log softmax(output)_y. y: classes (R, n) int64.

    >>> cross_entropy(torch.zeros(1, 3, 2), torch.tensor([[0, 1, 1]]))
    tensor([0.6931])
    """
    chosen = torch.log_softmax(output, -1).gather(-1, y.unsqueeze(-1))  # (R, n, 1)
    return -chosen.squeeze(-1).mean(1)


def logistic(output: Tensor, y: Tensor) -> Tensor:
    """Mean of log(1 + exp(-s f)) for one output f, with s = 1 for class 1 and -1 for class 0. y: (R, n).

    >>> logistic(torch.zeros(1, 3, 1), torch.tensor([[0, 1, 1]]))
    tensor([0.6931])
    """
    sign = (2 * y - 1).to(output.dtype)  # (R, n)
    return functional.softplus(-sign * output.squeeze(-1)).mean(1)


LOSSES: Mapping[str, Loss] = {"mse": mse, "cross_entropy": cross_entropy, "logistic": logistic}


def right(output: Tensor, y: Tensor) -> Tensor:
    """Whether each sample is in its class y (R, n): by the largest output, or by the sign of the only one. (R, n) bool.

    >>> right(torch.tensor([[[-1.0], [2.0]]]), torch.tensor([[0, 0]]))
    tensor([[ True, False]])
    """
    found = (output.squeeze(-1) > 0).long() if output.shape[-1] == 1 else output.argmax(-1)  # (R, n)
    return found == y
