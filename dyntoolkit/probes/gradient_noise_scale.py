"""The gradient noise scale: from which batch size on the noise of a gradient is smaller than the gradient."""

import torch

Tensor = torch.Tensor


def gradient_noise_scale(gradients: Tensor) -> Tensor:
    """tr(Sigma)/|G|^2 in samples, (R,), from the gradients of single samples (R, m, P); Sigma is their covariance.

    G is the mean over these samples, which are taken for all there are. The simple noise scale of McCandlish et al.
    2018 (arXiv 1812.06162), equation 2.9. Infinite where the mean vanishes.
    """
    mean = gradients.mean(1, keepdim=True)  # (R, 1, P)
    spread = (gradients - mean).square().sum((1, 2)) / gradients.shape[1]  # (R,)
    return spread / mean.square().sum((1, 2))
