"""Rules of the softmax and of losses."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch

from dyntoolkit.engine.rules.pointwise import sign
from dyntoolkit.engine.rules.reductions import axes_of
from dyntoolkit.engine.rules.table import RULES, Array, Rule, aten, common, in_dtype, rule_of

# ---- Softmax and losses ----

MEAN, SUM = 1, 2  # how torch numbers the reductions of a loss; 0 is none


@rule_of(aten._softmax.default)
def _softmax(x: Array, dim: int, _: bool) -> Array:
    e = jnp.exp(x - jnp.max(x, axes_of(x, dim), keepdims=True))
    return e / jnp.sum(e, axes_of(x, dim), keepdims=True)


@rule_of(aten._log_softmax.default)
def _log_softmax(x: Array, dim: int, _: bool) -> Array:
    shifted = x - jnp.max(x, axes_of(x, dim), keepdims=True)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axes_of(x, dim), keepdims=True))


@rule_of(aten._softmax_backward_data.default)
def _softmax_backward(g: Array, y: Array, dim: int, _: torch.dtype) -> Array:
    return y * (g - jnp.sum(g * y, axes_of(y, dim), keepdims=True))


@rule_of(aten._log_softmax_backward_data.default)
def _log_softmax_backward(g: Array, y: Array, dim: int, _: torch.dtype) -> Array:
    return g - jnp.exp(y) * jnp.sum(g, axes_of(y, dim), keepdims=True)


def _reduced(losses: Array, reduction: int) -> Array:
    return jnp.mean(losses) if reduction == MEAN else jnp.sum(losses) if reduction == SUM else losses


def _loss(function: Callable[..., Array], derivative: Callable[..., Array]) -> tuple[Rule, Rule]:
    """The rules of a loss and its gradient, of function(x, y, *more) and its derivative in x."""

    def forward(x: Array, y: Array, reduction: int = MEAN, *more: float) -> Array:
        return _reduced(function(*common(x, y), *more), reduction)

    def backward(g: Array, x: Array, y: Array, reduction: int, *more: float) -> Array:
        slope = derivative(*common(x, y), *more)
        return slope * g / (slope.size if reduction == MEAN else 1)

    return forward, backward


def _huber(x: Array, y: Array, delta: float = 1.0) -> Array:
    z = jnp.abs(x - y)
    return jnp.where(z <= delta, 0.5 * z * z, delta * (z - 0.5 * delta))


def _smooth_l1(x: Array, y: Array, beta: float = 1.0) -> Array:
    z = jnp.abs(x - y)
    return jnp.where(z < beta, 0.5 * z * z / beta, z - 0.5 * beta)


def _soft_margin_slope(x: Array, y: Array) -> Array:
    z = jnp.exp(-y * x)
    return -y * z / (1 + z)


LOSSES: dict[str, tuple[Rule, Rule]] = {
    "mse_loss": (lambda x, y: jnp.square(x - y), lambda x, y: 2 * (x - y)),
    "huber_loss": (_huber, lambda x, y, delta=1.0: jnp.clip(x - y, -delta, delta)),
    "smooth_l1_loss": (_smooth_l1, lambda x, y, beta=1.0: jnp.clip((x - y) / beta, -1, 1) if beta else sign(x - y)),
    "soft_margin_loss": (lambda x, y: jnp.log1p(jnp.exp(-y * x)), _soft_margin_slope),
}
for _name, _functions in LOSSES.items():
    RULES[getattr(aten, _name).default], RULES[getattr(aten, f"{_name}_backward").default] = _loss(*_functions)


@rule_of(aten.binary_cross_entropy.default)
def _binary_cross_entropy(x: Array, y: Array, weight: Array | None = None, reduction: int = MEAN) -> Array:
    losses = -(y * jnp.maximum(jnp.log(x), -100) + (1 - y) * jnp.maximum(jnp.log1p(-x), -100))
    return _reduced(losses if weight is None else losses * weight, reduction)


@rule_of(aten.binary_cross_entropy_backward.default)
def _binary_cross_entropy_backward(
    g: Array, x: Array, y: Array, weight: Array | None = None, reduction: int = MEAN
) -> Array:
    slope = g * (x - y) / jnp.maximum((1 - x) * x, 1e-12)
    return (slope if weight is None else slope * weight) / (x.size if reduction == MEAN else 1)


@rule_of(aten.binary_cross_entropy_with_logits.default)
def _binary_cross_entropy_with_logits(
    x: Array, y: Array, weight: Array | None = None, pos_weight: Array | None = None, reduction: int = MEAN
) -> Array:
    log_weight = 1 if pos_weight is None else (pos_weight - 1) * y + 1
    losses = (1 - y) * x + log_weight * (jnp.log1p(jnp.exp(-jnp.abs(x))) + jnp.maximum(-x, 0))
    return _reduced(losses if weight is None else losses * weight, reduction)


def _labels(target: Array, weight: Array | None, ignore: int, dtype: Any) -> tuple[Array, Array, Array]:
    """Which labels count, the labels with 0 in place of those that do not, and the weight of each."""
    counts = target != ignore
    labels = jnp.where(counts, target, 0)
    return counts, labels, in_dtype(dtype, counts) if weight is None else jnp.where(counts, weight[labels], 0)


@rule_of(aten.nll_loss_forward.default)
def _nll_loss(x: Array, target: Array, weight: Array | None, reduction: int, ignore: int) -> list[Array]:
    """The classes of x are its last axis."""
    counts, labels, weights = _labels(target, weight, ignore, x.dtype)
    losses = jnp.where(counts, -weights * jnp.take_along_axis(x, labels[..., None], -1)[..., 0], 0)
    total = jnp.sum(weights)
    if reduction not in (MEAN, SUM):
        return [losses, jnp.zeros_like(total)]
    return [jnp.sum(losses) / total if reduction == MEAN else jnp.sum(losses), total]


@rule_of(aten.nll_loss_backward.default)
def _nll_loss_backward(
    g: Array, x: Array, target: Array, weight: Array | None, reduction: int, ignore: int, total: Array
) -> Array:
    counts, labels, weights = _labels(target, weight, ignore, x.dtype)
    slope = -weights * (g / total if reduction == MEAN else g)
    chosen = counts[..., None] & (labels[..., None] == np.arange(x.shape[-1]))
    return jnp.where(chosen, slope[..., None], 0)


@rule_of(aten.nll_loss2d_forward.default)
def _nll_loss2d(x: Array, *more: Any) -> list[Array]:
    """The classes are the second axis."""
    return _nll_loss(jnp.moveaxis(x, 1, -1), *more)


@rule_of(aten.nll_loss2d_backward.default)
def _nll_loss2d_backward(g: Array, x: Array, *more: Any) -> Array:
    return jnp.moveaxis(_nll_loss_backward(g, jnp.moveaxis(x, 1, -1), *more), -1, 1)
