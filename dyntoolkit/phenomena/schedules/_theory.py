"""What SGD on the regression does in expectation: exactly, and by the functional scaling law (arXiv 2509.19189).

Both are recursions over the updates for each coordinate j, in float64. The law, for any learning rates lr_k and batches
B_k, with the intrinsic time T_k = sum_{i<k} lr_i:

    L(T_n) = e(T_n) + sum_{k<n} (lr_k^2/B_k) K(T_n - T_k) (noise_std^2 + e(T_k)),
    e(T) = sum_j lambda_j m_j(0) exp(-2 lambda_j T),   K(T) = sum_j lambda_j^2 exp(-2 lambda_j T).

It lies below the exact curve where noise dominates: it leaves out what the noise itself adds to the noise.
"""

from typing import NamedTuple

import numpy as np

from dyntoolkit.engine.history import Array


class Moments(NamedTuple):
    """Where both theories stand, (..., M) each.

    exact: m_j = E v_j^2. drift: lambda_j m_j(0) exp(-2 lambda_j T), of which e(T) is the sum. spread: q_j, what is left
    in coordinate j of the noise of all updates so far.
    """

    exact: Array
    drift: Array
    spread: Array

    @classmethod
    def start(cls, variances: Array, start: Array) -> "Moments":
        """Before the first update. start: E v_j(0)^2."""
        return cls(start, variances * start, np.zeros_like(start))

    def risks(self, variances: Array) -> tuple[Array, Array]:
        """The excess risk, exact and by the law, (...) each; NaN where it is not finite."""
        found = (variances * self.exact).sum(-1), (self.drift + self.spread).sum(-1)
        exact, law = (np.where(np.isfinite(risk), risk, np.nan) for risk in found)
        return exact, law


class Update(NamedTuple):
    """One update of SGD as factors of both recursions, made once for all updates that are alike. All (..., M)."""

    variances: Array
    keep: Array
    mix: Array
    noise: Array
    decay: Array
    kick: Array

    @classmethod
    def of(cls, variances: Array, noise_std: Array, lr: Array, batch: float | Array) -> "Update":
        """variances: (..., M). noise_std, lr, batch: (..., 1)."""
        step = lr * variances
        keep, mix = 1 - 2 * step + step**2 * (1 + 1 / batch), lr * step / batch
        return cls(variances, keep, mix, noise_std**2, np.exp(-2 * step), step**2 / batch)

    def __call__(self, moments: Moments) -> Moments:
        """The moments after it."""
        exact, drift, spread = moments
        L = (self.variances * exact).sum(-1, keepdims=True)  # before the step
        e = drift.sum(-1, keepdims=True)  # e(T)
        return Moments(
            # m_j <- m_j (1 - 2 lr lambda_j + lr^2 lambda_j^2 (1 + 1/B)) + lr^2 lambda_j (L + noise_std^2)/B
            self.keep * exact + self.mix * (L + self.noise),
            drift * self.decay,
            # q_j <- (q_j + lr^2 lambda_j^2/B (noise_std^2 + e(T))) exp(-2 lr lambda_j)
            (spread + self.kick * (self.noise + e)) * self.decay,
        )
