"""Update rules as pure functions, state and gradient in, state out, with hyperparameters of their own for every run.

A state is a NamedTuple of tensors with leading run axis R, as the training loop wants it; theta is (R, P). A
hyperparameter is one number for all runs or (R,). Give (R,) ones in float64 where they are decimal fractions such as
beta2 = 0.999: the bias correction divides by 1 - beta2, in which a float32 number has lost four digits.
"""

from typing import NamedTuple, Self

import torch

from dyntoolkit.engine.gradient import ValueAndGrad

PerRun = float | torch.Tensor  # one number for all runs, or (R,)


class Sgd(NamedTuple):
    """What gradient descent remembers: the weights (R, P).

    >>> Sgd(torch.ones(1, 2)).theta
    tensor([[1., 1.]])
    """

    theta: torch.Tensor


class Momentum(NamedTuple):
    """What momentum remembers: the weights and the velocity, both (R, P).

    >>> Momentum.start(torch.ones(1, 2)).velocity
    tensor([[0., 0.]])
    """

    theta: torch.Tensor
    velocity: torch.Tensor

    @classmethod
    def start(cls, theta: torch.Tensor) -> Self:
        """At rest."""
        return cls(theta, torch.zeros_like(theta))


class Adam(NamedTuple):
    """What Adam remembers: weights, running means of gradient and its square (R, P), the number of updates (R,).

    >>> Adam.start(torch.ones(3, 2)).updates
    tensor([0, 0, 0])
    """

    theta: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor
    updates: torch.Tensor

    @classmethod
    def start(cls, theta: torch.Tensor) -> Self:
        """Before the first update."""
        none = torch.zeros(len(theta), dtype=torch.int64, device=theta.device)  # (R,)
        return cls(theta, torch.zeros_like(theta), torch.zeros_like(theta), none)


class AmsGrad(NamedTuple):
    """What AMSGrad remembers: as Adam, and the largest bias-corrected mean square so far (R, P)."""

    theta: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor
    peak: torch.Tensor
    updates: torch.Tensor

    @classmethod
    def start(cls, theta: torch.Tensor) -> Self:
        """Before the first update."""
        theta, mean, square, updates = Adam.start(theta)
        return cls(theta, mean, square, torch.zeros_like(theta), updates)


def sgd(state: Sgd, gradient: torch.Tensor, lr: PerRun, weight_decay: PerRun | None = None) -> Sgd:
    """theta - lr (g + weight_decay theta), as torch.optim.SGD. gradient: (R, P).

    >>> sgd(Sgd(torch.ones(1, 2)), torch.tensor([[1.0, 2.0]]), lr=0.1).theta
    tensor([[0.9000, 0.8000]])
    """
    gradient = _decayed(gradient, state.theta, weight_decay)
    return Sgd(torch.addcmul(state.theta, _column(lr, gradient), gradient, value=-1))


def momentum(
    state: Momentum, gradient: torch.Tensor, lr: PerRun, mu: PerRun, weight_decay: PerRun | None = None
) -> Momentum:
    """Heavy ball, as torch.optim.SGD: v <- mu v + g + weight_decay theta, theta <- theta - lr v. gradient: (R, P).

    >>> momentum(Momentum.start(torch.ones(1, 2)), torch.tensor([[1.0, 2.0]]), lr=0.1, mu=0.9).theta
    tensor([[0.9000, 0.8000]])
    """
    gradient = _decayed(gradient, state.theta, weight_decay)
    velocity = torch.addcmul(gradient, _column(mu, gradient), state.velocity)  # (R, P)
    return Momentum(torch.addcmul(state.theta, _column(lr, gradient), velocity, value=-1), velocity)


