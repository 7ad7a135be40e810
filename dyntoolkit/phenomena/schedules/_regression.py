"""One-pass linear regression whose difficulty is a setting: features, target, samples and excess risk.

The setting of Li et al. 2025 (functional scaling laws, arXiv 2509.19189) and of arXiv 2602.14208.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.history import Array
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import config, number

Tensor = torch.Tensor

HELD = 2**23  # numbers of all samples that are drawn at once


class Config(config.Config):
    """The settings that the three experiments on this problem share."""

    source: float = number(
        0.2, 0.1, 1.2, label="source s", help="how fast the target's coefficients fall: small is hard", main=True
    )
    capacity: float = number(1.5, 1.2, 3.0, label="capacity β", help="how fast the features' variances fall", main=True)
    noise_std: float = number(
        1.0, 0.0, 3.0, label="label noise σ", help="of the labels, fresh with every sample", main=True
    )
    init_scale: float = number(
        0.0, 0.0, 3.0, label="initialization scale", help="random start; 1 is as large as the target", main=True
    )
    lr: float = number(0.2, 0.02, 0.8, label="learning rate η", help="step size", log=True, main=True)
    n_features: int = number(
        300, 100, 1000, label="features M", help="inputs of the regression", log=True, structural=True
    )


def hardness(config: Config) -> float:
    """Positive where the task is hard, s < 1 - 1/beta, and negative where it is easy."""
    return 1 - 1 / config.capacity - config.source


def noise_gain(config: Config, batch: int) -> float:
    """By how much the noise of a batch feeds itself; from 1 on the exact expectation diverges.

    At rest m_j (2 lr lambda_j - lr^2 lambda_j^2 (1 + 1/B)) = lr^2 lambda_j L/B; times lambda_j, summed over j, over L.
    """
    step = config.lr * np.arange(1, config.n_features + 1) ** -config.capacity  # lr lambda_j, (M,)
    room = 2 - step * (1 + 1 / batch)
    return float((step / batch / room).sum()) if (room > 0).all() else np.inf


def warnings(config: Config, batch: int) -> list[str]:
    """That a learning rate is too large for the smallest batch of a run."""
    if noise_gain(config, batch) < 1:
        return []
    return [f"in expectation the loss diverges with batches of {batch}: lower the learning rate of {config.lr:g}."]


class Problem(NamedTuple):
    """What a run is about, float64 (R, M) each.

    variances: of the features, lambda_j. target: w*_j^2. start: E (w_j(0) - w*_j)^2, over the random starts.
    """

    variances: Array
    target: Array
    start: Array


def problem(configs: Sequence[Config]) -> Problem:
    """Variances lambda_j = j^-beta, and a target whose excess risk is 1, for each of these settings."""
    j = np.arange(1, configs[0].n_features + 1)
    beta, s, scale = (np.array([[getattr(c, of)] for c in configs]) for of in ("capacity", "source", "init_scale"))
    variances = j**-beta  # (R, M)
    target = j ** (beta - 1 - s * beta)
    target /= (variances * target).sum(1, keepdims=True)  # sum lambda_j w*_j^2 = 1
    return Problem(variances, target, target + scale**2 / variances.sum(1, keepdims=True))


def initial_errors(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """v = w - w* at the start, float32 (R, M): w_j ~ N(0, init_scale^2/sum lambda), the signs of w* from the seed."""
    variances, target, _ = (torch.from_numpy(part) for part in problem(configs))
    signs = Stream(seeds, "signs").signs(target.shape[1], dtype=torch.float64)  # (R, M)
    normal = Stream(seeds, "init").normal(target.shape[1], dtype=torch.float64)
    w = per_run(configs, "init_scale", torch.float64, ndim=2) * normal / variances.sum(1, keepdim=True).sqrt()
    return (w - signs * target.sqrt()).float()


class Samples:
    """Fresh samples of every run, from the seed of each alone: x_j ~ N(0, lambda_j), and the noise of their labels."""

    def __init__(self, configs: Sequence[Config], seeds: Sequence[int]) -> None:
        self.std = torch.from_numpy(problem(configs).variances).sqrt().float()  # (R, M)
        self.noise_std = per_run(configs, "noise_std")  # (R,)
        self.features, self.noise = Stream(seeds, "features"), Stream(seeds, "noise")

    def draw(self, steps: int, *shape: int) -> tuple[Tensor, Tensor]:
        """The next samples: features (steps, R, *shape, M) and noise (steps, R, *shape), float32."""
        ones = (1,) * (1 + len(shape))
        x = self.features.normal(steps, *shape, self.std.shape[1])  # (R, steps, *shape, M)
        x *= self.std.view(len(x), *ones, -1)
        noise = self.noise.normal(steps, *shape) * self.noise_std.view(-1, *ones)
        return x.transpose(0, 1), noise.transpose(0, 1)

    def at_once(self, *shape: int) -> int:
        """How many steps of samples of this shape to draw at once."""
        return max(1, HELD // (self.std.numel() * int(np.prod(shape))))


def excess_risk(variances: Tensor, v: Tensor) -> Tensor:
    """L = sum_j lambda_j v_j^2 of each schedule, float64 (R, S). variances: (R, 1, M). v: (R, S, M)."""
    return (variances * v.double().square()).sum(-1)
