"""The Walsh spectrum of a function on the cube {-1, 1}^n: its weight on products of coordinates.

Point i of the cube, i = 0..2^n - 1, has the coordinates x_b = 1 - 2 (bit b of i); the set S of coordinates is written
as the whole number with the bits b in S. So the product of the x_b with b in S is (-1)^(number of bits in i & S).
"""

import numpy as np
import torch

from dyntoolkit.errors import InputError

Tensor = torch.Tensor


def cube(n_bits: int) -> Tensor:
    """All points of {-1, 1}^n in order, (2^n, n) float32; column b holds x_b."""
    index = torch.arange(2**n_bits, dtype=torch.int64).unsqueeze(1)  # (N, 1)
    return 1.0 - 2 * (index >> torch.arange(n_bits, dtype=torch.int64) & 1).float()


def walsh(values: Tensor) -> Tensor:
    """h(S) = (1/N) sum_x h(x) prod_{b in S} x_b for all 2^n sets S, (..., N) -> (..., N) float64.

    The fast Walsh-Hadamard transform: n rounds of sums and differences. InputError unless N is a power of 2.
    """
    N = values.shape[-1]
    if N & (N - 1) or N == 0:
        raise InputError(f"values takes a number for each of the 2^n points of a cube, got {N}.", "values")
    result, half = values.double(), 1
    while half < N:
        pairs = result.view(*values.shape[:-1], -1, 2, half)
        one, other = pairs[..., 0, :], pairs[..., 1, :]
        result = torch.stack([one + other, one - other], dim=-2).view(values.shape)
        half *= 2
    return result / N


def degrees(n_bits: int) -> Tensor:
    """The number of coordinates in each of the 2^n sets, (2^n,) int64."""
    return torch.from_numpy(np.bitwise_count(np.arange(2**n_bits)).astype(np.int64))


def degree_weights(coefficients: Tensor) -> Tensor:
    """W_d = sum of h(S)^2 over the sets of d coordinates, d = 0..n: (R, 2^n) -> (R, n + 1)."""
    n_bits = coefficients.shape[-1].bit_length() - 1
    weights = coefficients.new_zeros(len(coefficients), n_bits + 1)
    return weights.index_add_(1, degrees(n_bits), coefficients.square())
