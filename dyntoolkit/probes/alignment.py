"""Alignment of a weight matrix with a direction of input space."""

import torch

Tensor = torch.Tensor


def alignment(W: Tensor, direction: Tensor) -> Tensor:
    """|W b|^2 / |W|_F^2 for the unit vector b along `direction`: 1 if every row of W is parallel to b, 1/d by chance.

    W: (R, m, d). direction: (R, d), of any length. Returns (R,), without unit; NaN for W = 0.
    """
    b = direction / direction.norm(dim=1, keepdim=True)  # (R, d)
    along: Tensor = (W @ b.unsqueeze(2)).square().sum((1, 2))  # (R,)
    total: Tensor = W.square().sum((1, 2))
    return along / total


def matrix_alignment(M: Tensor, direction: Tensor) -> Tensor:
    """b^T M b / (|M|_F |b|^2): the cosine between the matrix M and the rank-one matrix b b^T.

    M: (R, d, d). direction b: (R, d), of any length. Returns (R,), without unit: 1 if M is b b^T times a positive
    number, 1/sqrt(d) for the identity; NaN for M = 0.
    """
    along: Tensor = (direction.unsqueeze(1) @ M @ direction.unsqueeze(2)).flatten()  # (R,)
    size: Tensor = torch.linalg.matrix_norm(M) * direction.square().sum(1)
    return along / size
