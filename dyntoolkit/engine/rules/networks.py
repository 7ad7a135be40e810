"""Rules of normalization, convolutions, pooling and attention."""

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dyntoolkit.engine.rules.matrices import matmul
from dyntoolkit.engine.rules.reductions import logsumexp
from dyntoolkit.engine.rules.table import HIGHEST, Array, aten, pull_back, rule_of, scaled

# ---- Normalization ----


def _normalize_backward(g: Array, x: Array, rstd: Array, axes: Sequence[int]) -> Array:
    """The gradient of x = (u - mean u) / std u in u."""
    mean = partial(jnp.mean, axis=axes, keepdims=True)
    return rstd * (g - mean(g) - x * mean(g * x))


def _statistics(x: Array, axes: Sequence[int], eps: float) -> tuple[Array, Array]:
    mean = jnp.mean(x, axes, keepdims=True)
    return mean, jax.lax.rsqrt(jnp.mean(jnp.square(x - mean), axes, keepdims=True) + eps)


def _affine(x: Array, weight: Array | None, bias: Array | None) -> Array:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _masked(mask: Sequence[bool], *gradients: Array | None) -> list[Array | None]:
    return [gradient if needed else None for needed, gradient in zip(mask, gradients, strict=True)]


@rule_of(aten.native_layer_norm.default)
def _layer_norm(x: Array, shape: Sequence[int], weight: Array | None, bias: Array | None, eps: float) -> list[Array]:
    mean, rstd = _statistics(x, range(x.ndim - len(shape), x.ndim), eps)
    return [_affine((x - mean) * rstd, weight, bias), mean, rstd]


@rule_of(aten.native_layer_norm_backward.default)
def _layer_norm_backward(
    g: Array,
    x: Array,
    shape: Sequence[int],
    mean: Array,
    rstd: Array,
    weight: Array | None,
    bias: Array | None,
    mask: Sequence[bool],
) -> list[Array | None]:
    split = x.ndim - len(shape)
    normal, others = (x - mean) * rstd, tuple(range(split))
    gradient = _normalize_backward(_affine(g, weight, None), normal, rstd, range(split, x.ndim))
    return _masked(mask, gradient, jnp.sum(g * normal, others), jnp.sum(g, others))


def _channels(x: Array, vector: Any) -> Any:
    """A vector of one number for each channel, axis 1 of x, as an array that broadcasts with x; None remains."""
    return None if vector is None else vector.reshape(-1, *[1] * (x.ndim - 2))


@rule_of(aten.native_group_norm.default)
def _group_norm(
    x: Array, weight: Array | None, bias: Array | None, n: int, c: int, hw: int, groups: int, eps: float
) -> list[Array]:
    rows = x.reshape(n, groups, -1)
    mean, rstd = _statistics(rows, (2,), eps)
    y = _affine(((rows - mean) * rstd).reshape(x.shape), _channels(x, weight), _channels(x, bias))
    return [y, mean[..., 0], rstd[..., 0]]


@rule_of(aten.native_group_norm_backward.default)
def _group_norm_backward(
    g: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    n: int,
    c: int,
    hw: int,
    groups: int,
    mask: Sequence[bool],
) -> list[Array | None]:
    normal = (x.reshape(n, groups, -1) - mean[..., None]) * rstd[..., None]
    rows = _affine(g, _channels(x, weight), None).reshape(n, groups, -1)
    gradient = _normalize_backward(rows, normal, rstd[..., None], (2,)).reshape(x.shape)
    others = (0, *range(2, x.ndim))
    return _masked(mask, gradient, jnp.sum(g * normal.reshape(x.shape), others), jnp.sum(g, others))


@rule_of(aten.native_batch_norm.default)
def _batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array | None,
    var: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> list[Array]:
    if training and mean is not None:
        raise NotImplementedError("running statistics change in place")
    if mean is None or var is None:
        center, rstd = _statistics(x, (0, *range(2, x.ndim)), eps)
        saved = [center.ravel(), rstd.ravel()]
    else:
        center, rstd = _channels(x, mean), jax.lax.rsqrt(_channels(x, var) + eps)
        saved = [jnp.zeros(0, x.dtype), jnp.zeros(0, x.dtype)]
    return [_affine((x - center) * rstd, _channels(x, weight), _channels(x, bias)), *saved]


