"""Gradient descent and SAM on a quadratic: when they leave a minimum, how fast, and where they can rest.

Along an eigenvector of curvature lambda, unnormalized SAM, theta <- theta - lr g(theta + rho g(theta)), multiplies a
displacement by 1 - lr lambda (1 + rho lambda) in each step. Derived here for Long and Bartlett 2023, "Sharpness-aware
minimization and the edge of stability" (arXiv 2309.12488).
"""

import numpy as np

Array = np.ndarray


def factor(lr: Array, curvature: Array, rho: Array | float = 0.0) -> Array:
    """|1 - lr lambda (1 + rho lambda)|, by which a displacement grows in each step; gradient descent has rho = 0."""
    return np.asarray(np.abs(1 - lr * curvature * (1 + rho * curvature)))


def threshold(lr: Array, curvature: Array) -> Array:
    """rho* = (2/(lr lambda) - 1)/lambda: SAM leaves for a larger radius; at most 0 where gradient descent leaves."""
    return np.asarray((2 / (lr * curvature) - 1) / curvature)


def edge(lr: Array, rho: Array) -> Array:
    """lambda* = (sqrt(1 + 8 rho/lr) - 1)/(2 rho), where factor = 1: the largest curvature at which SAM can rest."""
    # the same without a difference of nearly equal numbers; 2/lr at rho = 0
    return np.asarray(4 / lr / (np.sqrt(1 + 8 * rho / lr) + 1))
