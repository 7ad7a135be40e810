"""What layerwise linear feature connectivity follows from: weak additivity of the ReLU, and commutativity.

Zhou, Yang, Yang, Yan and Hu 2023, "Going beyond linear mode connectivity: the layerwise linear feature connectivity"
(arXiv 2307.08286). Inputs H (R, n, in) and weights W (R, in, out) of one layer of two networks i and j.
"""

import torch

Tensor = torch.Tensor
TINY = 1e-12  # added to denominators: a dead layer has all-zero inputs


def relative_square(A: Tensor, B: Tensor) -> Tensor:
    """|A - B|_F^2 / (|A|_F |B|_F) of each run, (R, n, m) -> (R,) float64."""
    A, B = A.double(), B.double()
    return _square(A - B) / (_size(A) * _size(B) + TINY)


def commutativity(H_i: Tensor, W_i: Tensor, H_j: Tensor, W_j: Tensor) -> Tensor:
    """How far H_i W_i + H_j W_j is from H_i W_j + H_j W_i, as `relative_square`: (R,)."""
    H_i, W_i, H_j, W_j = (part.double() for part in (H_i, W_i, H_j, W_j))
    # their sum is (H_i + H_j)(W_i + W_j), their difference (H_i - H_j)(W_i - W_j): two products and not four
    total, apart = (H_i + H_j) @ (W_i + W_j), (H_i - H_j) @ (W_i - W_j)
    return _square(apart) / (_size(total + apart) / 2 * (_size(total - apart) / 2) + TINY)


def additivity(a: Tensor, b: Tensor) -> Tensor:
    """How far relu(a + b) is from relu(a) + relu(b), as `relative_square`; a, b: pre-activations (R, n, out)."""
    return relative_square(torch.relu(a + b), torch.relu(a) + torch.relu(b))


def _size(A: Tensor) -> Tensor:
    """|A|_F, (R,)."""
    size: Tensor = torch.linalg.matrix_norm(A)
    return size


def _square(A: Tensor) -> Tensor:
    return _size(A).square()
