"""The gradient of every single sample, with the samples in the place of runs."""

from collections.abc import Callable

import torch

from dyntoolkit.engine.gradient import value_and_grad

Tensor = torch.Tensor


def sample_gradients(value: Callable[[Tensor, Tensor, Tensor], Tensor], theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of value(theta, x, y) for each sample alone, (R, m, P).

    value: theta (R, P), x (R, n, ...), y (R, n, ...) -> (R,). theta: (R, P). x, y: m samples of each run, (R, m, ...).
    """
    gradient = value_and_grad(value)
    rows = [
        gradient(weights.expand(len(xs), -1), xs.unsqueeze(1), ys.unsqueeze(1))[1]  # (m, P)
        for weights, xs, ys in zip(theta, x, y, strict=True)
    ]
    return torch.stack(rows)
