"""Fourier concentration: is a neuron's weight vector over Z_p a single Fourier mode?"""

import torch

Tensor = torch.Tensor


def mode_shares(weights: Tensor) -> Tensor:
    """Share of each Fourier mode k = 1..(p-1)/2 in the power of each neuron, k = 0 left out.

    weights: (..., p), p odd: what a neuron weighs each residue 0..p-1 with. Returns (..., (p-1)/2) float64, each row
    adding up to 1, without unit; NaN for a neuron without weights.
    """
    power = torch.fft.rfft(weights.double()).abs().square()[..., 1:]  # (..., (p-1)/2); of real numbers, -k is as k
    shares: Tensor = power / power.sum(-1, keepdim=True)
    return shares


def fourier_concentration(weights: Tensor) -> Tensor:
    """Share of the strongest Fourier mode of each neuron, mean over neurons: weights (..., m, p) -> (...).

    1 if every neuron is one pure cosine over Z_p; `random_concentration` for Gaussian weights. A neuron without
    weights does not count. Recipe of `grokking.modular`, after Nanda et al. 2023 (arXiv 2301.05217).
    """
    return mode_shares(weights).amax(-1).nanmean(-1)


def random_concentration(p: int) -> float:
    """Expected concentration of independent Gaussian weights, H_K/K with K = (p-1)/2 modes.

    The powers are then K independent exponential variables, and the largest of K is H_K = 1 + 1/2 + ... + 1/K means.
    """
    modes = (p - 1) // 2
    return sum(1 / k for k in range(1, modes + 1)) / modes
