"""How far weights have moved from where they began."""

import torch

Tensor = torch.Tensor


def relative_distance(W: Tensor, W0: Tensor) -> Tensor:
    """|W - W0| / |W0| in the Frobenius norm, run by run.

    W, W0: (R, ...) the weights now and at first. Returns (R,), without unit; NaN or infinite for W0 = 0.
    RD of Luo et al. 2021, Phase diagram for two-layer ReLU neural networks at infinite-width limit (JMLR 22).
    """
    moved: Tensor = (W - W0).flatten(1).norm(dim=1)  # (R,)
    first: Tensor = W0.flatten(1).norm(dim=1)
    return moved / first
