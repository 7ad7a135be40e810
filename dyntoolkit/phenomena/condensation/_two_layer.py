"""Two-layer networks on a one-dimensional input, R of one width in a batch, and their gradient descent.

f(x) = sum_k a_k sigma(w_k x + b_k); a run's weights are theta (3, m), the rows w, b and a. The loss is
(1/n) sum_i (f(x_i) - y_i)^2; its gradient is written out, four times as fast here as autograd.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.update import PerRun

Tensor = torch.Tensor


class State(NamedTuple):
    """The weights of R networks of width m."""

    theta: Tensor  # (R, 3, m) rows w, b, a


def hidden(theta: Tensor, x: Tensor, activation: str) -> Tensor:
    """sigma(w x + b) of every neuron at the points x (n,), (R, n, m). theta: (R, 3, m)."""
    w, b = theta[:, :1], theta[:, 1:2]  # (R, 1, m) each
    return ACTIVATIONS[activation](torch.addcmul(b, x.view(1, -1, 1), w))  # (R, n, m)


def outputs(theta: Tensor, x: Tensor, activation: str) -> Tensor:
    """f at the points x (n,), (R, n). theta: (R, 3, m)."""
    return (hidden(theta, x, activation) @ theta[:, 2].unsqueeze(2)).squeeze(2)  # (R, n)


def loss(theta: Tensor, x: Tensor, y: Tensor, activation: str) -> Tensor:
    """Mean squared error at the points x, y (n,), (R,). theta: (R, 3, m)."""
    return (outputs(theta, x, activation) - y).square().mean(1)


def gradient(theta: Tensor, x: Tensor, y: Tensor, activation: str, mask: Tensor | None = None) -> Tensor:
    """The gradient of the loss, (R, 3, m), for "relu" (whose slope at 0 is 0) or "tanh".

    mask: (R, m) factors on the neurons' outputs, as in dropout; None for none.
    """
    h = hidden(theta, x, activation)  # (R, n, m)
    a = theta[:, 2:]  # (R, 1, m)
    slope = 1 - h * h if activation == "tanh" else (h > 0).to(h.dtype)  # (R, n, m) sigma'(w x + b)
    if mask is not None:
        h = h * mask.unsqueeze(1)  # (R, n, m)
        slope = slope * mask.unsqueeze(1)  # (R, n, m)
    residual = h @ a.mT - y.view(1, -1, 1)  # (R, n, 1)
    inputs = torch.stack([x, torch.ones_like(x)]).expand(len(theta), -1, -1)  # (R, 2, n)
    of_first = torch.bmm(inputs, residual * slope) * a  # (R, 2, m)
    of_second = torch.bmm(residual.mT, h)  # (R, 1, m)
    return torch.cat([of_first, of_second], 1) * (2 / len(x))  # (R, 3, m)


def make_step(x: Tensor, y: Tensor, lr: Tensor, activation: str) -> Callable[[State, None], State]:
    """One step of gradient descent on all points x, y (n,); lr: (R,)."""
    rate = lr.to(x.dtype).view(-1, 1, 1)  # (R, 1, 1)

    def step(state: State, _: None) -> State:
        return State(torch.addcmul(state.theta, rate, gradient(state.theta, x, y, activation), value=-1))

    return step


def kernel_trace(theta: Tensor, x: Tensor) -> Tensor:
    """T_0, the trace of the tangent kernel of ReLU networks on the points x (n,), (R,). theta: (R, 3, m).

    It is sum_i |df(x_i)/dtheta|^2 = sum_i sum_k relu(z_ki)^2 + (a_k relu'(z_ki))^2 (x_i^2 + 1).
    """
    w, b, a = theta.unsqueeze(2).unbind(1)  # (R, 1, m) each
    z = w * x.view(1, -1, 1) + b  # (R, n, m)
    squares = torch.relu(z).square() + (a * (z > 0)).square() * (x.square() + 1).view(1, -1, 1)  # (R, n, m)
    return squares.sum((1, 2))  # (R,)


def ntk_step(theta: Tensor, x: Tensor, lr_factor: PerRun, lr_damping: PerRun) -> Tensor:
    """The step lr_factor / (2/n T_0 + lr_damping), (R,); at a fit no eigenvalue of the Hessian exceeds 2/n T_0.

    theta: (R, 3, m) the initial weights. x: (n,). T_0: see `kernel_trace`.
    """
    return lr_factor / (2 / len(x) * kernel_trace(theta, x) + lr_damping)


def orientation(theta: Tensor) -> Tensor:
    """The direction of (w, b) in degrees from -180 to 180, sign(b) arccos(w / |(w, b)|), (R, m). theta: (R, 3, m)."""
    w, b = theta[:, 0], theta[:, 1]  # (R, m) each
    return torch.where(b < 0, -1, 1) * torch.rad2deg(torch.acos((w / torch.hypot(w, b)).clamp(-1, 1)))


def amplitude(theta: Tensor) -> Tensor:
    """|a| |(w, b)| of every neuron, (R, m). theta: (R, 3, m)."""
    return theta[:, 2].abs() * torch.hypot(theta[:, 0], theta[:, 1])
