"""Every rule against torch, on random arguments: the same shapes, dtypes and numbers, NaN and infinities included."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dyntoolkit.engine.rules import DTYPES, RULES
from dyntoolkit.engine.rules.pointwise import IN_FLOATS
from dyntoolkit.engine.rules.table import promoted

aten = torch.ops.aten
FLOATS = (torch.float32, torch.float64)
ANY = (*FLOATS, torch.int64, torch.bool)
NUMBERS = (*FLOATS, torch.int64)
SPECIAL = (math.nan, math.inf, -math.inf, 0.0, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0)  # the corners of activations among them
SHAPES = ((), (6, 8))  # few, as XLA compiles for each, and with room for all special numbers
REDUCED = ((4,), (2, 3, 6))
PAIRS = (((6, 8), (6, 8)), ((6, 1), (8,)), ((), (6, 8)), ((6, 8), ()))
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-11}


class Draw:
    """Draws arguments: what they are is Hypothesis' choice, which numbers they hold comes from a seed that it chose."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.random = np.random.default_rng(draw(st.integers(0, 1000)))

    def of(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def flag(self) -> bool:
        return self.of(False, True)

    def tensor(self, shape: Sequence[int], dtype: torch.dtype, *, special: bool = False, nan: bool = True) -> Any:
        if dtype == torch.bool:
            return torch.tensor(self.random.random(shape) < 0.5)
        numbers = np.asarray(self.random.normal(size=shape) * 2)
        if not dtype.is_floating_point:
            return torch.tensor(numbers.round(), dtype=dtype)
        if special:
            numbers = np.where(self.random.random(shape) < 0.3, self.random.choice(SPECIAL[not nan :], shape), numbers)
        return torch.tensor(numbers, dtype=dtype)

    def any(self, *dtypes: torch.dtype, shapes: Sequence[Sequence[int]] = SHAPES, special: bool = True) -> Any:
        return self.tensor(self.of(*shapes), self.of(*dtypes), special=special)

    def floats(self, *shape: int, special: bool = False, nan: bool = True, positive: bool = False) -> Any:
        x = self.tensor(shape, self.dtype(), special=special, nan=nan)
        return x.abs() + 0.1 if positive else x

    def dtype(self) -> torch.dtype:
        """One of FLOATS, the same for all tensors of an example."""
        if not hasattr(self, "chosen"):
            self.chosen = self.of(*FLOATS)
        return self.chosen

    def number(self, *kinds: type) -> bool | int | float:
        kind = self.of(*(kinds or (int, float, bool)))
        return {int: self.of(-2, -1, 1, 2, 3), float: self.of(-0.5, 0.3, 2.0, math.inf), bool: self.flag()}[kind]

    def pair(
        self, *dtypes: torch.dtype, number: bool = True, kinds: Sequence[type] = (int, float, bool)
    ) -> tuple[Any, Any]:
        """Two tensors of dtypes and shapes that fit together, or a tensor and a number."""
        first, second = self.of(*PAIRS)
        a = self.tensor(first, self.of(*dtypes), special=True)
        if number and self.flag() and self.flag():
            return a, self.number(*kinds)
        return a, self.tensor(second, self.of(*dtypes), special=True)

    def alike(self, count: int, *, special: bool = True, nan: bool = True) -> list[Any]:
        """Tensors of one shape and one float dtype."""
        shape = self.of(*SHAPES)
        return [self.floats(*shape, special=special, nan=nan) for _ in range(count)]

    def index(self, low: int, high: int, *shape: int) -> Any:
        return torch.tensor(self.random.integers(low, high, shape))

    def axes(self, ndim: int) -> list[int]:
        return self.of(*[[i] for i in range(-ndim, ndim)], *[[0, -1]] * (ndim > 1))


Make = Callable[[Draw], Sequence[Any]]  # args, and a dict of keywords last where there are some


@st.composite
def arguments(draw: st.DrawFn, make: Make) -> tuple[tuple[Any, ...], dict[str, Any]]:
    made = make(Draw(draw))
    return (made[:-1], made[-1]) if isinstance(made[-1], dict) else (made, {})


CASES: dict[Any, st.SearchStrategy[tuple[tuple[Any, ...], dict[str, Any]]]] = {}


def case(*operators: Any) -> Callable[[Make], Make]:
    def enter(make: Make) -> Make:
        assert not set(operators) & set(CASES)
        CASES.update(dict.fromkeys(operators, arguments(make)))
        return make

    return enter


def cases(table: dict[Any, Make]) -> None:
    for operator, make in table.items():
        case(operator)(make)


# ---- Functions of one, two, three numbers ----


def one(*dtypes: torch.dtype) -> Make:
    return lambda d: (d.any(*dtypes),)


def two(*dtypes: torch.dtype, number: bool = True) -> Make:
    return lambda d: d.pair(*dtypes, number=number)


def scalar(*dtypes: torch.dtype) -> Make:
    return lambda d: (d.any(*dtypes), d.number(int, float))


def divisor(d: Draw) -> tuple[Any, ...]:
    a, b = d.pair(*NUMBERS, number=False)
    return a, b if b.is_floating_point() else b + (b == 0)


cases(
    {
        **{getattr(aten, name).default: one(*ANY) for name in IN_FLOATS},
        **{getattr(aten, name).default: one(*NUMBERS) for name in ("abs", "neg", "floor", "ceil", "trunc", "round")},
        **{getattr(aten, name).default: one(*ANY) for name in ("sign", "sgn", "isnan", "isinf", "logical_not")},
        aten.frac.default: one(*FLOATS),
        aten.nan_to_num.default: lambda d: (d.any(*ANY), d.of(None, 1.5), d.of(None, 9.0), d.of(None, -9.0)),
        aten.bitwise_not.default: one(torch.int64, torch.bool),
        aten.add.Tensor: lambda d: (*d.pair(*NUMBERS), {"alpha": d.of(1, 2)}),
        aten.sub.Tensor: lambda d: (*d.pair(*NUMBERS, kinds=(int, float)), {"alpha": d.of(1, 2)}),
        aten.add.Scalar: lambda d: (d.any(*NUMBERS), d.number(), d.of(1, 2)),
        aten.sub.Scalar: lambda d: (d.any(*NUMBERS), d.number(int, float), d.of(1, 2)),
        aten.rsub.Scalar: lambda d: (d.any(*NUMBERS), d.number(int, float), d.of(1, 2)),
        aten.rsub.Tensor: lambda d: (*d.pair(*NUMBERS, number=False), {"alpha": d.of(1, 2)}),
        aten.mul.Tensor: two(*ANY),
        aten.mul.Scalar: scalar(*ANY),
        aten.div.Tensor: two(*ANY),
        aten.div.Scalar: scalar(*ANY),
        aten.div.Tensor_mode: lambda d: (*divisor(d), {"rounding_mode": d.of(None, "floor", "trunc")}),
        aten.div.Scalar_mode: lambda d: (*scalar(*NUMBERS)(d), {"rounding_mode": d.of(None, "floor", "trunc")}),
        aten.floor_divide.default: divisor,
        aten.floor_divide.Scalar: scalar(*NUMBERS),
        aten.remainder.Tensor: divisor,
        aten.remainder.Scalar: scalar(*NUMBERS),
        aten.remainder.Scalar_Tensor: lambda d: (d.number(int, float), divisor(d)[1]),
        aten.fmod.Tensor: divisor,
        aten.fmod.Scalar: scalar(*NUMBERS),
        aten.pow.Tensor_Scalar: lambda d: (d.any(*FLOATS), d.of(0, 1, 2, 3, -1, -2, 0.5, 1.5, -0.5, 2.0, 20)),
        aten.pow.Scalar: lambda d: (d.of(2, 0.5, 1), d.any(*FLOATS)),
        aten.maximum.default: two(*ANY, number=False),
        aten.minimum.default: two(*ANY, number=False),
        aten.fmax.default: two(*ANY, number=False),
        aten.fmin.default: two(*ANY, number=False),
        aten.logical_and.default: two(*ANY, number=False),
        aten.logical_or.default: two(*ANY, number=False),
        aten.logical_xor.default: two(*ANY, number=False),
        aten.atan2.default: two(*ANY, number=False),
        aten.copysign.Tensor: two(*ANY, number=False),
        aten.copysign.Scalar: scalar(*ANY),
        aten.hypot.default: two(*FLOATS, number=False),
        aten.logaddexp.default: two(*FLOATS, number=False),
        aten.logaddexp2.default: two(*FLOATS, number=False),
        aten.heaviside.default: lambda d: d.alike(2),
        aten.xlogy.Tensor: two(*ANY, number=False),
        aten.xlogy.Scalar_Self: lambda d: (d.number(int, float), d.any(*ANY)),
        aten.xlogy.Scalar_Other: scalar(*ANY),
    }
)
for name in ("eq", "ne", "lt", "le", "gt", "ge"):
    case(getattr(aten, name).Tensor)(two(*ANY, number=False))
    case(getattr(aten, name).Scalar)(scalar(*ANY))
for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    case(getattr(aten, name).Tensor)(two(torch.int64, torch.bool, number=False))
    case(getattr(aten, name).Scalar)(lambda d: (d.any(torch.int64, torch.bool), d.number(int, bool)))
    case(getattr(aten, name).Scalar_Tensor)(lambda d: (d.number(int, bool), d.any(torch.int64, torch.bool)))


@case(aten.pow.Tensor_Tensor)
def _(d: Draw) -> tuple[Any, ...]:
    a, b = d.pair(*NUMBERS, number=False)
    return a, b if b.is_floating_point() else b.abs()


@case(aten.where.self)
def _(d: Draw) -> tuple[Any, ...]:
    a, b = d.pair(*ANY, number=False)
    return d.any(torch.bool, shapes=[(), (6, 8)]), a, b


@case(aten.addcmul.default, aten.addcdiv.default)
def _(d: Draw) -> tuple[Any, ...]:
    a, b = d.pair(d.dtype(), number=False)
    return d.floats(6, 8, special=True), a, b, {"value": d.of(1, -0.5)}


@case(aten.lerp.Tensor)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(3, 4), d.floats(4), d.floats(*d.of((), (3, 4)))


@case(aten.lerp.Scalar)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(3, 4), d.floats(4), d.of(0.1, 0.5, 0.9, 1)


@case(aten.clamp.default)
def _(d: Draw) -> tuple[Any, ...]:
    low, high = d.of((None, 1), (-1, None), (-0.5, 0.5), (1, -1))
    return d.any(*NUMBERS), low, high


@case(aten.clamp.Tensor)
def _(d: Draw) -> tuple[Any, ...]:
    x, low = d.pair(*NUMBERS, number=False)
    return x, *d.of((low, None), (None, low), (low, torch.tensor(1)))


@case(aten.masked_fill.Scalar)
def _(d: Draw) -> tuple[Any, ...]:
    return d.any(*NUMBERS, shapes=[(3, 4), (4,)]), d.any(torch.bool, shapes=[(3, 4), (4,)]), d.number(int)


@case(aten.masked_fill.Tensor)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(3, 4), d.any(torch.bool, shapes=[(3, 4), (4,)]), d.of(torch.tensor(2.0), torch.tensor(1))


case(aten.clamp_min.default, aten.clamp_max.default)(scalar(*NUMBERS))
case(aten.clamp_min.Tensor, aten.clamp_max.Tensor)(two(*NUMBERS, number=False))


# ---- Activations ----


def gradient(d: Draw) -> list[Any]:
    """A gradient and what it is the gradient of, without NaN, for which torch itself gives now NaN, now 0."""
    return d.alike(2, nan=False)


APPROXIMATE = ({}, {"approximate": "none"}, {"approximate": "tanh"})
for name in ("relu", "silu", "mish", "hardsigmoid", "hardswish", "log_sigmoid_forward"):
    case(getattr(aten, name).default)(one(*FLOATS))
for name in ("tanh", "sigmoid", "silu", "mish"):
    case(getattr(aten, f"{name}_backward").default)(lambda d: d.alike(2))
cases(
    {
        aten.gelu.default: lambda d: (d.floats(3, 4), d.of(*APPROXIMATE)),  # torch's of inf is NaN on some CPUs
        aten.gelu_backward.default: lambda d: (*d.alike(2, special=False), d.of(*APPROXIMATE)),
        aten.threshold.default: lambda d: (d.any(*FLOATS), d.of(0, 0.5), d.of(0, 20)),
        aten.threshold_backward.default: lambda d: (*d.alike(2), d.of(0, 0.5)),
        aten.leaky_relu.default: lambda d: (d.any(*FLOATS), d.of(0.01, 0, 2.0)),
        aten.leaky_relu_backward.default: lambda d: (*d.alike(2), d.of(0.01, 0.2), False),
        aten.elu.default: lambda d: (d.any(*FLOATS), d.of(1, 2.0), d.of(1, 1.5), d.of(1, 0.5)),
        aten.celu.default: lambda d: (d.any(*FLOATS), d.of(1, 2.0)),
        aten.softplus.default: lambda d: (d.any(*FLOATS), d.of(1, 2.0), d.of(20, 1)),
        aten.softplus_backward.default: lambda d: (*d.alike(2), d.of(1, 2.0), d.of(20, 1)),
        aten.hardtanh.default: lambda d: (d.any(*FLOATS), d.of(-1, -0.5), d.of(1, 6)),
        aten.hardtanh_backward.default: lambda d: (*gradient(d), d.of(-1, -0.5), d.of(1, 6)),
        aten.hardshrink.default: lambda d: (d.any(*FLOATS), d.of(0.5, 1)),
        aten.softshrink.default: lambda d: (d.any(*FLOATS), d.of(0.5, 1)),
        aten.hardshrink_backward.default: lambda d: (*gradient(d), d.of(0.5, 1)),
        aten.softshrink_backward.default: lambda d: (*gradient(d), d.of(0.5, 1)),
        aten.hardswish_backward.default: gradient,
        aten.hardsigmoid_backward.default: lambda d: [x.float() for x in gradient(d)],  # torch's 1/6 is a float32
        aten._prelu_kernel.default: lambda d: d.alike(2),
        aten._prelu_kernel_backward.default: lambda d: d.alike(3),
        aten.glu.default: lambda d: (d.floats(3, 4), d.of(-1, 1)),
        aten.glu_backward.default: lambda d: (d.floats(3, 2), d.floats(3, 4), d.of(-1, 1)),
    }
)


@case(aten.elu_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    g, x = gradient(d)
    alpha, scale, input_scale, is_result = d.of(1, 2.0), d.of(1, 1.5), d.of(1, 0.5), d.flag()
    return g, alpha, scale, input_scale, is_result, aten.elu(x, alpha, scale, input_scale) if is_result else x


@case(aten.log_sigmoid_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    g, x = d.alike(2)
    return g, x, aten.log_sigmoid_forward(x)[1]


# ---- Reductions ----


def reduction(*dtypes: torch.dtype, one_axis: bool = False, special: bool = True) -> Make:
    def make(d: Draw) -> tuple[Any, ...]:
        x = d.any(*dtypes, shapes=REDUCED, special=special)
        axes = d.axes(x.ndim)
        return x, axes[0] if one_axis else axes, d.flag()

    return make


def to_dtype(make: Make, *dtypes: torch.dtype | None) -> Make:
    return lambda d: (*make(d), {"dtype": d.of(*dtypes)})


def statistic(d: Draw) -> tuple[Any, ...]:
    x = d.floats(*d.of(*REDUCED))
    keywords = {"correction": d.of(None, 0, 1, 2, 5), "keepdim": d.flag()}
    return x, d.of(None, [0], [-1], [0, -1] if x.ndim > 1 else [0]), keywords


WIDER = (None, torch.float64)
cases(
    {
        aten.sum.dim_IntList: to_dtype(reduction(*ANY), *WIDER),
        aten.sum.default: to_dtype(one(*ANY), *WIDER),
        aten.mean.dim: to_dtype(reduction(*FLOATS), *WIDER),
        aten.mean.default: to_dtype(one(*ANY), torch.float32, torch.float64),
        aten.prod.dim_int: to_dtype(reduction(*ANY, one_axis=True), *WIDER),
        aten.prod.default: to_dtype(one(*ANY), *WIDER),
        aten.cumsum.default: to_dtype(lambda d: reduction(*ANY, one_axis=True)(d)[:2], *WIDER),
        aten.cumprod.default: to_dtype(lambda d: reduction(*ANY, one_axis=True)(d)[:2], *WIDER),
        aten.logcumsumexp.default: lambda d: reduction(*FLOATS, one_axis=True, special=False)(d)[:2],
        aten.amax.default: reduction(*ANY),
        aten.amin.default: reduction(*ANY),
        aten.max.default: one(*ANY),
        aten.min.default: one(*ANY),
        aten.max.dim: reduction(*ANY, one_axis=True),
        aten.min.dim: reduction(*ANY, one_axis=True),
        aten.argmax.default: lambda d: d.of((d.any(*NUMBERS),), reduction(*NUMBERS, one_axis=True)(d)),
        aten.argmin.default: lambda d: d.of((d.any(*NUMBERS),), reduction(*NUMBERS, one_axis=True)(d)),
        aten.any.default: one(*ANY),
        aten.all.default: one(*ANY),
        aten.any.dim: reduction(*ANY, one_axis=True),
        aten.all.dim: reduction(*ANY, one_axis=True),
        aten.any.dims: reduction(*ANY),
        aten.all.dims: reduction(*ANY),
        aten.logsumexp.default: reduction(*NUMBERS),
        aten.var.correction: statistic,
        aten.std.correction: statistic,
        aten.var_mean.correction: statistic,
        aten.trace.default: lambda d: (d.any(*NUMBERS, shapes=[(3, 4), (4, 3)]),),
        aten.norm.Scalar: lambda d: (d.floats(3, 4), d.of(2, 1, 3.5)),
        aten.norm.ScalarOpt_dim: lambda d: (d.floats(3, 4), d.of(None, 2, 1, math.inf), d.axes(2), d.flag()),
    }
)


@case(aten.linalg_vector_norm.default)
def _(d: Draw) -> tuple[Any, ...]:
    order = d.of(0, 1, 2, 2.0, 3, 0.5, math.inf, -math.inf)
    return d.floats(2, 3, 4, special=d.flag()), order, d.of(None, [1], [-1, 0]), d.flag(), {"dtype": d.of(*WIDER)}


# ---- Products of matrices ----


def plus(shape: Sequence[int], first: Sequence[int], second: Sequence[int]) -> Make:
    def make(d: Draw) -> tuple[Any, ...]:
        beta, alpha = d.of((1, 1), (0, 1), (0.5, -2))
        c = d.floats(*d.of(shape, shape[-1:]))
        c = c * math.nan if beta == 0 else c
        return c, d.floats(*first), d.floats(*second), {"beta": beta, "alpha": alpha}

    return make


cases(
    {
        aten.mm.default: lambda d: (d.floats(3, 4), d.floats(4, 2)),
        aten.bmm.default: lambda d: (d.floats(2, 3, 4), d.floats(2, 4, 2)),
        aten.mv.default: lambda d: (d.floats(3, 4), d.floats(4)),
        aten.dot.default: lambda d: (d.floats(4), d.floats(4)),
        aten.addmm.default: plus((3, 2), (3, 4), (4, 2)),
        aten.baddbmm.default: plus((2, 3, 2), (2, 3, 4), (2, 4, 2)),
        aten.addbmm.default: plus((3, 2), (2, 3, 4), (2, 4, 2)),
        aten.addmv.default: plus((3,), (3, 4), (4,)),
        aten.addr.default: plus((3, 2), (3,), (2,)),
    }
)


@case(aten._trilinear.default)
def _(d: Draw) -> tuple[Any, ...]:
    axes = d.of(([1, 3], [0], [1, 2], [2, 3]), ([], [3], [0], [1]))
    shapes = ((2, 4), (3, 4, 5), (2, 5)) if axes[0] else ((2, 3, 4, 5), (2, 3, 4), (3, 4, 5))
    return *(d.floats(*shape) for shape in shapes), *axes


# ---- Views ----

END = 2**63 - 1


@case(aten.slice.Tensor)
def _(d: Draw) -> tuple[Any, ...]:
    start, end = d.of((0, END), (1, END), (-2, END), (0, -1), (1, 2), (None, None), (3, 1), (-9, 9))
    return d.any(*ANY, shapes=[(5,), (3, 5)]), -1, start, end, d.of(1, 2)


@case(aten.slice_backward.default, aten.slice_scatter.default)
def _(d: Draw) -> tuple[Any, ...]:
    start, end, step = d.of((0, END, 1), (1, END, 2), (-2, END, 1), (0, -1, 3), (1, 2, 1), (-9, 9, 2), (3, 3, 1))
    count, dim = len(range(5)[start:end:step]), d.of(1, -1)
    return d.floats(3, count), [3, 5], dim, start, end, step


CASES[aten.slice_scatter.default] = CASES[aten.slice_backward.default].map(
    lambda given: ((torch.ones(given[0][1], dtype=given[0][0].dtype), *(given[0][0], *given[0][2:])), {})
)


@case(aten.split_with_sizes.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.any(*ANY, shapes=[(3, 5)]), d.of([2, 3], [1, 4, 0], [5]), d.of(1, -1)


@case(aten.diagonal.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.any(*ANY, shapes=[(2, 3, 4)]), d.of(-1, 0, 1), *d.of((0, 1), (-2, -1), (2, 0))


@case(aten.diagonal_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    offset, dims = d.of(-1, 0, 1), d.of((0, 1), (-2, -1), (2, 0))
    return d.floats(*torch.zeros(2, 3, 4).diagonal(offset, *dims).shape), [2, 3, 4], offset, *dims


@case(aten.diagonal_scatter.default)
def _(d: Draw) -> tuple[Any, ...]:
    offset, dims = d.of(-1, 0, 1), d.of((0, 1), (-2, -1), (2, 0))
    return d.floats(2, 3, 4), d.floats(*torch.zeros(2, 3, 4).diagonal(offset, *dims).shape), offset, *dims


@case(aten.unfold_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    size, step = d.of((2, 1), (2, 3), (3, 2))
    return d.floats(*torch.zeros(3, 6).unfold(1, size, step).shape), [3, 6], 1, size, step


def shaped(*shapes: Sequence[int], more: Sequence[Any] = ((),)) -> Make:
    """A tensor of one of these shapes and one of these further arguments."""
    return lambda d: (d.any(*ANY, shapes=shapes), *d.of(*more))


cases(
    {
        aten.view.default: shaped((3, 4), more=[([12],), ([-1, 2],), ([2, 3, 2],)]),
        aten._unsafe_view.default: shaped((3, 4), more=[([12],), ([-1, 2],)]),
        aten.expand.default: shaped((3, 1), more=[([3, 4],), ([2, -1, 4],), ([3, 1],)]),
        aten.permute.default: shaped((2, 3, 4), more=[([2, 0, 1],), ([0, -1, 1],)]),
        aten.transpose.int: shaped((2, 3, 4), more=[(0, 1), (-1, -2)]),
        aten.t.default: shaped((3, 4), (4,), ()),
        aten.squeeze.default: shaped((1, 3, 1), (3, 4), ()),
        aten.squeeze.dim: shaped((1, 3, 1), (3, 4, 1), more=[(0,), (-1,), (1,)]),
        aten.squeeze.dims: shaped((1, 3, 1), (3, 4, 1), more=[([0, -1],), ([1],), ([],)]),
        aten.unsqueeze.default: shaped((3, 4), more=[(0,), (-1,), (1,)]),
        aten.select.int: shaped((3, 4), more=[(0, 2), (-1, -1), (1, 0)]),
        aten.select_backward.default: lambda d: (d.floats(3), [3, 4], d.of(1, -1), d.of(0, -1, 2)),
        aten.select_scatter.default: lambda d: (d.floats(3, 4), d.floats(3), d.of(1, -1), d.of(0, -1, 2)),
        aten.split.Tensor: shaped((3, 5), more=[(2, 1), (5, -1), (2,)]),
        aten.unbind.int: shaped((3, 4), more=[(), (-1,)]),
        aten.diag_embed.default: shaped((3, 4), more=[(), (1,), (-2,), (1, 0, 2), (-1, -1, 0)]),
        aten.flip.default: shaped((3, 4), more=[([0],), ([0, -1],), ([],)]),
        aten.roll.default: shaped((3, 4), more=[([2],), ([1], [1]), ([1, -1], [0, 1])]),
        aten.repeat.default: shaped((3, 4), more=[([1, 2],), ([2, 1, 3],)]),
        aten.unfold.default: shaped((3, 6), more=[(1, 2, 1), (-1, 3, 2), (0, 2, 2)]),
        aten.constant_pad_nd.default: shaped((3, 4), more=[([1, 2],), ([1, 0, 0, 2], 1), ([-1, 1],)]),
        aten.triu.default: shaped((3, 4), (2, 3, 4), more=[(), (1,), (-1,)]),
        aten.tril.default: shaped((3, 4), (2, 3, 4), more=[(), (1,), (-1,)]),
        aten.cat.default: lambda d: ([d.any(*ANY, shapes=[(3, 4)]) for _ in range(3)], d.of(0, -1)),
        aten.stack.default: lambda d: ([d.any(*ANY, shapes=[(3, 4)]) for _ in range(3)], d.of(0, -1)),
    }
)


# ---- New tensors, copies ----


def created(*arguments: tuple[Any, ...]) -> Make:
    return lambda d: (*d.of(*arguments), {"dtype": d.of(None, *ANY)})


def from_tensor(*arguments: tuple[Any, ...]) -> Make:
    return lambda d: (d.any(*ANY), *d.of(*arguments), {"dtype": d.of(None, *ANY)})


EMPTY = {  # their numbers mean nothing
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
}
for name in ("clone", "detach", "alias", "lift_fresh", "lift_fresh_copy", "zero"):
    case(getattr(aten, name).default)(one(*ANY))
cases(
    {
        aten.full.default: created(([3, 4], 2), ([], 1.5), ([3], True)),
        aten.full_like.default: from_tensor((2,), (1.5,)),
        aten.new_full.default: from_tensor(([3], 2), ([], 1.5)),
        aten.fill.Scalar: lambda d: (d.any(*NUMBERS), d.of(2, -1)),
        aten.fill.Tensor: lambda d: (d.any(*NUMBERS), d.of(torch.tensor(2.0), torch.tensor(1))),
        aten.scalar_tensor.default: created((2,), (1.5,), (True,)),
        aten.eye.default: created((3,)),
        aten.eye.m: created((3, 4)),
        aten.arange.default: lambda d: (d.of(4, 2.5), {"dtype": d.of(None, *NUMBERS)}),
        aten.arange.start: lambda d: (*d.of((1, 4), (-1, 1.5)), {"dtype": d.of(None, *NUMBERS)}),
        aten.arange.start_step: lambda d: (*d.of((1, 8, 3), (4, 0, -1), (0, 1, 0.3)), {"dtype": d.of(None, *FLOATS)}),
        aten.linspace.default: lambda d: (d.of(0, -1.5), d.of(1, 9.5), d.of(1, 5), {"dtype": d.of(None, *FLOATS)}),
        aten.ones.default: created(([3, 4],), ([],)),
        aten.zeros.default: created(([3, 4],), ([],)),
        aten.empty.memory_format: created(([3, 4],), ([],)),
        aten.ones_like.default: from_tensor(()),
        aten.zeros_like.default: from_tensor(()),
        aten.empty_like.default: from_tensor(()),
        aten.new_ones.default: from_tensor(([3, 4],)),
        aten.new_zeros.default: from_tensor(([3, 4],)),
        aten.new_empty.default: from_tensor(([3, 4],)),
        aten.new_empty_strided.default: from_tensor(([3, 4], [4, 1])),
        aten.copy.default: lambda d: (d.floats(3, 4), d.any(*NUMBERS, shapes=[(3, 4), (4,), ()])),
        aten._to_copy.default: lambda d: (d.any(*ANY, special=False), {"dtype": d.of(None, *ANY)}),
    }
)


# ---- Indices ----


def indices(d: Draw) -> tuple[tuple[int, ...], list[Any]]:
    """A shape and how to index it: the axes of several index tensors side by side, or None between them."""
    row, column = d.index(-3, 3, 5), d.index(-4, 4, *d.of((5,), (2, 5), ()))
    return d.of(((3, 4), [row]), ((3, 4), [row, column]), ((3, 4), [None, column]), ((3, 2, 4), [row, None, column]))


@case(aten.index.Tensor, aten._unsafe_index.Tensor)
def _(d: Draw) -> tuple[Any, ...]:
    shape, where = indices(d)
    return d.any(*ANY, shapes=[shape]), where


@case(aten.index_put.default)
def _(d: Draw) -> tuple[Any, ...]:
    shape, where = indices(d)
    if d.flag():
        return d.floats(*shape), where, d.floats(*aten.index(torch.zeros(shape), where).shape), True
    mask = d.any(torch.bool, shapes=[(3,), (3, 4)])
    return d.floats(3, 4, special=True), *d.of(([mask], d.floats()), ([torch.tensor([2, -3])], d.floats(4))), d.flag()


@case(aten._unsafe_index_put.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(3, 4), [None, d.index(0, 4, 5)], d.floats(3, 5), True


@case(aten.gather.default)
def _(d: Draw) -> tuple[Any, ...]:
    shape, dim = d.of(((2, 3), 1), ((3, 2), -1), ((3, 1), 1), ((5, 4), 0))
    return d.any(*ANY, shapes=[(3, 4)]), dim, d.index(0, 3, *shape)


def scattered(d: Draw, *, repeated: bool) -> tuple[Any, ...]:
    """A tensor, an axis, an index and values for it, which may have more than are used."""
    dim = d.of(0, 1, -1)
    index = d.index(0, 3, 2, 3) if repeated else torch.tensor(d.random.permuted(np.arange(3)))[:2, None].expand(2, 3)
    if dim != 0:
        index = index.T
    return d.floats(3, 4), dim, index.contiguous(), d.floats(*d.of(index.shape, (3, 4)))


@case(aten.scatter.reduce)
def _(d: Draw) -> tuple[Any, ...]:
    return *scattered(d, repeated=True), {"reduce": d.of("add", "multiply")}


@case(aten.scatter.value_reduce)
def _(d: Draw) -> tuple[Any, ...]:
    return *scattered(d, repeated=True)[:3], d.number(int), {"reduce": d.of("add", "multiply")}


@case(aten.embedding_dense_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    labels = d.index(0, 5, *d.of((6,), (2, 3)))
    return d.floats(*labels.shape, 4), labels, 5, d.of(-1, 2), d.flag()


@case(aten.embedding.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(5, 4), d.index(0, 5, *d.of((6,), (2, 3), ())), *d.of((), (2, False, False))


@case(aten.sort.stable)
def _(d: Draw) -> tuple[Any, ...]:
    return d.any(*ANY, shapes=[(3, 6), (6,)]), {"stable": True, "dim": d.of(0, -1), "descending": d.flag()}


@case(aten.sort.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(3, 6), d.of(0, -1), d.flag()  # no number twice: torch's order of equals is its own


@case(aten.topk.default)
def _(d: Draw) -> tuple[Any, ...]:
    x = d.floats(3, 6)
    x[0, 0] = d.of(math.nan, math.inf, -math.inf, 0.0)
    return x, d.of(1, 3), d.of(0, -1, 1), d.flag()


cases(
    {
        aten.index_select.default: lambda d: (
            d.any(*ANY, shapes=[(3, 4)]),
            d.of(0, -1),
            d.index(0, 3, *d.of((), (5,))),
        ),
        aten.index_add.default: lambda d: (d.floats(3, 4), 1, d.index(0, 4, 5), d.floats(3, 5), {"alpha": d.of(1, 2)}),
        aten.index_copy.default: lambda d: (d.floats(3, 4), 1, torch.tensor([2, 0]), d.floats(3, 2)),
        aten.index_fill.int_Scalar: lambda d: (d.any(*NUMBERS, shapes=[(3, 4)]), -1, d.index(0, 4, 2), d.of(2, -1)),
        aten.index_fill.int_Tensor: lambda d: (d.floats(3, 4), -1, d.index(0, 4, 2), torch.tensor(2.0)),
        aten.scatter.src: lambda d: scattered(d, repeated=False),
        aten.scatter.value: lambda d: (*scattered(d, repeated=True)[:3], d.number(int, float)),
        aten.scatter_add.default: lambda d: scattered(d, repeated=True),
    }
)


# ---- Softmax and losses ----


def softmax(d: Draw) -> tuple[Any, ...]:
    return d.floats(2, 3, 4, special=d.flag()), d.of(0, 1, -1), False


case(aten._softmax.default, aten._log_softmax.default)(softmax)
case(aten._softmax_backward_data.default, aten._log_softmax_backward_data.default)(
    lambda d: (d.floats(2, 3, 4), d.floats(2, 3, 4), d.of(0, 1, -1), d.dtype())
)


def loss(*settings: tuple[Any, ...]) -> Make:
    return lambda d: (*d.alike(2), d.of(0, 1, 2), *d.of(*settings))


def loss_backward(*settings: tuple[Any, ...]) -> Make:
    def make(d: Draw) -> tuple[Any, ...]:
        x, y = d.alike(2)
        reduction = d.of(0, 1, 2)
        return d.floats(*x.shape if reduction == 0 else ()), x, y, reduction, *d.of(*settings)

    return make


def probabilities(d: Draw, *, weighted: bool = True) -> tuple[Any, ...]:
    x, y = (each.sigmoid() for each in d.alike(2, special=False))
    return x, y, d.of(None, x.abs()) if weighted else None, d.of(0, 1, 2)


cases(
    {
        aten.mse_loss.default: loss(()),
        aten.mse_loss_backward.default: loss_backward(()),
        aten.huber_loss.default: loss((), (0.5,)),
        aten.huber_loss_backward.default: loss_backward((1.0,), (0.5,)),
        aten.smooth_l1_loss.default: loss((), (0.5,)),
        aten.smooth_l1_loss_backward.default: loss_backward((1.0,), (0.5,)),
        aten.soft_margin_loss.default: loss(()),
        aten.soft_margin_loss_backward.default: loss_backward(()),
        aten.binary_cross_entropy.default: probabilities,
    }
)


@case(aten.binary_cross_entropy_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, y, weight, reduction = probabilities(d)
    return d.floats(*x.shape if reduction == 0 else ()), x, y, weight, reduction


@case(aten.binary_cross_entropy_with_logits.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, y = d.floats(3, 4, special=True), d.floats(3, 4).sigmoid()
    return x, y, d.of(None, d.floats(3, 4)), d.of(None, d.floats(4)), d.of(0, 1, 2)


def labelled(d: Draw) -> tuple[Any, ...]:
    target = d.index(0, 5, 3)
    target = d.of(target, torch.where(target == 0, -100, target), torch.full_like(target, -100))
    return d.floats(3, 5), target, d.of(None, d.floats(5, positive=True)), d.of(0, 1, 2), -100


@case(aten.nll_loss_forward.default)
def _(d: Draw) -> tuple[Any, ...]:
    return labelled(d)


@case(aten.nll_loss_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, target, weight, reduction, ignore = labelled(d)
    total = aten.nll_loss_forward(x, target, weight, reduction, ignore)[1]
    return d.floats(*[3] * (reduction == 0)), x, target, weight, reduction, ignore, total


def labelled_2d(d: Draw) -> tuple[Any, ...]:
    target = d.index(0, 4, 3, 2, 2)
    target = d.of(target, torch.where(target == 0, -100, target))
    return d.floats(3, 4, 2, 2), target, d.of(None, d.floats(4, positive=True)), d.of(0, 1, 2), -100


@case(aten.nll_loss2d_forward.default)
def _(d: Draw) -> tuple[Any, ...]:
    return labelled_2d(d)


@case(aten.nll_loss2d_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, target, weight, reduction, ignore = labelled_2d(d)
    total = aten.nll_loss2d_forward(x, target, weight, reduction, ignore)[1]
    return d.floats(*[3, 2, 2] * (reduction == 0)), x, target, weight, reduction, ignore, total


# ---- Normalization ----


@case(aten.native_layer_norm.default)
def _(d: Draw) -> tuple[Any, ...]:
    shape = d.of([4], [3, 4])
    return d.floats(2, 3, 4), shape, d.of(None, d.floats(*shape)), d.of(None, d.floats(*shape)), 1e-5


@case(aten.native_layer_norm_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, shape = d.floats(2, 3, 4), d.of([4], [3, 4])
    weight, bias = d.floats(*shape), d.floats(*shape)
    _, mean, rstd = aten.native_layer_norm(x, shape, weight, bias, 1e-5)
    return d.floats(2, 3, 4), x, shape, mean, rstd, weight, bias, d.of([True] * 3, [True, False, True])


@case(aten.native_group_norm.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(2, 4, 3), d.of(None, d.floats(4)), d.of(None, d.floats(4)), 2, 4, 3, d.of(1, 2, 4), 1e-5


@case(aten.native_group_norm_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, weight, groups = d.floats(2, 4, 3), d.of(None, d.floats(4)), d.of(1, 2, 4)
    _, mean, rstd = aten.native_group_norm(x, weight, None, 2, 4, 3, groups, 1e-5)
    return d.floats(2, 4, 3), x, mean, rstd, weight, 2, 4, 3, groups, [True, weight is not None, weight is not None]


@case(aten.native_batch_norm.default)
def _(d: Draw) -> tuple[Any, ...]:
    statistics = d.of((None, None, True), (d.floats(4), d.floats(4, positive=True), False))
    return d.floats(*d.of((3, 4), (3, 4, 2))), d.of(None, d.floats(4)), d.of(None, d.floats(4)), *statistics, 0.1, 1e-5


@case(aten.native_batch_norm_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, weight = d.floats(3, 4, 2), d.of(None, d.floats(4))
    statistics = d.of((None, None, True), (d.floats(4), d.floats(4, positive=True), False))
    _, mean, rstd = aten.native_batch_norm(x, weight, None, *statistics, 0.1, 1e-5)
    mask = [True, weight is not None, weight is not None]
    return d.floats(3, 4, 2), x, weight, *statistics[:2], mean, rstd, statistics[2], 1e-5, mask


# ---- Convolutions, pooling, attention ----


CONVOLUTIONS = (  # weight, stride, padding, dilation, transposed, output padding, groups
    ((4, 4, 3), [1], [0], [1], False, [0], 1),
    ((4, 2, 3, 2), [2, 1], [1, 2], [1, 1], False, [0, 0], 2),
    ((4, 4, 3, 2), [1, 2], [0, 1], [2, 1], False, [0, 0], 1),
    ((4, 2, 3, 2), [2, 1], [1, 0], [2, 1], True, [1, 0], 2),
)


def convolution(d: Draw) -> tuple[Any, ...]:
    """An input, weights and how to convolve them."""
    shape, *how = d.of(*CONVOLUTIONS)
    return d.floats(2, 4, *[7, 6][: len(shape) - 2]), d.floats(*shape), *how


@case(aten.convolution.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, weight, *how, transposed, output_padding, groups = convolution(d)
    outputs = 2 * groups if transposed else 4
    return x, weight, d.of(None, d.floats(outputs)), *how, transposed, output_padding, groups


@case(aten.convolution_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, weight, *how = convolution(d)
    y = aten.convolution(x, weight, None, *how)
    mask = d.of([True] * 3, [False, True, False])
    return d.floats(*y.shape), x, weight, [y.shape[1]], *how, mask


POOLS = (([2], [], [0]), ([2, 3], [2, 1], [1]), ([3], [2], [1, 0]))  # kernel, stride, padding
MAX_POOLS = ((*POOLS[0], [1], False), (*POOLS[1], [2, 1], False), (*POOLS[2], [1], True))  # dilation, ceil
# ceil, whether to count the padding, divisor
AVERAGE_POOLS = ((*POOLS[0], False, True, None), (*POOLS[1], True, False, None), (*POOLS[2], True, True, 5))


@case(aten.max_pool2d_with_indices.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(2, 3, 7, 6, special=d.flag()), *d.of(*MAX_POOLS)


@case(aten.max_pool2d_with_indices_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, how = d.floats(2, 3, 7, 6), d.of(*MAX_POOLS)
    y, places = aten.max_pool2d_with_indices(x, *how)
    return d.floats(*y.shape), x, *how, places


@case(aten.avg_pool2d.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(2, 3, 7, 6), *d.of(*AVERAGE_POOLS)


@case(aten.avg_pool2d_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    x, how = d.floats(2, 3, 7, 6), d.of(*AVERAGE_POOLS)
    return d.floats(*aten.avg_pool2d(x, *how).shape), x, *how


@case(aten._adaptive_avg_pool2d.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(2, 3, 7, 6), d.of([2, 3], [3, 4], [7, 1])


@case(aten._adaptive_avg_pool2d_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    return d.floats(2, 3, *d.of([2, 3], [3, 4])), d.floats(2, 3, 7, 6)


def attention(d: Draw) -> tuple[tuple[Any, ...], dict[str, Any]]:
    q, k, v = (d.floats(2, 3, length, 4) for length in (5, 5, 5))
    causal, how = d.of((True, {}), (False, {"attn_mask": d.floats(5, 5), "scale": 1.0}))
    return (q, k, v, 0.0, causal), how


@case(aten._scaled_dot_product_flash_attention_for_cpu.default)
def _(d: Draw) -> tuple[Any, ...]:
    args, kwargs = attention(d)
    return *args, kwargs


@case(aten._scaled_dot_product_flash_attention_for_cpu_backward.default)
def _(d: Draw) -> tuple[Any, ...]:
    (q, k, v, *how), kwargs = attention(d)
    y, total = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, *how, **kwargs)
    return d.floats(2, 3, 5, 4), q, k, v, y, total, *how, kwargs


# ---- Linear algebra ----


def matrices(d: Draw, *batch: int) -> Any:
    """Well conditioned."""
    return d.floats(*batch, 3, 3) + 9 * torch.eye(3)


cases(
    {
        aten.linalg_cross.default: lambda d: (d.floats(3, 3), d.floats(1, 3), {"dim": d.of(1, -1)}),
        aten.linalg_inv_ex.default: lambda d: (matrices(d, 2),),
        aten.linalg_qr.default: lambda d: (d.floats(2, *d.of((3, 4), (4, 3))), d.of("reduced", "complete", "r")),
        aten._linalg_eigh.default: lambda d: (matrices(d, 2), d.of("L", "U"), d.flag()),
        aten._linalg_check_errors.default: lambda d: (torch.zeros(2, dtype=torch.int32), "inv", {"is_matrix": False}),
    }
)


@case(aten.linalg_cholesky_ex.default)
def _(d: Draw) -> tuple[Any, ...]:
    half = matrices(d, *d.of((), (2,)))
    return half @ half.mT, {"upper": d.flag()}


@case(aten.linalg_solve_triangular.default)
def _(d: Draw) -> tuple[Any, ...]:
    upper, left = d.flag(), d.flag()
    b = d.floats(*d.of((3, 3), (2, 3, 3)))
    return matrices(d, 2), b, {"upper": upper, "left": left, "unitriangular": d.flag()}


# ---- The tests ----

INTEGERS = (torch.uint8, torch.int32, torch.int64)
OPERANDS = (
    *(
        torch.zeros(shape, dtype=dtype)
        for shape in ((), (1,))
        for dtype in (*FLOATS, torch.float16, *INTEGERS, torch.bool)
    ),
    *(True, 1, 0.5),
)


def in_jax(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """What the rule gives within a program of XLA, which knows the numbers of no tensor."""
    given, tree = jax.tree.flatten((args, kwargs), is_leaf=lambda x: x is None)
    places = [i for i, x in enumerate(given) if isinstance(x, torch.Tensor)]

    def run(arrays: Sequence[Any]) -> Any:
        known = dict(zip(places, arrays, strict=True))
        args, kwargs = jax.tree.unflatten(tree, [known.get(i, x) for i, x in enumerate(given)])
        return RULES[operator](*args, **kwargs)

    with jax.enable_x64(True):
        program = jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})  # compiles faster
        return several(program([given[i].numpy() for i in places]))


def several(x: Any) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]


@pytest.mark.parametrize("first", OPERANDS, ids=repr)
def test_dtypes_are_promoted_as_by_torch(first: Any) -> None:
    for second in OPERANDS:
        if isinstance(first, torch.Tensor) or isinstance(second, torch.Tensor):
            with jax.enable_x64(True):
                found = promoted(
                    *(jnp.asarray(x.numpy()) if isinstance(x, torch.Tensor) else x for x in (first, second))
                )
            assert found == DTYPES[torch.result_type(first, second)], second


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == set(RULES)


@pytest.mark.slow  # JAX compiles some thousand small programs
@pytest.mark.parametrize("operator", RULES, ids=str)
@settings(max_examples=5)
@given(data=st.data())
def test_a_rule_gives_what_torch_gives(operator: Any, data: st.DataObject) -> None:
    args, kwargs = data.draw(CASES[operator])
    found, expected = in_jax(operator, args, kwargs), several(operator(*args, **kwargs))
    assert len(found) == len(expected)
    for mine, its in zip(found, expected, strict=True):
        if its is None:
            assert mine is None
            continue
        assert mine.shape == tuple(its.shape)
        assert mine.dtype == DTYPES[its.dtype]
        assert not mine.weak_type
        if operator not in EMPTY:
            check_equal(operator, np.asarray(mine), its)


READERS = {  # with an index that is out of range
    aten.index.Tensor: lambda x, i: (x, [i]),
    aten.index_select.default: lambda x, i: (x, 0, i),
    aten.gather.default: lambda x, i: (x, 0, i[:, None]),
    aten.embedding.default: lambda x, i: (x, i),
}


@pytest.mark.parametrize("operator", READERS, ids=str)
def test_an_index_out_of_range_reads_nan(operator: Any) -> None:
    with jax.enable_x64(True):
        assert jnp.isnan(RULES[operator](*READERS[operator](jnp.ones((3, 2)), jnp.array([3])))).all()


def test_a_mask_hides_no_infinity() -> None:
    with jax.enable_x64(True):
        product = jax.jit(lambda mask, x: RULES[aten.mul.Tensor](RULES[aten._to_copy.default](mask, torch.float32), x))
        assert jnp.isnan(product(jnp.zeros(3, bool), jnp.full(3, jnp.inf))).all()


def check_equal(operator: Any, mine: Any, its: torch.Tensor) -> None:
    """Up to rounding in relation to the largest number, and the signs of eigenvectors."""
    if operator == aten._linalg_eigh.default:
        mine, its = np.abs(mine), its.abs()
    tolerance = TOLERANCE.get(its.dtype, 0)
    finite = its[its.isfinite()].double().abs()
    scale = max(1.0, finite.max().item()) if finite.numel() else 1.0
    np.testing.assert_allclose(mine, its.numpy(), tolerance, tolerance * scale)
