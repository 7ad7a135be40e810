"""Mini-batch SGD with momentum on tables of digits, for N networks of each of R runs in one loop."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch.nn import functional

from dyntoolkit.engine.activations import Activation
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.initialization import he, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Momentum, momentum

FRAMES = 30  # of each phase
DEADLY = 0.03  # lr / (batch (1 - momentum)), the strength of SGD's noise: seeds died at .031, most of them at .06


def network(config: Any, activation: Activation = torch.relu) -> MLP:
    """64 pixels, `depth` hidden layers of `width` units, 10 digits; with biases."""
    return MLP((64, *[config.width] * config.depth, 10), activation)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean softmax cross-entropy of each network, (M,); logits (M, n, 10), labels (M, n)."""
    each = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")  # (M n,)
    return each.view(labels.shape).mean(1)


class Table(NamedTuple):
    """Training images (M, n, 64) and labels (M, n) of M networks."""

    x: torch.Tensor
    y: torch.Tensor


class Training(NamedTuple):
    """N networks of each of R runs while they train. theta, velocity: (R, N, P).

    loss_sum: mini-batch losses added up, (R, N) float64. updates: how many they are, (R,).
    """

    theta: torch.Tensor
    velocity: torch.Tensor
    loss_sum: torch.Tensor
    updates: torch.Tensor

    @classmethod
    def start(cls, theta: torch.Tensor) -> Self:
        """At rest."""
        runs, networks, _ = theta.shape
        nothing = torch.zeros(runs, networks, dtype=torch.float64)
        return cls(theta, torch.zeros_like(theta), nothing, torch.zeros(runs, dtype=torch.int64))


def sgd_step(
    model: MLP, table: Table, lr: torch.Tensor, mu: torch.Tensor, decay: torch.Tensor | None = None
) -> Callable[[Training, torch.Tensor], Training]:
    """The update of all M = R N networks on mini-batches of their tables, given by index (R, N, B).

    lr, mu: (R,). decay: (M, P), for weights that decay by factors of their own; None for no decay.
    """
    loss_and_gradient = value_and_grad(lambda theta, x, y: cross_entropy(model(theta, x), y))
    rows = torch.arange(len(table.x), dtype=torch.int64)[:, None]  # (M, 1)

    def step(state: Training, index: torch.Tensor) -> Training:
        runs, networks, _ = state.theta.shape
        index = index.flatten(0, 1)  # (M, B)
        weights = Momentum(state.theta.flatten(0, 1), state.velocity.flatten(0, 1))  # (M, P)
        x, y = table.x[rows, index], table.y[rows, index]  # (M, B, 64), (M, B)
        loss, gradient = loss_and_gradient(weights.theta, x, y)  # (M,), (M, P)
        rate, inertia = of_copies(lr, networks), of_copies(mu, networks)  # (M,)
        # heavy ball: v <- momentum v + g, theta <- theta - lr v
        weights = momentum(weights, gradient, rate, inertia, decay)
        return Training(
            weights.theta.view(state.theta.shape),
            weights.velocity.view(state.theta.shape),
            state.loss_sum + loss.view(runs, networks),
            state.updates + 1,
        )

    return step


def deadly_noise(lr: float, batch_size: int, momentum: float) -> list[str]:
    """The warning that heavy-ball SGD kills a ReLU network on the digits for some seeds, where its noise is so strong.

    Measured with `cross_task_linearity.digits`; no sentence elsewhere.
    """
    if lr / (batch_size * (1 - momentum)) < DEADLY:
        return []
    return [
        f"a learning rate of {lr:g} with momentum {momentum:g} and batches of {batch_size} "
        "kills the network for some seeds: look at the training loss before the features."
    ]


def initial(configs: Sequence[Any], seeds: Sequence[int], names: Sequence[str]) -> torch.Tensor:
    """He initialization times init_scale, from one stream for each named network of a run: (R, N, P)."""
    model = network(configs[0])
    stds = he(model, per_run(configs, "init_scale"))
    return torch.stack([normal_init(model, Stream(seeds, name), stds) for name in names], 1)


def minibatches(streams: Sequence[Stream], rows: int, size: int) -> Callable[[int, int], torch.Tensor]:
    """Indices (steps, R, N, size) into tables of so many rows, with replacement, from one stream per network."""

    def batches(first: int, last: int) -> torch.Tensor:
        drawn = [stream.indices(rows, last - first, size) for stream in streams]  # (R, steps, size) each
        return torch.stack(drawn, 1).movedim(2, 0)

    return batches


class LossSinceLast:
    """Mean training loss of the updates since the call before, (R, N); NaN for a run that stood still."""

    def __init__(self, state: Training) -> None:
        self.before = state

    def __call__(self, state: Training) -> Array:
        """Take the state of the next frame."""
        done = (state.updates - self.before.updates)[:, None]
        loss = (state.loss_sum - self.before.loss_sum) / done  # 0/0 is NaN
        self.before = state
        return loss.numpy()


Phase = Generator[Frame, None, tuple[Training, Array]]
