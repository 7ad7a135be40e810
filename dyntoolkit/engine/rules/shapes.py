"""Rules of other shapes of the same numbers, of new arrays, copies and dtypes, and of indices."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from dyntoolkit.engine.rules.table import (
    DTYPES,
    RULES,
    Array,
    aten,
    cast,
    common,
    default_dtype,
    in_dtype,
    pull_back,
    rule_of,
    scaled,
)

# ---- Other shapes of the same numbers ----


@rule_of(aten.expand.default)
def _expand(x: Array, size: Sequence[int], implicit: bool = False) -> Array:
    known = (*[1] * (len(size) - x.ndim), *x.shape)
    return jnp.broadcast_to(x, [old if new == -1 else new for old, new in zip(known, size, strict=True)])


@rule_of(aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default)
def _squeeze(x: Array, dim: int | Sequence[int] | None = None) -> Array:
    named = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return x.reshape([n for axis, n in enumerate(x.shape) if n != 1 or axis not in {each % x.ndim for each in named}])


def _bounds(n: int, start: int | None, end: int | None) -> tuple[int, int]:
    first, stop, _ = slice(start, end).indices(n)
    return first, max(first, stop)


@rule_of(aten.slice.Tensor)
def _slice(x: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
    return jax.lax.slice_in_dim(x, *_bounds(x.shape[dim], start, end), step, dim)


@rule_of(aten.slice_backward.default)
def _slice_backward(g: Array, size: Sequence[int], dim: int, start: int | None, end: int | None, step: int) -> Array:
    before = _bounds(size[dim], start, end)[0]
    taken = max(0, (g.shape[dim] - 1) * step + 1)
    edges = [(0, 0, 0)] * len(size)
    edges[dim] = (before, size[dim] - before - taken, step - 1)
    return jax.lax.pad(g, jnp.zeros((), g.dtype), edges)


@rule_of(aten.slice_scatter.default)
def _slice_scatter(
    x: Array, src: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    first, stop = _bounds(x.shape[dim], start, end)
    if step == 1:
        return jax.lax.dynamic_update_slice_in_dim(x, src, first, dim)
    return x.at[_place(x, dim, slice(first, stop, step))].set(src)


def _place(x: Array, dim: int, index: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * (dim % x.ndim), index)


@rule_of(aten.select.int)
def _select(x: Array, dim: int, index: int) -> Array:
    return jax.lax.index_in_dim(x, index, dim, keepdims=False)


@rule_of(aten.select_scatter.default)
def _select_scatter(x: Array, src: Array, dim: int, index: int) -> Array:
    index %= x.shape[dim]
    return _slice_scatter(x, jnp.expand_dims(src, dim), dim, index, index + 1)


@rule_of(aten.select_backward.default)
def _select_backward(g: Array, size: Sequence[int], dim: int, index: int) -> Array:
    dim, index = dim % len(size), index % size[dim]
    return _slice_backward(jnp.expand_dims(g, dim), size, dim, index, index + 1, 1)


@rule_of(aten.split_with_sizes.default)
def _split_with_sizes(x: Array, sizes: Sequence[int], dim: int = 0) -> list[Array]:
    stops = np.cumsum(sizes).tolist()
    return [jax.lax.slice_in_dim(x, stop - size, stop, 1, dim) for size, stop in zip(sizes, stops, strict=True)]


@rule_of(aten.split.Tensor)
def _split(x: Array, size: int, dim: int = 0) -> list[Array]:
    n = x.shape[dim]
    return [jax.lax.slice_in_dim(x, start, min(start + size, n), 1, dim) for start in range(0, n, size)]


@rule_of(aten.roll.default)
def _roll(x: Array, shifts: Sequence[int], dims: Sequence[int] = ()) -> Array:
    return jnp.roll(x, tuple(shifts), tuple(dims)) if dims else jnp.roll(x, shifts[0])


@rule_of(aten.diagonal_scatter.default)
def _diagonal_scatter(x: Array, src: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    matrices = jnp.moveaxis(x, (dim1, dim2), (-2, -1))
    i = np.arange(src.shape[-1])
    matrices = matrices.at[..., i + max(-offset, 0), i + max(offset, 0)].set(src)
    return jnp.moveaxis(matrices, (-2, -1), (dim1, dim2))


@rule_of(aten.diagonal_backward.default)
def _diagonal_backward(g: Array, size: Sequence[int], offset: int, dim1: int, dim2: int) -> Array:
    return _diagonal_scatter(jnp.zeros(size, g.dtype), g, offset, dim1, dim2)


@rule_of(aten.diag_embed.default)
def _diag_embed(x: Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    n = x.shape[-1] + abs(offset)
    matrices = _diagonal_scatter(jnp.zeros((*x.shape[:-1], n, n), x.dtype), x, offset, -2, -1)
    return jnp.moveaxis(matrices, (-2, -1), (dim1, dim2))


@rule_of(aten.unfold.default)
def _unfold(x: Array, dim: int, size: int, step: int) -> Array:
    starts = np.arange(0, x.shape[dim] - size + 1, step)
    return jnp.moveaxis(x[_place(x, dim, starts[:, None] + np.arange(size))], dim % x.ndim + 1, -1)


@rule_of(aten.unfold_backward.default)
def _unfold_backward(g: Array, size: Sequence[int], dim: int, length: int, step: int) -> Array:
    return pull_back(lambda x: _unfold(x, dim, length, step), jnp.zeros(size, g.dtype), g)


@rule_of(aten.constant_pad_nd.default)
def _constant_pad(x: Array, pad: Sequence[int], value: float = 0) -> Array:
    edges = [(before, after, 0) for before, after in zip(pad[-2::-2], pad[::-2], strict=True)]
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), [(0, 0, 0)] * (x.ndim - len(edges)) + edges)


RULES |= {
    aten.view.default: jnp.reshape,
    aten._unsafe_view.default: jnp.reshape,
    aten.permute.default: jnp.transpose,
    aten.transpose.int: jnp.swapaxes,
    aten.t.default: jnp.transpose,
    aten.unsqueeze.default: jnp.expand_dims,
    aten.unbind.int: lambda x, dim=0: [_select(x, dim, i) for i in range(x.shape[dim])],
    aten.diagonal.default: lambda x, offset=0, dim1=0, dim2=1: jnp.diagonal(x, offset, dim1, dim2),
    aten.flip.default: lambda x, dims: jnp.flip(x, tuple(dims)),
    aten.repeat.default: jnp.tile,
    aten.cat.default: lambda xs, dim=0: jnp.concatenate(common(*xs), dim),
    aten.stack.default: lambda xs, dim=0: jnp.stack(common(*xs), dim),
    aten.triu.default: jnp.triu,
    aten.tril.default: jnp.tril,
}


# ---- New arrays, copies, dtypes ----


def _full(size: Sequence[int], value: Any, dtype: torch.dtype | None = None) -> Array:
    return jnp.full(size, value, default_dtype(value) if dtype is None else DTYPES[dtype])


def _filled(x: Array, value: float, size: Sequence[int] | None = None, dtype: torch.dtype | None = None) -> Array:
    """An array of one number, in shape and dtype that of x unless told otherwise."""
    return jnp.full(x.shape if size is None else size, value, x.dtype if dtype is None else DTYPES[dtype])


@rule_of(aten.arange.start_step)
def _arange(start: float, end: float, step: float = 1, dtype: torch.dtype | None = None) -> Array:
    if dtype is not None and not dtype.is_floating_point:
        start, end, step = int(start), int(end), int(step)
    numbers = start + step * np.arange(math.ceil((end - start) / step))
    return jnp.asarray(numbers, default_dtype(start + end + step) if dtype is None else DTYPES[dtype])


def _float_dtype(dtype: torch.dtype | None) -> Any:
    return jnp.float32 if dtype is None else DTYPES[dtype]


RULES |= {
    aten.full.default: _full,
    aten.full_like.default: lambda x, value, dtype=None: _filled(x, value, dtype=dtype),
    aten.new_full.default: lambda x, size, value, dtype=None: _filled(x, value, size, dtype),
    aten.fill.Scalar: lambda x, value: _filled(x, value),
    aten.fill.Tensor: lambda x, value: jnp.broadcast_to(in_dtype(x.dtype, value), x.shape),
    aten.scalar_tensor.default: lambda value, dtype=None: jnp.asarray(value, _float_dtype(dtype)),
    aten.arange.default: lambda end, dtype=None: _arange(0, end, 1, dtype),
    aten.arange.start: lambda start, end, dtype=None: _arange(start, end, 1, dtype),
    aten.linspace.default: lambda a, b, n, dtype=None: jnp.asarray(np.linspace(a, b, n), _float_dtype(dtype)),
    aten.eye.default: lambda n, dtype=None: jnp.eye(n, dtype=_float_dtype(dtype)),
    aten.eye.m: lambda n, m, dtype=None: jnp.eye(n, m, dtype=_float_dtype(dtype)),
    aten.ones.default: lambda size, dtype=None: jnp.ones(size, _float_dtype(dtype)),
    aten.ones_like.default: lambda x, dtype=None: _filled(x, 1, dtype=dtype),
    aten.new_ones.default: lambda x, size, dtype=None: _filled(x, 1, size, dtype),
    aten.zeros.default: lambda size, dtype=None: jnp.zeros(size, _float_dtype(dtype)),
    aten.zeros_like.default: lambda x, dtype=None: _filled(x, 0, dtype=dtype),
    aten.new_zeros.default: lambda x, size, dtype=None: _filled(x, 0, size, dtype),
    aten.zero.default: lambda x: _filled(x, 0),
    # what is to be overwritten: torch itself fills new memory in several of its gradients
    aten.empty.memory_format: lambda size, dtype=None: jnp.zeros(size, _float_dtype(dtype)),
    aten.empty_like.default: lambda x, dtype=None: _filled(x, 0, dtype=dtype),
    aten.new_empty.default: lambda x, size, dtype=None: _filled(x, 0, size, dtype),
    aten.new_empty_strided.default: lambda x, size, stride, dtype=None: _filled(x, 0, size, dtype),
    aten.copy.default: lambda x, src: jnp.broadcast_to(in_dtype(x.dtype, src), x.shape),
    aten._to_copy.default: lambda x, dtype=None: cast(x, dtype),
    aten.clone.default: lambda x: x,
    aten.detach.default: lambda x: x,
    aten.alias.default: lambda x: x,
    aten.lift_fresh.default: lambda x: x,
    aten.lift_fresh_copy.default: lambda x: x,
}


# ---- Indices ----


def _taken(x: Array, at: Any) -> Array:
    """x[at]; NaN, and not the nearest number, where an index is out of range."""
    return x.at[at].get(mode="fill")


def _indices(indices: Sequence[Array | None]) -> tuple[Any, ...]:
    if any(i is not None and i.dtype == jnp.bool_ for i in indices):
        raise NotImplementedError("how many numbers a boolean index selects is not known beforehand")
    return tuple(slice(None) if i is None else i for i in indices)


@rule_of(aten.index_put.default)
def _index_put(x: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    if len(indices) == 1 and indices[0] is not None and indices[0].dtype == jnp.bool_ and values.size == 1:
        mask, value = indices[0].reshape(*indices[0].shape, *[1] * (x.ndim - indices[0].ndim)), values.reshape(())
        return jnp.where(mask, x + value if accumulate else value, x)
    place = x.at[_indices(indices)]
    return place.add(values) if accumulate else place.set(values)


def _along(index: Array, dim: int) -> tuple[Array, ...]:
    """The full index of the elements that `gather` and `scatter` mean."""
    axes = jnp.meshgrid(*map(np.arange, index.shape), indexing="ij", sparse=True)
    return tuple(index if axis == dim % index.ndim else each for axis, each in enumerate(axes))


def _source(src: Array, index: Array) -> Array:
    """The part of `scatter`'s source that is used."""
    return src[tuple(map(slice, index.shape))]


