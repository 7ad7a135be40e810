"""How many points two networks put into different classes."""

import torch

Tensor = torch.Tensor


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Share of points whose largest output is another one, (...) float64.

    first, second: outputs (..., n, classes), whose leading axes broadcast.
    """
    return (first.argmax(-1) != second.argmax(-1)).double().mean(-1)
