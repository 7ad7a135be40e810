"""Loss and gradient of all runs in one backward pass."""

from collections.abc import Callable

import torch

Loss = Callable[..., torch.Tensor]  # (theta (R, P), *batch) -> (R,)
ValueAndGrad = Callable[..., tuple[torch.Tensor, torch.Tensor]]  # (theta (R, P), *batch) -> (R,), (R, P)


def value_and_grad(loss: Loss) -> ValueAndGrad:
    """The function that gives a loss's values (R,) and gradients (R, P) at theta (R, P).

    loss(theta, *batch) is one number per run, (R,), each from its own row of theta; so the gradient of their sum
    holds every run's own gradient. It works in any thread whatever its grad mode (torch keeps that per thread), and
    neither result keeps a graph.

    >>> value_and_grad(lambda theta: (theta**2).sum(1))(torch.tensor([[1.0, 2.0]]))
    (tensor([5.]), tensor([[2., 4.]]))
    """

    def both(theta: torch.Tensor, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            leaf = theta.detach().requires_grad_()
            value = loss(leaf, *batch)  # (R,)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)  # (R, P)
        return value.detach(), gradient

    return both
