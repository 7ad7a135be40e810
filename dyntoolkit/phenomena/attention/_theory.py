"""The best diagonal step of gradient descent on the examples of a prompt, for Gaussian inputs.

A prompt: n pairs (x, y), x ~ N(0, diag(lambda)), y = w.x + noise, and a further x_q. The step answers h^T diag(eta) x_q
with h = (1/n) sum_i y_i x_i. arXiv 2307.03576.
"""

from typing import NamedTuple, Self

import numpy as np

Array = np.ndarray


def variances(dim: int, condition: float) -> Array:
    """lambda (d,): from large to small, geometric, mean 1, the largest `condition` times the smallest."""
    falling = condition ** -np.linspace(0, 1, dim)  # (d,)
    return np.asarray(falling / falling.mean())


class Step(NamedTuple):
    """The expected loss 1/2 (total - 2 sum linear eta + sum quadratic eta^2) of the step sizes eta (d,).

    total: E (w.x_q)^2. linear, quadratic: (d,).
    """

    total: float
    linear: Array
    quadratic: Array

    @classmethod
    def of(cls, variances: Array, n: int, noise_std: float, whitened: bool) -> Self:
        """For tasks w ~ N(0, I), or N(0, Sigma^-1) if whitened. variances: lambda (d,)."""
        d = len(variances)
        # E S A S = (1 + 1/n) Sigma A Sigma + tr(Sigma A) Sigma/n for S = (1/n) sum x x^T and A = E w w^T
        if whitened:
            return cls(float(d), variances, variances**2 * (n + d + 1 + noise_std**2) / n)
        spread = (1 + 1 / n) * variances + (variances.sum() + noise_std**2) / n  # (d,)
        return cls(float(variances.sum()), variances**2, variances**2 * spread)

    @property
    def eta(self) -> Array:
        """The best step sizes (d,)."""
        return np.asarray(self.linear / self.quadratic)

    @property
    def loss(self) -> float:
        """The loss of these."""
        return float(self.total - (self.linear**2 / self.quadratic).sum()) / 2

    @property
    def plain_loss(self) -> float:
        """The loss of the best step size that is the same in all directions."""
        return float(self.total - self.linear.sum() ** 2 / self.quadratic.sum()) / 2
