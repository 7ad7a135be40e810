"""Feature linearity: how far the features of an average of two networks are from the average of their features.

Zhou, Chen, Chen and Yan, "On the Emergence of Cross-Task Linearity in Pretraining-Finetuning Paradigm",
arXiv 2402.03660: f(alpha theta_i + (1 - alpha) theta_j) ~ alpha f(theta_i) + (1 - alpha) f(theta_j) at every layer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

Array = np.ndarray

TINY = 1e-12  # added to denominators: a dead layer has all-zero features


class Linearity(NamedTuple):
    """Per run and layer, (R, L) each.

    ctl: 1 - cosine between the features of the averaged network and the averaged features, mean over the points.
    base: 1 - cosine between the features of the two networks, which ctl must be compared with.
    coef: projection of the averaged network's features on the averaged features (1: same size, too), mean over points.
    deviation: Frobenius norm of their difference, over points and units together.
    dev: that norm divided by the norm of the difference between the two networks' features.
    """

    ctl: Array
    base: Array
    coef: Array
    deviation: Array
    dev: Array


def feature_linearity(
    first: Sequence[torch.Tensor], second: Sequence[torch.Tensor], middle: Sequence[torch.Tensor], alpha: torch.Tensor
) -> Linearity:
    """Compare three networks layer by layer, in float64.

    first, second, middle: the features f_l(theta_i), f_l(theta_j), f_l(alpha theta_i + (1 - alpha) theta_j) of each
    layer l, (R, n, h_l). alpha: (R,).
    """
    weight = alpha.double()[:, None, None]
    norm = torch.linalg.vector_norm
    columns = []
    for f_i, f_j, f_mid in zip(first, second, middle, strict=True):
        f_i, f_j, f_mid = f_i.double(), f_j.double(), f_mid.double()  # (R, n, h)
        f_int = torch.lerp(f_j, f_i, weight)  # alpha f_i + (1 - alpha) f_j
        size_mid, size_int = norm(f_mid, dim=2), norm(f_int, dim=2)  # (R, n)
        along = (f_mid * f_int).sum(2)  # (R, n)
        deviation, spread = frobenius(f_mid - f_int), frobenius(f_i - f_j)  # (R,)
        columns.append(
            torch.stack(
                [
                    1 - (along / (size_mid * size_int + TINY)).mean(1),
                    cosine_distance(f_i, f_j),
                    (along / (size_int.square() + TINY)).mean(1),
                    deviation,
                    deviation / (spread + TINY),
                ]
            )
        )
    return Linearity(*torch.stack(columns, 2).numpy())  # 5 arrays (R, L)


def cosine_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean over the n points of 1 - cosine between the rows of a and b, both (R, n, h): (R,) float64."""
    a, b = a.double(), b.double()
    sizes = torch.linalg.vector_norm(a, dim=2) * torch.linalg.vector_norm(b, dim=2)  # (R, n)
    cosine: torch.Tensor = (a * b).sum(2) / (sizes + TINY)
    return 1 - cosine.mean(1)


def frobenius(a: torch.Tensor) -> torch.Tensor:
    """Norm of each run's features (R, n, h), over points and units together: (R,)."""
    norms: torch.Tensor = torch.linalg.vector_norm(a, dim=(1, 2))
    return norms


def parabola_fit(alpha: Array, deviation: Array) -> tuple[Array, Array]:
    """Least-squares fit of deviation (S, ...) = c alpha (1 - alpha), with alpha (S,): c and R^2, both (...).

    R^2 compares with the best constant, so it is negative where a constant fits better; NaN where nothing varies.
    """
    shape = (alpha * (1 - alpha)).reshape(-1, *[1] * (deviation.ndim - 1))
    c = (deviation * shape).sum(0) / np.square(shape).sum(0)
    left = np.square(deviation - c * shape).sum(0)
    total = np.square(deviation - deviation.mean(0)).sum(0)
    return c, 1 - np.divide(left, total, out=np.full_like(left, np.nan), where=total > 0)


def log_slope(x: Array, y: Array) -> Array:
    """Least-squares slope of ln y (S, ...) on ln x, which is (S,) or of y's shape: (...). NaN where y touches 0."""
    positive = np.where(y > 0, y, np.nan)
    u = np.log(x).reshape(-1, *[1] * (y.ndim - 1)) if x.ndim == 1 else np.log(x)
    u = u - u.mean(0)
    return np.asarray((u * np.log(positive)).sum(0) / np.square(u).sum(0))