def adam(
    state: Adam,
    gradient: torch.Tensor,
    lr: PerRun,
    beta1: PerRun = 0.9,
    beta2: PerRun = 0.999,
    eps: PerRun = 1e-8,
    weight_decay: PerRun | None = None,
    decoupled: bool = False,
) -> Adam:
    """Adam as torch.optim.Adam (Kingma and Ba 2014, arXiv 1412.6980), with eps outside the root. gradient: (R, P).

    weight_decay is added to the gradient (L2), or, if `decoupled`, shrinks theta by lr weight_decay as
    torch.optim.AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101). It may be (R, P), a number for each weight.

    >>> adam(Adam.start(torch.ones(1, 2)), torch.tensor([[2.0, -3.0]]), lr=0.1).theta
    tensor([[0.9000, 1.1000]])
    """
    theta = state.theta
    rate, b1, b2 = (_column(value, theta, torch.float64) for value in (lr, beta1, beta2))  # (R, 1)
    if decoupled and weight_decay is not None:
        theta = theta * (1 - rate * _column(weight_decay, theta, torch.float64)).to(theta.dtype)
    elif weight_decay is not None:
        gradient = _decayed(gradient, theta, weight_decay)
    updates = state.updates + 1  # (R,)
    mean = torch.lerp(state.mean, gradient, (1 - b1).to(theta.dtype))  # (R, P)
    square = torch.addcmul(state.square * b2.to(theta.dtype), gradient * (1 - b2).to(theta.dtype), gradient)  # (R, P)
    t = updates.view(-1, 1)
    scale = rate / (1 - b1**t)  # (R, 1)
    root = torch.sqrt(1 - b2**t)  # (R, 1)
    step = mean / (torch.sqrt(square) / root.to(theta.dtype) + _column(eps, theta))  # (R, P)
    return Adam(torch.addcmul(theta, scale.to(theta.dtype), step, value=-1), mean, square, updates)


def amsgrad(
    state: AmsGrad, gradient: torch.Tensor, lr: PerRun, beta1: PerRun = 0.9, beta2: PerRun = 0.999, eps: PerRun = 1e-8
) -> AmsGrad:
    """Adam whose denominator never shrinks: sqrt of the largest bias-corrected mean square so far. gradient: (R, P).

    After Reddi, Kale and Kumar 2018 (arXiv 1904.09237), who correct no bias; torch.optim.Adam(amsgrad=True) takes the
    maximum before the correction, so that its first steps have other sizes.
    """
    theta = state.theta
    rate, b1, b2 = (_column(value, theta, torch.float64) for value in (lr, beta1, beta2))  # (R, 1)
    updates = state.updates + 1  # (R,)
    t = updates.view(-1, 1)
    mean = torch.lerp(state.mean, gradient, (1 - b1).to(theta.dtype))  # (R, P)
    square = torch.addcmul(state.square * b2.to(theta.dtype), gradient * (1 - b2).to(theta.dtype), gradient)  # (R, P)
    peak = torch.maximum(state.peak, square / (1 - b2**t).to(theta.dtype))  # (R, P)
    scale = (rate / (1 - b1**t)).to(theta.dtype)  # (R, 1)
    step = mean / (torch.sqrt(peak) + _column(eps, theta))  # (R, P)
    return AmsGrad(torch.addcmul(theta, scale, step, value=-1), mean, square, peak, updates)


def clip(gradient: torch.Tensor, limit: PerRun) -> torch.Tensor:
    """The gradient (R, P), shortened to the length `limit` in the runs where it is longer; limit 0 leaves it alone."""
    most = _column(limit, gradient)
    norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)  # (R, 1)
    return torch.where((most > 0) & (norm > most), gradient * (most / norm), gradient)


def sam(
    value_and_grad: ValueAndGrad, theta: torch.Tensor, rho: PerRun, *batch: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss (R,) at theta, and the gradient (R, P) at theta + rho g/|g| on the same batch: sharpness-aware minimization.

    |g| runs over all weights of a run. rho = 0, or a zero gradient, gives the plain gradient. The result goes into any
    update rule (Foret et al. 2020, arXiv 2010.01412).
    """
    loss, gradient = value_and_grad(theta, *batch)
    tiny = torch.finfo(theta.dtype).tiny
    # first by the largest entry, for squares of small entries would vanish
    direction = gradient / gradient.abs().amax(1, keepdim=True).clamp_min(tiny)  # (R, P)
    direction = direction / torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp_min(tiny)
    _, ascended = value_and_grad(torch.addcmul(theta, _column(rho, theta), direction), *batch)
    return loss, ascended


def _column(value: PerRun, like: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A hyperparameter as (R, 1) or (1, 1), to broadcast over theta (R, P); one that is (R, P) stays so."""
    column = torch.as_tensor(value, dtype=dtype or like.dtype, device=like.device)
    return column if column.ndim == 2 else column.view(-1, 1)


def _decayed(gradient: torch.Tensor, theta: torch.Tensor, weight_decay: PerRun | None) -> torch.Tensor:
    """The gradient with that of an L2 penalty added."""
    return gradient if weight_decay is None else torch.addcmul(gradient, _column(weight_decay, theta), theta)
