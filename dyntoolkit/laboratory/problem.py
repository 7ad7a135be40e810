"""What R runs have to learn: inputs and targets, to train and to test on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream

Tensor = torch.Tensor


class Problem(NamedTuple):
    """Inputs and targets of R runs; those that all runs share are expanded along the run axis.

    x, test_x: (R, n, *sample) float32. y, test_y: numbers (R, n, k) float32, or classes (R, n) int64.
    clean: y before noise. classes: how many there are, 0 where the targets are numbers.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    clean: Tensor
    classes: int = 0

    @property
    def outputs(self) -> int:
        """How many numbers a network has to give for each sample."""
        return self.classes or self.y.shape[2]


def shared(x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor, classes: int, runs: int) -> Problem:
    """The problem of `runs` runs that see the same data: x (n, *sample), y (n, k) or (n,)."""
    x, y, test_x, test_y = (part.expand(runs, *part.shape) for part in (x, y, test_x, test_y))
    return Problem(x, y, test_x, test_y, y, classes)


def own_split(x: Tensor, y: Tensor, n_train: int, classes: int, stream: Stream) -> Problem:
    """The problem of runs that each shuffle the samples: the first n_train to train on, all others to test on.

    x: (N, *sample). y: (N, k) or (N,).

    >>> own_split(torch.zeros(5, 2), torch.arange(5), 3, 5, Stream((0, 1), "split")).test_y.shape
    torch.Size([2, 2])
    """
    order = stream.permutations(len(x))  # (R, N)
    first, rest = order[:, :n_train], order[:, n_train:]
    return Problem(x[first], y[first], x[rest], y[rest], y[first], classes)


def with_noise(problem: Problem, configs: Sequence[Any], stream: Stream) -> Problem:
    """The problem with the noise that the settings ask for, drawn once: `label_noise` or `target_noise`."""
    if problem.classes:
        return with_wrong_labels(problem, per_run(configs, "label_noise", torch.float64), stream)
    return with_noisy_targets(problem, per_run(configs, "target_noise"), stream)


def with_wrong_labels(problem: Problem, rate: Tensor, stream: Stream) -> Problem:
    """Each training label is, with a probability of rate (R,), replaced by another class, each as likely.

    The labels that are wrong at one rate are wrong in the same way at a larger one.
    """
    n = problem.y.shape[1]
    chance = stream.unit(n, dtype=torch.float64)  # (R, n)
    other = stream.indices(max(problem.classes - 1, 1), n) + 1  # (R, n)
    wrong = (problem.clean + other) % problem.classes
    return problem._replace(y=torch.where(chance < rate[:, None], wrong, problem.clean))


def with_noisy_targets(problem: Problem, std: Tensor, stream: Stream) -> Problem:
    """Gaussian noise of standard deviation std (R,) on the training targets, the same numbers times any std."""
    noise = stream.normal(*problem.clean.shape[1:])  # (R, n, k)
    return problem._replace(y=problem.clean + std[:, None, None] * noise)
