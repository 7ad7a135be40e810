"""How different two kernels are, whatever their sizes."""

import torch

Tensor = torch.Tensor

ROUNDING = 1e-14  # of a cosine in float64: smaller distances are none


def kernel_distance(H: Tensor, K: Tensor) -> Tensor:
    """1 - <H, K>_F / (|H|_F |K|_F), in float64: 0 for kernels that are multiples of each other.

    H, K: (..., n, n), whose leading axes broadcast. Returns (...), without unit; NaN for a kernel that is zero.
    """
    H, K = H.double().flatten(-2), K.double().flatten(-2)  # (..., n n)
    norm = torch.linalg.vector_norm
    distance = 1 - (H * K).sum(-1) / (norm(H, dim=-1) * norm(K, dim=-1))
    return torch.where(distance.abs() < ROUNDING, 0.0, distance)


def kernel_angle(distance: Tensor) -> Tensor:
    """The angle between two kernels at this distance, in radians: arccos(1 - distance)."""
    return torch.arccos((1 - distance).clamp(-1, 1))
