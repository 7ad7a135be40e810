"""Copies of a small tanh network on noisy labels, trained side by side: what the two experiments share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from dyntoolkit.data import standardized
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.initialization import lecun, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.laboratory.problem import own_split, with_wrong_labels
from dyntoolkit.probes.barrier import along_segment
from dyntoolkit.probes.gradient_curvature import hessian_product
from dyntoolkit.probes.power_iteration import any_vector, power_iteration

Tensor = torch.Tensor
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # theta (M, P), x (M, n, d), y (M, n, C) -> (M,)

LARGEST = 1e6  # weight of a network that has not diverged; they begin below 10
WAY = np.linspace(0, 1, 21)  # from the first end of a segment to the second


class Samples(NamedTuple):
    """Inputs x (R, n, d), their labels, some of them wrong, as one-hot y (R, n, C); test inputs and clean classes."""

    x: Tensor
    y: Tensor
    test_x: Tensor  # (R, N - n, d)
    test_classes: Tensor  # (R, N - n)


def draw(configs: Sequence[Any], seeds: Sequence[int], name: str, dtype: torch.dtype) -> Samples:
    """Each run's own order of a data set: n_train to train on, all others to test."""
    x, classes = standardized(name)
    count = int(classes.max()) + 1  # C
    problem = own_split(x.to(dtype), classes, configs[0].n_train, count, Stream(seeds, "split"))
    problem = with_wrong_labels(problem, per_run(configs, "label_noise", torch.float64), Stream(seeds, "label noise"))
    return Samples(problem.x, torch.eye(count, dtype=dtype)[problem.y], problem.test_x, problem.test_y)


def network(samples: Samples, config: Any) -> MLP:
    """`hidden` layers of `width` tanh units and a linear output for each class; with biases."""
    sizes = samples.x.shape[2], *[config.width] * config.hidden, samples.y.shape[2]
    return MLP(sizes, torch.tanh)


def initial(configs: Sequence[Any], seeds: Sequence[int], model: MLP, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two starts of each run, (R, P) each: W ~ N(0, init_scale^2/fan_in), biases 0."""
    stds = lecun(model, per_run(configs, "init_scale", dtype))
    one, other = (normal_init(model, Stream(seeds, name), stds, dtype) for name in ("init", "other init"))
    return one, other


def squares(model: MLP) -> Loss:
    """Half the sum over the classes of (f - one-hot)^2, mean over the samples."""
    return lambda theta, x, y: 0.5 * (model(theta, x) - y).square().sum(2).mean(1)


def moved(theta: Tensor, change: Tensor, left: Tensor, updates: Tensor) -> tuple[Tensor, Tensor]:
    """theta + change (R, S, P), and the update (R, S) at which each copy diverged, 0 for never.

    A copy diverges where a weight is no number below LARGEST; it stays where it was, for good, and the others go on.
    updates: (R,) with this one.
    """
    after = theta + change
    breaks = ~(after.abs().amax(2) < LARGEST)  # (R, S), also where it is NaN
    left = torch.where((left == 0) & breaks, updates[:, None], left)
    return torch.where((left == 0)[..., None], after, theta), left


def of_healthy(value: Tensor, left: Tensor) -> Array:
    """A measured value (R, S); NaN for copies that have diverged."""
    return torch.where(left > 0, torch.nan, value).double().numpy()


def marked(frames: Iterable[Frame], plain: int) -> Iterator[Frame]:
    """The frames, of which a run counts as diverged where its copy number `plain` has; `left` (R, S) in values says."""
    diverged: Array | None = None
    for frame in frames:
        if "left" in frame.values:
            at = frame.values["left"][:, plain]  # (R,)
            diverged = np.where(at > 0, at, -1)
        yield frame if diverged is None else replace(frame, diverged=diverged)


def named(history: History, label: str, copy: int) -> str:
    """What a copy is called in a figure, and when it diverged, if it did."""
    left = history.last("left")[:, copy] if "left" in history else np.zeros(1)
    if not left.any():
        return label
    if len(left) == 1:
        return f"{label}: diverged at step {left[0]}"
    return f"{label}: diverged in {np.count_nonzero(left)} of {len(left)} runs"


class Sharpness:
    """Largest eigenvalue of the Hessian of the loss on all training samples, of copies that are watched as they train.

    It begins where it ended the last time, so that a few power iterations are enough.
    """

    def __init__(self, loss: Loss, samples: Samples) -> None:
        self.loss, self.samples = loss, samples
        self.vectors = torch.empty(0)  # (R, S, P)

    def __call__(self, theta: Tensor, iterations: int) -> Tensor:
        """theta (R, S, P) -> (R, S). New copies come last, and begin at the first one's eigenvector."""
        R, S, P = theta.shape
        flat = theta.flatten(0, 1)  # (R S, P)
        if not self.vectors.numel():
            self.vectors = any_vector(flat).view(R, S, P)
        new = S - self.vectors.shape[1]
        begin = torch.cat([self.vectors, self.vectors[:, :1].expand(-1, new, -1)], 1).flatten(0, 1)
        x, y = of_copies(self.samples.x, S), of_copies(self.samples.y, S)
        product = hessian_product(lambda theta: self.loss(theta, x, y), flat)
        value, vectors = power_iteration(product, begin, iterations)
        self.vectors = vectors.view(R, S, P)
        return value.view(R, S)


def loss_between(loss: Loss, samples: Samples, first: Tensor, second: Tensor) -> Tensor:
    """The training loss at WAY along the segments from first to second, both (R, S, P): (R, S, 21)."""
    S = first.shape[1]
    x, y = of_copies(samples.x, S), of_copies(samples.y, S)
    losses = along_segment(lambda theta: loss(theta, x, y), second.flatten(0, 1), first.flatten(0, 1), WAY)
    return losses.view(-1, S, len(WAY))
