"""Settings along the run axis."""

from collections.abc import Sequence
from typing import Any

import torch

from dyntoolkit.errors import unknown


def per_run(configs: Sequence[Any], name: str, dtype: torch.dtype = torch.float32, *, ndim: int = 1) -> torch.Tensor:
    """The value that each run's settings have for the field `name`: (R,), or (R, 1, ..., 1) with `ndim` axes.

    >>> class Descent(Config):
    ...     lr: float = number(0.1, 0.01, 1.0)
    >>> per_run([Descent(), Descent(lr=0.2)], "lr", ndim=2)
    tensor([[0.1000],
            [0.2000]])
    """
    for config in configs:
        if not hasattr(config, name):
            raise unknown("field", name, list(vars(config)))
    return torch.tensor([getattr(config, name) for config in configs], dtype=dtype).view(-1, *[1] * (ndim - 1))
