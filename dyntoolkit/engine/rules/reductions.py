"""Rules of sums and other reductions."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import torch

from dyntoolkit.engine.rules.pointwise import pow_of_number
from dyntoolkit.engine.rules.table import RULES, Array, Rule, aten, cast, floats, is_float, rule_of

# ---- Sums and other reductions ----


def axes_of(x: Array, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """The axes that torch means: all where it names none, and none of an array without axes."""
    named = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim or range(x.ndim)
    return tuple(each % x.ndim for each in named) if x.ndim else ()


def _summed(x: Array, dtype: torch.dtype | None) -> Array:
    """The array in the dtype in which torch sums it."""
    return cast(x, torch.int64 if dtype is None and not is_float(x.dtype) else dtype)


@rule_of(aten.sum.dim_IntList, aten.sum.default)
def _sum(x: Array, dim: Sequence[int] | None = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Array:
    return jnp.sum(_summed(x, dtype), axes_of(x, dim), keepdims=keepdim)


@rule_of(aten.mean.dim, aten.mean.default)
def _mean(x: Array, dim: Sequence[int] | None = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Array:
    return jnp.mean(cast(x, dtype), axes_of(x, dim), keepdims=keepdim)


@rule_of(aten.prod.dim_int, aten.prod.default)
def _prod(x: Array, dim: int | None = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Array:
    return jnp.prod(_summed(x, dtype), axes_of(x, dim), keepdims=keepdim)


@rule_of(aten.var_mean.correction)
def _var_mean(
    x: Array, dim: Sequence[int] | None = None, correction: float | None = None, keepdim: bool = False
) -> list[Array]:
    axes = axes_of(x, dim)
    mean = jnp.mean(x, axes, keepdims=True)
    count = math.prod(x.shape[axis] for axis in axes) - (1 if correction is None else correction)
    square = jnp.sum(jnp.square(x - mean), axes, keepdims=keepdim)
    return [square / jnp.asarray(max(count, 0), x.dtype), mean if keepdim else jnp.squeeze(mean, axes)]


@rule_of(aten.logsumexp.default)
def logsumexp(x: Array, dim: Sequence[int], keepdim: bool = False) -> Array:
    """ln of the sum of e^x over some axes."""
    (x,), axes = floats(x), axes_of(x, dim)
    top = jnp.max(x, axes, keepdims=True)
    top = jnp.where(jnp.isinf(top), 0, top)
    total = jnp.log(jnp.sum(jnp.exp(x - top), axes, keepdims=True)) + top
    return total if keepdim else jnp.squeeze(total, axes)


@rule_of(aten.linalg_vector_norm.default)
def _vector_norm(
    x: Array,
    order: float = 2,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Array:
    x, axes = jnp.abs(cast(x, dtype)), axes_of(x, dim)
    if order in (math.inf, -math.inf):
        return (jnp.max if order > 0 else jnp.min)(x, axes, keepdims=keepdim)
    if order == 0:
        return jnp.sum(x != 0, axes, keepdims=keepdim).astype(x.dtype)
    if order == 2:
        return jnp.sqrt(jnp.sum(x * x, axes, keepdims=keepdim))
    total = jnp.sum(pow_of_number(x, order), axes, keepdims=keepdim)
    return total if order == 1 else pow_of_number(total, 1 / order)


@rule_of(aten.norm.ScalarOpt_dim, aten.norm.Scalar)
def _norm(x: Array, order: float | None, dim: Sequence[int] | None = None, keepdim: bool = False) -> Array:
    return _vector_norm(x, 2 if order is None else order, dim, keepdim)


def _of_axes(function: Rule) -> Rule:
    return lambda x, dim=None, keepdim=False: function(x, axes_of(x, dim), keepdims=keepdim)


def _index_of(function: Rule) -> Rule:
    def index(x: Array, dim: int | None = None, keepdim: bool = False) -> Array:
        found: Array = function(jnp.atleast_1d(x), dim, keepdims=keepdim).astype(jnp.int64)
        return found if x.ndim else found.reshape(())

    return index


def _with_index(value: Rule, index: Rule) -> Rule:
    return lambda x, dim, keepdim=False: [value(x, dim, keepdim), index(x, dim, keepdim)]


_amax, _amin, _any, _all = map(_of_axes, (jnp.max, jnp.min, jnp.any, jnp.all))
_argmax, _argmin = map(_index_of, (jnp.argmax, jnp.argmin))

RULES |= {
    aten.amax.default: _amax,
    aten.amin.default: _amin,
    aten.max.default: _amax,
    aten.min.default: _amin,
    aten.argmax.default: _argmax,
    aten.argmin.default: _argmin,
    aten.max.dim: _with_index(_amax, _argmax),
    aten.min.dim: _with_index(_amin, _argmin),
    aten.any.default: _any,
    aten.any.dim: _any,
    aten.any.dims: _any,
    aten.all.default: _all,
    aten.all.dim: _all,
    aten.all.dims: _all,
    aten.var.correction: lambda *args, **kwargs: _var_mean(*args, **kwargs)[0],
    aten.std.correction: lambda *args, **kwargs: jnp.sqrt(_var_mean(*args, **kwargs)[0]),
    aten.cumsum.default: lambda x, dim, dtype=None: jnp.cumsum(_summed(x, dtype), dim),
    aten.cumprod.default: lambda x, dim, dtype=None: jnp.cumprod(_summed(x, dtype), dim),
    aten.logcumsumexp.default: lambda x, dim: jax.lax.cumlogsumexp(x, dim % x.ndim),
    aten.trace.default: lambda x: jnp.trace(_summed(x, None)),
}
