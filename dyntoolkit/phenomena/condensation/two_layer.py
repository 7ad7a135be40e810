"""Two-layer networks on a one-dimensional input, R of one width in a batch.

f(x) = sum_k a_k sigma(w_k x + b_k); a run's weights are theta (3, m), the rows w, b and a. The loss is
(1/n) sum_i (f(x_i) - y_i)^2; its gradient is written out, four times as fast here as autograd.
"""

import torch

from dyntoolkit.engine.activations import ACTIVATIONS

Tensor = torch.Tensor


def hidden(theta: Tensor, x: Tensor, activation: str) -> Tensor:
    """sigma(w x + b) of every neuron at the points x (n,), (R, n, m). theta: (R, 3, m)."""
    w, b = theta[:, :1], theta[:, 1:2]  # (R, 1, m) each
    return ACTIVATIONS[activation](torch.addcmul(b, x.view(1, -1, 1), w))


def outputs(theta: Tensor, x: Tensor, activation: str) -> Tensor:
    """f at the points x (n,), (R, n)."""
    return (hidden(theta, x, activation) @ theta[:, 2].unsqueeze(2)).squeeze(2)


def loss(theta: Tensor, x: Tensor, y: Tensor, activation: str) -> Tensor:
    """Mean squared error at the points x, y (n,), (R,)."""
    return (outputs(theta, x, activation) - y).square().mean(1)


def gradient(theta: Tensor, x: Tensor, y: Tensor, activation: str, mask: Tensor | None = None) -> Tensor:
    """The gradient of the loss, (R, 3, m), for "relu" (whose slope at 0 is 0) or "tanh".

    mask: (R, m) factors on the neurons' outputs, as in dropout; None for none.
    """
    h, a = hidden(theta, x, activation), theta[:, 2:]  # (R, n, m), (R, 1, m)
    slope = 1 - h * h if activation == "tanh" else (h > 0).to(h.dtype)
    if mask is not None:
        h, slope = h * mask.unsqueeze(1), slope * mask.unsqueeze(1)
    residual = h @ a.mT - y.view(1, -1, 1)  # (R, n, 1)
    inputs = torch.stack([x, torch.ones_like(x)]).expand(len(theta), -1, -1)  # (R, 2, n)
    of_first = torch.bmm(inputs, residual * slope) * a  # (R, 2, m)
    of_second = torch.bmm(residual.mT, h)  # (R, 1, m)
    return torch.cat([of_first, of_second], 1) * (2 / len(x))


def orientation(theta: Tensor) -> Tensor:
    """The direction of (w, b) in degrees from -180 to 180, sign(b) arccos(w / |(w, b)|), (R, m)."""
    w, b = theta[:, 0], theta[:, 1]
    return torch.where(b < 0, -1, 1) * torch.rad2deg(torch.acos((w / torch.hypot(w, b)).clamp(-1, 1)))


def amplitude(theta: Tensor) -> Tensor:
    """|a| |(w, b)| of every neuron, (R, m)."""
    return theta[:, 2].abs() * torch.hypot(theta[:, 0], theta[:, 1])
