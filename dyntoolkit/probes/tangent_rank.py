"""The tangent space of a two-layer tanh network: how many directions of functions its parameters move it in."""

import torch

Tensor = torch.Tensor


def tangent_singular_values(w: Tensor, b: Tensor, a: Tensor, x: Tensor) -> Tensor:
    """Singular values of the derivatives of f(x) = sum_k a_k tanh(w_k x + b_k) by its 3m parameters, on a grid.

    w, b, a: (R, m). x: (n,). Returns (R, min(3m, n)), from the largest.
    """
    activation = torch.tanh(w.unsqueeze(2) * x + b.unsqueeze(2))  # (R, m, n)
    by_b = a.unsqueeze(2) * (1 - activation.square())  # (R, m, n)
    derivatives = torch.cat([activation, by_b * x, by_b], 1)  # (R, 3m, n) by a, w, b
    values: Tensor = torch.linalg.svdvals(derivatives)
    return values


def tangent_rank(singular_values: Tensor, relative: float = 1e-8) -> Tensor:
    """How many singular values (R, N) exceed `relative` of the largest, (R,); so a numerical rank.

    It is the smallest number of points from which such a network may be recovered (the optimistic sample size of Zhang
    et al. 2024, arXiv 2406.18035), 3 for each different neuron.
    """
    return (singular_values > relative * singular_values[:, :1]).sum(1)
