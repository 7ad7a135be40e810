"""The scaling law with learning-rate annealing (Tissue et al. 2024, arXiv 2408.11029), and its fit to measured losses.

L = L0 + A S1^-alpha - C S2, with S1 the area under the learning rate and S2 that of its momentum, which remembers by
how much it has been lowered.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares
from scipy.signal import lfilter

from dyntoolkit.engine.history import Array

DECAYS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
STARTS = ((0.0, -1.0, 0.4, 0.003), (0.0, 0.0, 0.3, 0.01), (0.0, -2.0, 0.8, 0.001))  # L0, ln A, alpha, C
SCALES = (0.01, 1.0, 0.3, 0.01)
LEAST = 1e-6  # of a predicted loss, of which a logarithm is taken


class Law(NamedTuple):
    """A fitted law. coefficients: L0, ln A, alpha, C. error: mean square of the logarithm's residuals."""

    coefficients: Array
    decay: float
    error: float


def area(lr: Array) -> Array:
    """S1(t) = sum_{i<t} lr_i after t = 1..N updates. lr: (..., N)."""
    return np.cumsum(lr, axis=-1)


def annealed(lr: Array, decay: float) -> Array:
    """S2(t) = sum_{1<=i<t} mu_i after t = 1..N updates, mu_i = decay mu_{i-1} + (lr_{i-1} - lr_i). lr: (..., N)."""
    lowered = -np.diff(lr, axis=-1, prepend=lr[..., :1])  # 0 at i = 0, and mu_0 = 0
    return np.cumsum(lfilter([1.0], [1.0, -decay], lowered, axis=-1), axis=-1)


def framewise(values: Array, frames: Array) -> Array:
    """Mean over the updates of each frame. values: (..., N) after 1..N updates. frames: (F + 1,) from 0 to N."""
    sums = np.add.reduceat(values, frames[:-1], axis=-1)  # (..., F)
    return np.asarray(sums / np.diff(frames))


def predict(coefficients: Array, S1: Array, S2: Array) -> Array:
    """L = L0 + A S1^-alpha - C S2, of the shape of S1."""
    L0, log_A, alpha, C = coefficients
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.maximum(L0 + np.exp(log_A - alpha * np.log(S1)) - C * S2, LEAST))


def fit(loss: Array, S1: Array, S2: Array, *, with_S2: bool = True) -> tuple[Array, float]:
    """The coefficients (4,) with the least squares of ln L, and their mean square; the best of three starts.

    loss, S1, S2: (n,). with_S2: False keeps C at 0.
    """
    free = 4 if with_S2 else 3

    def residuals(found: Array) -> Array:
        return np.asarray(np.log(predict(np.append(found, np.zeros(4 - free)), S1, S2)) - np.log(loss))

    tries = [least_squares(residuals, start[:free], x_scale=SCALES[:free]) for start in STARTS]
    best = min(tries, key=lambda found: float(found.cost))
    return np.append(best.x, np.zeros(4 - free)), float(2 * best.cost / len(loss))


def fit_decay(loss: Array, lr: Array, frames: Array, fitted: Array) -> Law:
    """The law with the decay that fits best.

    loss: (S, F) of S schedules. lr: (S, N). frames: (F + 1,), see `framewise`. fitted: (S, F) bool, what is fitted.
    """
    S1 = framewise(area(lr), frames)[fitted]  # (n,)
    laws = []
    for decay in DECAYS:
        S2 = framewise(annealed(lr, decay), frames)[fitted]
        coefficients, error = fit(loss[fitted], S1, S2)
        laws.append(Law(coefficients, decay, error))
    return min(laws, key=lambda law: law.error)