@rule_of(aten.native_batch_norm_backward.default)
def _batch_norm_backward(
    g: Array,
    x: Array,
    weight: Array | None,
    mean: Array | None,
    var: Array | None,
    saved_mean: Array,
    saved_rstd: Array,
    training: bool,
    eps: float,
    mask: Sequence[bool],
) -> list[Array | None]:
    others = (0, *range(2, x.ndim))
    by_weight = _affine(g, _channels(x, weight), None)
    if mean is None or var is None:
        normal = (x - _channels(x, saved_mean)) * _channels(x, saved_rstd)
        gradient = _normalize_backward(by_weight, normal, _channels(x, saved_rstd), others)
    else:
        rstd = jax.lax.rsqrt(_channels(x, var) + eps)
        normal, gradient = (x - _channels(x, mean)) * rstd, by_weight * rstd
    return _masked(mask, gradient, jnp.sum(g * normal, others), jnp.sum(g, others))


# ---- Convolutions and pooling ----


def _convolve(
    x: Array,
    weight: Array,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Array:
    convolve = partial(jax.lax.conv_general_dilated, feature_group_count=groups, precision=HIGHEST)
    if not transposed:
        return convolve(x, weight, stride, [(p, p) for p in padding], rhs_dilation=dilation)
    inputs, outputs, *kernel = weight.shape  # of each group: inputs / groups, outputs
    weight = jnp.flip(weight, tuple(range(2, weight.ndim))).reshape(groups, inputs // groups, outputs, *kernel)
    weight = weight.swapaxes(1, 2).reshape(groups * outputs, inputs // groups, *kernel)
    edges = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    pads = [(edge, edge + more) for edge, more in zip(edges, output_padding, strict=True)]
    return convolve(x, weight, [1] * len(kernel), pads, lhs_dilation=stride, rhs_dilation=dilation)


@rule_of(aten.convolution.default)
def _convolution(x: Array, weight: Array, bias: Array | None, *how: Any) -> Array:
    y = _convolve(x, weight, *how)
    return y if bias is None else y + bias.reshape(-1, *[1] * (x.ndim - 2))


@rule_of(aten.convolution_backward.default)
def _convolution_backward(g: Array, x: Array, weight: Array, _: Any, *how: Any) -> list[Array | None]:
    *how_forward, mask = how
    in_x = pull_back(lambda x: _convolve(x, weight, *how_forward), x, g) if mask[0] else None
    in_weight = pull_back(lambda weight: _convolve(x, weight, *how_forward), weight, g) if mask[1] else None
    return _masked(mask, in_x, in_weight, jnp.sum(g, (0, *range(2, g.ndim))))


Pool = tuple[list[int], list[int], list[int], list[int], list[int]]


def _pool(x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Pool:
    """Kernel, stride, padding, dilation and the size of the result, each for both axes."""
    pairs = [list(each) * 2 if len(each) == 1 else list(each) for each in (kernel, stride or kernel, padding, dilation)]
    sizes = []
    for n, k, s, p, d in zip(x.shape[-2:], *pairs, strict=True):
        size = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil else 0)) // s + 1
        sizes.append(size - (ceil and (size - 1) * s >= n + p))  # no window begins beyond the right edge
    kernel, stride, padding, dilation = pairs
    return kernel, stride, padding, dilation, sizes


def _windows(x: Array, pool: Pool, fill: float) -> list[Array]:
    """One array for each place of a window, (..., H, W) -> (..., H', W'): what all windows have there."""
    kernel, stride, padding, dilation, sizes = pool
    spans = [(size - 1) * s + 1 for size, s in zip(sizes, stride, strict=True)]
    edges = [(0, 0, 0)] * (x.ndim - 2)
    for n, k, p, d, span in zip(x.shape[-2:], kernel, padding, dilation, spans, strict=True):
        edges.append((p, span + d * (k - 1) - n - p, 0))
    x = jax.lax.pad(x, jnp.asarray(fill, x.dtype), edges)
    found = []
    for i in range(0, kernel[0] * dilation[0], dilation[0]):
        rows = jax.lax.slice_in_dim(x, i, i + spans[0], stride[0], -2)
        for j in range(0, kernel[1] * dilation[1], dilation[1]):
            found.append(jax.lax.slice_in_dim(rows, j, j + spans[1], stride[1], -1))
    return found


def _places(x: Array, pool: Pool) -> list[Array]:
    """Where in the image, counted row by row, the windows have their numbers."""
    return _windows(jnp.arange(x.shape[-2] * x.shape[-1]).reshape(x.shape[-2:]), pool, -1)


@rule_of(aten.max_pool2d_with_indices.default)
def _max_pool(
    x: Array, kernel: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,), ceil: bool = False
) -> list[Array]:
    pool = _pool(x, kernel, stride, padding, dilation, ceil)
    best, *others = _windows(x, pool, -jnp.inf)
    where, *places = _places(x, pool)
    where = jnp.broadcast_to(where, best.shape)
    for number, place in zip(others, places, strict=True):
        better = (number > best) | jnp.isnan(number)
        best, where = jnp.where(better, number, best), jnp.where(better, place, where)
    return [best, where]


@rule_of(aten.max_pool2d_with_indices_backward.default)
def _max_pool_backward(
    g: Array, x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, where: Array
) -> Array:
    pool = _pool(x, kernel, stride, padding, dilation, ceil)
    parts = [jnp.where(where == place, g, 0) for place in _places(x, pool)]
    return pull_back(lambda x: _windows(x, pool, 0), x, parts)


@rule_of(aten.avg_pool2d.default)
def _avg_pool(
    x: Array,
    kernel: Any,
    stride: Any = (),
    padding: Any = (0,),
    ceil: bool = False,
    count_padding: bool = True,
    divisor: int | None = None,
) -> Array:
    pool = _pool(x, kernel, stride, padding, (1,), ceil)
    counts = []
    for n, k, s, p, _, size in zip(x.shape[-2:], *pool, strict=True):
        start = np.arange(size) * s - p
        stop = np.minimum(start + k, n + p)
        counts.append(stop - start if count_padding else np.minimum(stop, n) - np.maximum(start, 0))
    count = jnp.asarray(np.outer(*counts) if divisor is None else divisor, x.dtype)
    return reduce(jnp.add, _windows(x, pool, 0)) / count


@rule_of(aten.avg_pool2d_backward.default)
def _avg_pool_backward(g: Array, x: Array, *how: Any) -> Array:
    return pull_back(lambda x: _avg_pool(x, *how), x, g)


def _bins(n: int, size: int, dtype: Any) -> Array:
    """The matrix (size, n) of the means over `size` neighbouring ranges."""
    i, place = np.arange(size)[:, None], np.arange(n)
    inside = (place >= i * n // size) & (place < -(-(i + 1) * n // size))
    return jnp.asarray(inside / inside.sum(1, keepdims=True), dtype)


@rule_of(aten._adaptive_avg_pool2d.default)
def _adaptive_avg_pool(x: Array, size: Sequence[int]) -> Array:
    rows, columns = (_bins(n, m, x.dtype) for n, m in zip(x.shape[-2:], size, strict=True))
    return matmul(matmul(rows, x), columns.T)


@rule_of(aten._adaptive_avg_pool2d_backward.default)
def _adaptive_avg_pool_backward(g: Array, x: Array) -> Array:
    return pull_back(lambda x: _adaptive_avg_pool(x, g.shape[-2:]), x, g)


# ---- Attention ----


@rule_of(aten._scaled_dot_product_flash_attention_for_cpu.default)
def _attention(
    q: Array,
    k: Array,
    v: Array,
    dropout: float = 0.0,
    causal: bool = False,
    attn_mask: Array | None = None,
    scale: float | None = None,
) -> list[Array]:
    scores = scaled(matmul(q, k.swapaxes(-2, -1)), q.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        scores = scores + attn_mask
    if causal:
        scores = jnp.where(jnp.tri(q.shape[-2], k.shape[-2], dtype=jnp.bool_), scores, -jnp.inf)
    total = logsumexp(scores, [-1])
    return [matmul(jnp.exp(scores - total[..., None]), v), total]


@rule_of(aten._scaled_dot_product_flash_attention_for_cpu_backward.default)
def _attention_backward(
    g: Array, q: Array, k: Array, v: Array, y: Array, total: Array, dropout: float, causal: bool, **how: Any
) -> list[Array]:
    def attention(q: Array, k: Array, v: Array) -> Array:
        return _attention(q, k, v, dropout, causal, **how)[0]

    return list(jax.vjp(attention, q, k, v)[1](g))
