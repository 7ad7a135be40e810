"""Average sharpness of a block of weights: the trace of its Fisher information, per weight."""

from collections.abc import Callable

import torch

Tensor = torch.Tensor


def fisher_diagonal(model: Callable[[Tensor], Tensor], theta: Tensor, uniform: Tensor) -> Tensor:
    """The diagonal of the Fisher information per token, estimated with labels from the model itself, (R, P).

    model(theta (R, P)) -> logits (R, N, V) of N tokens. uniform: (R, draws, N) random numbers from [0, 1).
    In each draw every token gets a label from the model's softmax, and g is the gradient of the mean cross-entropy with
    these labels. The estimate is the mean over draws of N g^2. Products between tokens vanish on average, for such
    labels have scores of mean zero; so its expectation is the mean over tokens of E (d ln p / d theta)^2, the diagonal
    of the Gauss-Newton part of the Hessian (Martens 2014, arXiv 1412.1193).
    One forward pass, and one backward pass per draw.
    """
    tokens = uniform.shape[2]
    with torch.enable_grad():
        leaf = theta.detach().requires_grad_()
        log_p = model(leaf).log_softmax(-1)  # (R, N, V)
        total = torch.zeros_like(theta)
        for u in uniform.unbind(1):  # (R, N)
            labels = sampled_labels(log_p.detach().exp(), u)
            loss = -log_p.gather(2, labels.unsqueeze(2)).mean((1, 2))  # (R,)
            (g,) = torch.autograd.grad(loss.sum(), leaf, retain_graph=True)  # (R, P)
            total += tokens * g.square()
    return total / uniform.shape[1]


def sampled_labels(probability: Tensor, uniform: Tensor) -> Tensor:
    """The class in whose stretch of [0, 1) each number lies: (..., V) and (...) -> int64 (...)."""
    beyond = probability.cumsum(-1) <= uniform.unsqueeze(-1)  # (..., V)
    return beyond.sum(-1).clamp_max(probability.shape[-1] - 1)  # the sum of all may round to less than 1


def average_sharpness(diagonal: Tensor, block: Tensor) -> Tensor:
    """Trace over the block's weights divided by their number, S_b of Wang et al. 2025 (arXiv 2502.19002), (R,).

    diagonal: (R, P), as from `fisher_diagonal`. block: bool (P,).
    """
    return diagonal[:, block].mean(1)
