"""Curvature along the step that Adam would take from the gradient alone."""

from collections.abc import Callable

import torch

Loss = Callable[[torch.Tensor], torch.Tensor]  # theta (R, P) -> (R,)
Product = Callable[[torch.Tensor], torch.Tensor]  # v (..., P) -> H v (..., P)


def gradient_curvature(product: Product, gradient: torch.Tensor, preconditioner: torch.Tensor) -> torch.Tensor:
    """g^T D H g / g^T g = g . H(D g) / g . g (D once, not symmetrized), (..., P) -> (...); costs one product with H.

    preconditioner: the diagonal D = 1/(sqrt(v) + eps) (..., P). NaN where the gradient is zero. Times
    `momentum_factor`, the loss starts to rise where it passes 2/lr (Bai et al. 2025, arXiv 2506.04805).
    """
    turned = product(preconditioner * gradient)  # (..., P)
    return (gradient * turned).sum(-1) / gradient.square().sum(-1)


def hessian_product(loss: Loss, theta: torch.Tensor) -> Product:
    """v (R, P) -> H v (R, P) for the Hessian of a loss (R, P) -> (R,) at theta, reverse over reverse.

    Costs about two gradients more than the loss and the gradient, whatever P is, and all runs share it.
    """
    return loss_gradient_product(loss, theta)[2]


def loss_gradient_product(loss: Loss, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Product]:
    """Values (R,) and gradients (R, P) of the loss at theta (R, P), and `hessian_product` from the same graph."""
    with torch.enable_grad():
        leaf = theta.detach().requires_grad_()
        value = loss(leaf)  # (R,)
        (gradient,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)  # (R, P)

    def product(vector: torch.Tensor) -> torch.Tensor:
        # H v is the gradient of g . v with v held fixed
        (turned,) = torch.autograd.grad(gradient, leaf, vector, retain_graph=True)
        return turned

    return value.detach(), gradient.detach(), product
