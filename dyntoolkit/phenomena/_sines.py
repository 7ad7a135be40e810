"""The small regression that Adam's spikes and split neurons train: sin x + sin 4x by a two-layer tanh network.

f(x) = sum_j a_j tanh(w_j x + b_j) + c with the weights of a run in one row theta = (w, b, a, c) of P = 3 width + 1
numbers; the loss is the mean of (f(x_i) - y_i)^2, without a factor 1/2. Everything is float64: the loss falls far below
what float32 resolves. Gradient and Hessian are written out: for a network this small much faster than autograd.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream

Tensor = torch.Tensor


class Settings(Protocol):
    """The fields of a Config that data and network need."""

    @property
    def n_train(self) -> int:
        """Points."""

    @property
    def width(self) -> int:
        """Hidden units h."""

    @property
    def init_scale(self) -> float:
        """Standard deviation of w and b."""

    @property
    def noise_std(self) -> float:
        """Noise on the labels."""


class Data(NamedTuple):
    """Inputs (n,), the same for all runs, and labels (R, n) with the noise of each run."""

    x: Tensor
    y: Tensor


class _Parts(NamedTuple):
    a: Tensor  # (..., h)
    t: Tensor  # (..., n, h) activations
    residual: Tensor  # (..., n) f(x_i) - y_i


def draw_data(configs: Sequence[Settings], seeds: Sequence[int]) -> Data:
    """n_train points from -pi to pi, both included, with labels sin x + sin 4x + noise_std N(0, 1)."""
    x = torch.linspace(-np.pi, np.pi, configs[0].n_train, dtype=torch.float64)
    noise = Stream(seeds, "noise").normal(configs[0].n_train, dtype=torch.float64)  # (R, n)
    std = per_run(configs, "noise_std", torch.float64, ndim=2)
    return Data(x, torch.sin(x) + torch.sin(4 * x) + std * noise)


def initial_theta(configs: Sequence[Settings], seeds: Sequence[int]) -> Tensor:
    """w, b ~ N(0, init_scale^2), a ~ N(0, init_scale^2/width), c = 0, as (R, P)."""
    h = configs[0].width
    draw = Stream(seeds, "init").normal(3 * h, dtype=torch.float64)  # (R, 3h)
    draw[:, 2 * h :] /= h**0.5
    scale = per_run(configs, "init_scale", torch.float64, ndim=2)
    return torch.cat([scale * draw, torch.zeros(len(draw), 1, dtype=torch.float64)], dim=1)


def loss(theta: Tensor, data: Data) -> Tensor:
    """The mean squared error (...) at theta (..., P) for labels (..., n)."""
    return _forward(theta, data).residual.square().mean(-1)


def loss_and_gradient(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
    """The mean squared error (...) and its gradient (..., P) at theta (..., P)."""
    a, t, r = _forward(theta, data)
    rows = torch.stack([r * data.x, r], dim=-2)  # (..., 2, n)
    by_input, by_bias = (rows @ (1 - t * t)).unbind(-2)  # (..., h)
    by_a = (r.unsqueeze(-2) @ t).squeeze(-2)  # (..., h)
    gradient = torch.cat([a * by_input, a * by_bias, by_a, r.sum(-1, keepdim=True)], dim=-1)
    return r.square().mean(-1), gradient * (2 / len(data.x))


def hessian(theta: Tensor, data: Data) -> Tensor:
    """The exact Hessian (..., P, P) of the loss: 2/n (J^T J + sum_i r_i f''_i); f'' couples one neuron's weights."""
    a, t, r = _forward(theta, data)
    h, x = t.shape[-1], data.x.unsqueeze(-1)  # x: (n, 1)
    slope = 1 - t * t  # (..., n, h) tanh'
    by_bias = a.unsqueeze(-2) * slope  # (..., n, h)
    jacobian = torch.cat([by_bias * x, by_bias, t, torch.ones_like(t[..., :1])], dim=-1)  # (..., n, P)
    full = jacobian.mT @ jacobian  # (..., P, P)
    bend = r.unsqueeze(-1) * by_bias * (-2 * t)  # (..., n, h) r a tanh''
    tilt = r.unsqueeze(-1) * slope  # (..., n, h)
    w, b, v = (torch.arange(k * h, (k + 1) * h, dtype=torch.int64) for k in range(3))
    blocks = ((w, w, bend * x * x), (w, b, bend * x), (b, b, bend), (w, v, tilt * x), (b, v, tilt))
    for rows, columns, terms in blocks:
        full[..., rows, columns] += terms.sum(-2)
        if rows is not columns:
            full[..., columns, rows] += terms.sum(-2)
    return full * (2 / len(data.x))


def _forward(theta: Tensor, data: Data) -> _Parts:
    h = (theta.shape[-1] - 1) // 3
    w, b, a, c = torch.split(theta, [h, h, h, 1], dim=-1)
    t = torch.tanh(data.x.unsqueeze(-1) * w.unsqueeze(-2) + b.unsqueeze(-2))  # (..., n, h)
    return _Parts(a, t, (t @ a.unsqueeze(-1)).squeeze(-1) + c - data.y)
