"""How evenly attention is spread over the places that it may take from."""

import torch


def attention_entropy(weights: torch.Tensor) -> torch.Tensor:
    """-sum_j a_ij ln(a_ij + 1e-12) in nats of each head, mean over batch and places i >= 1 (place 0 has no choice).

    weights: a, causal attention (R, B, heads, T, T). Returns (R, heads), from 0 (all from one place) to the mean of
    ln(i + 1) (evenly from all). Zhai et al. 2023 (arXiv 2303.06296).

    >>> even = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    >>> attention_entropy(even[None, None, None])
    tensor([[0.6931]])
    """
    each = -(weights * (weights + 1e-12).log()).sum(-1)  # (R, B, heads, T)
    return each[..., 1:].mean((1, 3))
