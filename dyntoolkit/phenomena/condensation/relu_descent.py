"""Gradient descent of two-layer ReLU networks on a one-dimensional input, many networks of one width in a batch.

f(x) = sum_k a_k relu(w_k x + b_k) with the loss (1/n) sum_i (f(x_i) - y_i)^2, the step from the trace of the tangent
kernel; the gradient is written out, four times as fast here as autograd.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from dyntoolkit.engine.update import PerRun

Tensor = torch.Tensor


class State(NamedTuple):
    """The weights of R networks of width m: input weights w, biases b and output weights a."""

    theta: Tensor  # (R, 3, m) rows w, b, a


def outputs(theta: Tensor, x: Tensor) -> Tensor:
    """The networks' values at the points x (n,), (R, n). theta: (R, 3, m)."""
    w, b, a = theta.unsqueeze(2).unbind(1)  # (R, 1, m) each
    hidden = torch.relu(w * x.view(1, -1, 1) + b)  # (R, n, m)
    return (hidden @ a.mT).squeeze(2)


def loss(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error over the points x, y (n,), (R,)."""
    return (outputs(theta, x) - y).square().mean(1)


def gradient(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of the loss, (R, 3, m); the derivative of relu at 0 is 0."""
    w, b, a = torch.split(theta, 1, dim=1)  # (R, 1, m) each
    z = torch.addcmul(b, x.view(1, -1, 1), w)  # (R, n, m)
    hidden = torch.relu(z)
    residual = torch.bmm(hidden, a.mT) - y.unsqueeze(1)  # (R, n, 1)
    inputs = torch.stack([x, torch.ones_like(x)]).expand(len(theta), -1, -1)  # (R, 2, n)
    of_first = torch.bmm(inputs, residual * (z > 0)) * a  # (R, 2, m)
    of_second = torch.bmm(residual.mT, hidden)  # (R, 1, m)
    return torch.cat([of_first, of_second], 1) * (2 / len(x))


def make_step(x: Tensor, y: Tensor, lr: Tensor) -> Callable[[State, None], State]:
    """One step of gradient descent on all points; lr: (R,)."""
    rate = lr.to(x.dtype).view(-1, 1, 1)

    def step(state: State, _: None) -> State:
        return State(torch.addcmul(state.theta, rate, gradient(state.theta, x, y), value=-1))

    return step


def kernel_trace(theta: Tensor, x: Tensor) -> Tensor:
    """Trace of the tangent kernel on the points x (n,), (R,).

    It is sum_i |df(x_i)/dtheta|^2 = sum_i sum_k relu(z_ki)^2 + (a_k relu'(z_ki))^2 (x_i^2 + 1).
    """
    w, b, a = theta.unsqueeze(2).unbind(1)  # (R, 1, m) each
    z = w * x.view(1, -1, 1) + b  # (R, n, m)
    squares = torch.relu(z).square() + (a * (z > 0)).square() * (x.square() + 1).view(1, -1, 1)
    return squares.sum((1, 2))


def ntk_step(theta: Tensor, x: Tensor, lr_factor: PerRun, lr_damping: PerRun) -> Tensor:
    """The step lr_factor / (2/n trace + lr_damping), (R,); at a fit no eigenvalue of the Hessian exceeds 2/n trace.

    theta: (R, 3, m) the initial weights. x: (n,). The trace is that of the tangent kernel, see `kernel_trace`.
    """
    return lr_factor / (2 / len(x) * kernel_trace(theta, x) + lr_damping)
