"""Training of a tiny transformer on the text of `_number_text`, as the experiments on transformers do it.

AdamW on random windows, with a warm-up and a cosine decay of the learning rate, and clipped gradients.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import GAINS, Transformer, cross_entropy
from dyntoolkit.engine.update import Adam, adam, clip
from dyntoolkit.errors import InputError
from dyntoolkit.phenomena._number_text import CHARACTERS, TRAINING, tokens

Tensor = torch.Tensor
CONTEXT = 32  # characters that the network sees
VALIDATION = 32  # windows of the validation text, evenly spaced
MOST_GRADIENT = 1.0  # norm to which a gradient is clipped
BETA1, BETA2, EPS = 0.9, 0.95, 1e-8  # of AdamW


def check_width(width: int) -> None:
    """InputError for a width that does not give two heads of even size."""
    if width % 4:
        raise InputError(f"width takes a multiple of 4, for two heads of even size, got {width}.", "width")


def schedule(t: Tensor, steps: int) -> Tensor:
    """Share of the learning rate in update t + 1: up within a tenth of the steps, a cosine down to .05."""
    t = t.to(torch.float32)
    rise = ((t + 1) / (0.1 * steps)).clamp_max(1)
    # min(1, (t+1)/(.1 steps)) (.05 + .475 (1 + cos(pi t/steps)))
    return rise * (0.05 + 0.475 * (1 + torch.cos(math.pi * t / steps)))


def windows(starts: Tensor) -> Tensor:
    """The tokens of context + 1 characters from each start on: (...) -> (..., 33)."""
    return tokens()[starts.unsqueeze(-1) + torch.arange(CONTEXT + 1, dtype=torch.int64)]


def training_starts(seeds: Sequence[int], name: str, *shape: int) -> Tensor:
    """Uniform starts of windows in the training text from the stream `name`, (R, *shape)."""
    return Stream(seeds, name).indices(TRAINING - CONTEXT, *shape)


def validation_windows(runs: int) -> Tensor:
    """The same 32 windows for each run, (R, 32, 33)."""
    starts = torch.linspace(TRAINING, CHARACTERS - CONTEXT - 1, VALIDATION, dtype=torch.float32).long()
    return windows(starts.expand(runs, -1))


def next_token_loss(network: Transformer, theta: Tensor, batch: Tensor) -> Tensor:
    """Cross-entropy in nats of each window's next characters, mean over all of them: (R, P), (R, B, 33) -> (R,)."""
    return cross_entropy(network(theta, batch[..., :-1]), batch[..., 1:])


def make_step(network: Transformer, configs: Sequence[Any]) -> Callable[[Adam, Tensor], Adam]:
    """One step of AdamW (Loshchilov and Hutter 2017) on a batch (R, B, 33); the gains do not decay.

    configs: settings with lr, weight_decay and steps.
    """
    lr = per_run(configs, "lr").double()
    decay = per_run(configs, "weight_decay").double()
    weight_decay = decay[:, None] * ~network.mask(*GAINS)  # (R, P)
    gradients = value_and_grad(lambda theta, batch: next_token_loss(network, theta, batch))

    def step(state: Adam, batch: Tensor) -> Adam:
        gradient = clip(gradients(state.theta, batch)[1], MOST_GRADIENT)  # (R, P)
        rate = lr * schedule(state.updates, configs[0].steps)  # (R,)
        return adam(state, gradient, rate, BETA1, BETA2, EPS, weight_decay, decoupled=True)

    return step