@rule_of(aten.scatter.reduce, aten.scatter.value_reduce)
def _scatter_reduce(x: Array, dim: int, index: Array, src: Any, reduce: str) -> Array:
    values = _source(src, index) if isinstance(src, Array) else jnp.asarray(src, x.dtype)
    place = x.at[_along(index, dim)]
    return place.add(values) if reduce == "add" else place.multiply(values)


def _index_fill(x: Array, dim: int, index: Array, source: Array) -> Array:
    return x.at[_place(x, dim, index)].set(source)


@rule_of(aten.index_add.default)
def _index_add(x: Array, dim: int, index: Array, source: Array, alpha: float = 1) -> Array:
    return x.at[_place(x, dim, index)].add(scaled(source, alpha))


@rule_of(aten.embedding_dense_backward.default)
def _embedding_backward(g: Array, indices: Array, rows: int, padding: int, scale_by_frequency: bool) -> Array:
    if scale_by_frequency:
        g = g / jnp.zeros(rows, g.dtype).at[indices].add(1)[indices][..., None]
    total = jnp.zeros((rows, g.shape[-1]), g.dtype).at[indices].add(g)
    return total if padding < 0 else total.at[padding].set(0)


@rule_of(aten.sort.default)
def _sort(x: Array, dim: int = -1, descending: bool = False) -> list[Array]:
    order = jnp.argsort(x, dim, stable=True, descending=descending)
    return [jnp.take_along_axis(x, order, dim), order]


