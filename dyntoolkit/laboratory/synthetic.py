"""Synthetic data of known structure, drawn for each run from its own stream: x (R, n, d) float32, labels or targets.

Classes are int64 (R, n), numbers float32 (R, n, 1). Draws of more samples do not begin with those of fewer.
"""

import torch

from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.probes.walsh import cube

Tensor = torch.Tensor
Samples = tuple[Tensor, Tensor]

TURNS, RADIUS = 1.25, 2.0  # of a spiral
INNER = 0.4  # radius of the inner circle, in units of the outer one
NEURONS = 3  # of the teacher, and inputs that matter in the sparse truth


def moons(stream: Stream, n: int, noise: Tensor) -> Samples:
    """Two half circles of radius 1 that reach into each other, every other sample on each; Gaussian noise (R,) on x."""
    y = _in_turn(stream, n)
    angle = (stream.uniform(n) + 1) * (torch.pi / 2)  # (R, n) in [0, pi)
    side = (1 - 2 * y).float()  # 1 or -1
    x = torch.stack([side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)], 2)
    return _noisy(x, noise, stream), y


def spirals(stream: Stream, n: int, noise: Tensor) -> Samples:
    """Two arms of 1.25 turns that end at radius 2, every other sample on each; Gaussian noise (R,) on x."""
    y = _in_turn(stream, n)
    along = stream.unit(n).sqrt()  # (R, n), so that samples lie about as dense everywhere
    angle = 2 * torch.pi * TURNS * along + torch.pi * y.float()
    return _noisy(RADIUS * along.unsqueeze(2) * torch.stack([angle.cos(), angle.sin()], 2), noise, stream), y


def xor(stream: Stream, n: int, noise: Tensor) -> Samples:
    """The square [-1, 1]^2: signs of the coordinates alike or, in every other sample, not; Gaussian noise (R,) on x."""
    y = _in_turn(stream, n)
    x = stream.uniform(n, 2)
    second = x[:, :, 0].sign() * x[:, :, 1].abs() * (1 - 2 * y)  # as the first one in class 0, against it in class 1
    return _noisy(torch.stack([x[:, :, 0], second], 2), noise, stream), y


def circles(stream: Stream, n: int, noise: Tensor) -> Samples:
    """A circle of radius 1 around one of 0.4, every other sample on each; Gaussian noise (R,) on x."""
    y = _in_turn(stream, n)
    angle = torch.pi * stream.uniform(n)
    radius = torch.where(y == 0, 1.0, INNER).float().unsqueeze(2)
    return _noisy(radius * torch.stack([angle.cos(), angle.sin()], 2), noise, stream), y


def sines(stream: Stream, n: int) -> Samples:
    """Points of [-1, 1] with sin(pi x) + sin(4 pi x): one period and four."""
    x = stream.uniform(n, 1)
    return x, sines_at(x)


def sines_at(x: Tensor) -> Tensor:
    """The function of `sines`."""
    return torch.sin(torch.pi * x) + torch.sin(4 * torch.pi * x)


def parity(stream: Stream, n: int, n_bits: int, k: int) -> Samples:
    """n different points of the cube {-1, 1}^n_bits; class 1 where the product of the first k bits is -1.

    InputError where n is more than the 2^n_bits points that there are.
    """
    if n > 2**n_bits:
        raise InputError(
            f"n_bits: {n_bits} bits have {2**n_bits:,} points, {n:,} are needed to train and test.", "n_bits"
        )
    x = cube(n_bits)[stream.permutations(2**n_bits)[:, :n]]  # (R, n, n_bits)
    return x, (x[:, :, :k].prod(2) < 0).long()


def gaussian(stream: Stream, n: int, dim: int) -> Samples:
    """Gaussian inputs; the target is the sum of the first three, each with a sign of the run's own, over sqrt(3)."""
    signs, x = stream.signs(NEURONS), stream.normal(n, dim)  # the truth first: it is the same for any n
    return x, x[:, :, :NEURONS] @ signs.unsqueeze(2) / NEURONS**0.5


def teacher(stream: Stream, n: int, dim: int) -> Samples:
    """Gaussian inputs; the target is a network of three ReLUs with unit input weights and outputs 1, -1 and 1."""
    w = torch.nn.functional.normalize(stream.normal(dim, NEURONS), dim=1)  # (R, dim, 3), first: the same for any n
    x = stream.normal(n, dim)
    return x, torch.relu(x @ w) @ torch.tensor([[1.0], [-1.0], [1.0]], dtype=torch.float32)


def with_irrelevant(x: Tensor, count: int, stream: Stream) -> Tensor:
    """x (R, n, d) and so many standard normal inputs that have nothing to do with the targets, (R, n, d + count)."""
    return torch.cat([x, stream.normal(x.shape[1], count)], 2) if count else x


def _in_turn(stream: Stream, n: int) -> Tensor:
    """Classes 0, 1, 0, 1, ... for each run, (R, n)."""
    return (torch.arange(n, dtype=torch.int64) % 2).expand(len(stream.generators), n)


def _noisy(x: Tensor, noise: Tensor, stream: Stream) -> Tensor:
    return x + noise.view(-1, 1, 1) * stream.normal(*x.shape[1:])
