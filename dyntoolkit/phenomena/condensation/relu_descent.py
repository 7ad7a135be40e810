"""Gradient descent of two-layer ReLU networks on a one-dimensional input, many networks of one width in a batch.

f(x) = sum_k a_k relu(w_k x + b_k) with the loss (1/n) sum_i (f(x_i) - y_i)^2, the step from the trace of the tangent
kernel.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from dyntoolkit.engine.update import PerRun
from dyntoolkit.phenomena.condensation.two_layer import gradient

Tensor = torch.Tensor


class State(NamedTuple):
    """The weights of R networks of width m: input weights w, biases b and output weights a."""

    theta: Tensor  # (R, 3, m) rows w, b, a


def make_step(x: Tensor, y: Tensor, lr: Tensor) -> Callable[[State, None], State]:
    """One step of gradient descent on all points; lr: (R,)."""
    rate = lr.to(x.dtype).view(-1, 1, 1)

    def step(state: State, _: None) -> State:
        return State(torch.addcmul(state.theta, rate, gradient(state.theta, x, y, "relu"), value=-1))

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
