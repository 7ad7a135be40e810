"""Share of right answers."""

import torch

from dyntoolkit.engine.history import Array


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> Array:
    """Share of points whose largest logit is their label's, (R,); logits (R, n, classes), labels (n,) or (R, n)."""
    right = logits.argmax(2) == labels
    return right.double().mean(1).numpy()
