"""AdamW on the full batch, for R runs with hyperparameters of their own."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from dyntoolkit.engine.gradient import Loss, value_and_grad
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import Adam, adam

NAMES = ("lr", "beta1", "beta2", "eps", "weight_decay")


def adamw(configs: Sequence[Any], loss: Loss) -> Callable[[Adam, None], Adam]:
    """One update of every run by the fields lr, beta1, beta2, eps and weight_decay (decoupled) of its settings.

    loss: theta (R, P) -> (R,) on the whole training set.
    """
    columns = (per_run(configs, name, torch.float64) for name in NAMES)
    lr, beta1, beta2, eps, decay = columns  # (R,)
    gradient = value_and_grad(loss)

    def step(state: Adam, _: None) -> Adam:
        return adam(state, gradient(state.theta)[1], lr, beta1, beta2, eps, decay, decoupled=True)

    return step
