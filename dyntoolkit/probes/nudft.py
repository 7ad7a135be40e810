"""The Fourier spectrum of values at points that need not lie on a grid."""

import torch

Tensor = torch.Tensor


def nudft(values: Tensor, points: Tensor, frequencies: Tensor) -> Tensor:
    """|(1/n) sum_j y_j exp(-i k.x_j)| for every frequency k, the non-uniform discrete Fourier transform; float64.

    values: (..., n) y_j. points: (..., n, d) x_j, or (n, d) shared. frequencies: (K, d), in radians per unit of x.
    Returns (..., K). A plain average over the points, also where they crowd: no window, no density weights. A sine
    of amplitude 1 over whole periods, evenly sampled, gives 1/2 at its own frequency.
    """
    values = values.double().unsqueeze(-2)  # (..., 1, n)
    phase = points.double() @ frequencies.double().mT  # (..., n, K)
    real, imaginary = ((values @ wave).squeeze(-2) for wave in (torch.cos(phase), torch.sin(phase)))  # (..., K)
    return torch.hypot(real, imaginary) / values.shape[-1]