@rule_of(aten.topk.default)
def _topk(x: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> list[Array]:
    if not largest:
        return [jax.lax.slice_in_dim(each, 0, k, 1, dim) for each in _sort(x, dim)]
    values, indices = jax.lax.top_k(jnp.moveaxis(x, dim, -1), k)
    return [jnp.moveaxis(values, -1, dim), jnp.moveaxis(indices, -1, dim).astype(jnp.int64)]


RULES |= {
    aten.index.Tensor: lambda x, indices: _taken(x, _indices(indices)),
    aten._unsafe_index.Tensor: lambda x, indices: _taken(x, _indices(indices)),
    aten._unsafe_index_put.default: _index_put,
    aten.index_select.default: lambda x, dim, index: _taken(x, _place(x, dim, jnp.atleast_1d(index))),
    aten.index_copy.default: _index_fill,
    aten.index_fill.int_Scalar: lambda x, dim, index, value: _index_fill(x, dim, index, jnp.asarray(value, x.dtype)),
    aten.index_fill.int_Tensor: lambda x, dim, index, value: _index_fill(x, dim, index, in_dtype(x.dtype, value)),
    aten.gather.default: lambda x, dim, index, sparse_grad=False: _taken(x, _along(index, dim)),
    aten.scatter.src: lambda x, dim, index, src: x.at[_along(index, dim)].set(_source(src, index)),
    aten.scatter.value: lambda x, dim, index, value: x.at[_along(index, dim)].set(jnp.asarray(value, x.dtype)),
    aten.scatter_add.default: lambda x, dim, index, src: x.at[_along(index, dim)].add(_source(src, index)),
    aten.embedding.default: lambda weight, indices, *_: _taken(weight, indices),
    aten.sort.stable: lambda x, stable=True, dim=-1, descending=False: _sort(x, dim, descending),
}
