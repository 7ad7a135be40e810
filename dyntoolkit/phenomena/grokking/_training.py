"""AdamW on the full batch, for R runs with hyperparameters of their own."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from dyntoolkit.engine.gradient import Loss, value_and_grad
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import Adam, adam


def adamw(configs: Sequence[Any], loss: Loss) -> Callable[[Adam, None], Adam]:
    """One update of every run by the fields lr, beta1, beta2, eps and weight_decay (decoupled) of its settings.

    loss: theta (R, P) -> (R,) on the whole training set.
    """
    lr = per_run(configs, "lr", torch.float64)  # (R,), as the others
    beta1 = per_run(configs, "beta1", torch.float64)
    beta2 = per_run(configs, "beta2", torch.float64)
    eps = per_run(configs, "eps", torch.float64)
    decay = per_run(configs, "weight_decay", torch.float64)
    gradient = value_and_grad(loss)

    def step(state: Adam, _: None) -> Adam:
        # AdamW: m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, and with m, v freed of their bias
        # theta <- (1 - lr weight_decay) theta - lr m/(sqrt(v) + eps)
        return adam(state, gradient(state.theta)[1], lr, beta1, beta2, eps, decay, decoupled=True)

    return step
