"""The small regression that Adam's spikes and split neurons train: sin x + sin 4x by a two-layer tanh network.

f(x) = sum_j a_j tanh(w_j x + b_j) + c with the weights of a run in one row theta = (w, b, a, c) of P = 3 width + 1
numbers; the loss is the mean of (f(x_i) - y_i)^2, without a factor 1/2. Everything is float64: the loss falls far below
what float32 resolves. Gradient and Hessian are written out: for a network this small much faster than autograd.
"""

from collections.abc import Callable, Sequence
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


class _Second(NamedTuple):
    """f' at each point, and the sums over points of r_i f''_i, which couples the weights w, b, a of one neuron."""

    jacobian: Tensor  # (..., n, P)
    ww: Tensor  # (..., h)
    wb: Tensor
    bb: Tensor
    wa: Tensor
    ba: Tensor


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
    parts = _forward(theta, data)
    return parts.residual.square().mean(-1), _gradient(parts, data)


def hessian(theta: Tensor, data: Data) -> Tensor:
    """The exact Hessian (..., P, P) of the loss at theta (..., P)."""
    return _hessian(_forward(theta, data), data)


def loss_gradient_hessian(theta: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
    """All three at once: (...), (..., P), (..., P, P)."""
    parts = _forward(theta, data)
    return parts.residual.square().mean(-1), _gradient(parts, data), _hessian(parts, data)


def loss_gradient_product(theta: Tensor, data: Data) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
    """The loss (...), its gradient (..., P), and u -> H u, both (..., P), without the Hessian itself."""
    parts = _forward(theta, data)
    jacobian, ww, wb, bb, wa, ba = _second(parts, data)
    h = ww.shape[-1]

    def product(u: Tensor) -> Tensor:
        w, b, a, c = torch.split(u, [h, h, h, 1], dim=-1)
        bent = torch.cat([ww * w + wb * b + wa * a, wb * w + bb * b + ba * a, wa * w + ba * b, torch.zeros_like(c)], -1)
        along = jacobian @ u.unsqueeze(-1)  # (..., n, 1)
        return ((along.mT @ jacobian).squeeze(-2) + bent) * (2 / len(data.x))

    return parts.residual.square().mean(-1), _gradient(parts, data), product


def _gradient(parts: _Parts, data: Data) -> Tensor:
    a, t, r = parts
    rows = torch.stack([r * data.x, r], dim=-2)  # (..., 2, n)
    by_input, by_bias = (rows @ (1 - t * t)).unbind(-2)  # (..., h)
    by_a = (r.unsqueeze(-2) @ t).squeeze(-2)  # (..., h)
    gradient = torch.cat([a * by_input, a * by_bias, by_a, r.sum(-1, keepdim=True)], dim=-1)
    return gradient * (2 / len(data.x))


def _hessian(parts: _Parts, data: Data) -> Tensor:
    """2/n (J^T J + sum_i r_i f''_i)."""
    jacobian, ww, wb, bb, wa, ba = _second(parts, data)
    h = ww.shape[-1]
    full = jacobian.mT @ jacobian  # (..., P, P)
    w, b, a = (slice(k * h, (k + 1) * h) for k in range(3))
    for rows, columns, sums in ((w, w, ww), (w, b, wb), (b, b, bb), (w, a, wa), (b, a, ba)):
        full[..., rows, columns].diagonal(dim1=-2, dim2=-1).add_(sums)
        if rows != columns:
            full[..., columns, rows].diagonal(dim1=-2, dim2=-1).add_(sums)
    return full.mul_(2 / len(data.x))


def _second(parts: _Parts, data: Data) -> _Second:
    a, t, r = parts
    x = data.x
    slope = 1 - t * t  # (..., n, h) tanh'
    by_bias = a.unsqueeze(-2) * slope  # (..., n, h)
    jacobian = torch.cat([by_bias * x.unsqueeze(-1), by_bias, t, torch.ones_like(t[..., :1])], dim=-1)  # (..., n, P)
    rows = torch.stack([r * x * x, r * x, r], dim=-2)  # (..., 3, n)
    bends = rows @ (by_bias * t) * -2  # (..., 3, h); -2 t (1 - t^2) is tanh''
    tilts = rows[..., 1:, :] @ slope  # (..., 2, h)
    return _Second(jacobian, *bends.unbind(-2), *tilts.unbind(-2))


def _forward(theta: Tensor, data: Data) -> _Parts:
    h = (theta.shape[-1] - 1) // 3
    w, b, a, c = torch.split(theta, [h, h, h, 1], dim=-1)
    t = torch.tanh(data.x.unsqueeze(-1) * w.unsqueeze(-2) + b.unsqueeze(-2))  # (..., n, h)
    return _Parts(a, t, (t @ a.unsqueeze(-1)).squeeze(-1) + c - data.y)
