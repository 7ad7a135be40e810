"""What each operator of torch is in JAX: the table by which a recorded training step runs in XLA.

A rule takes the operator's arguments as they were recorded after autograd: tensors are JAX arrays, all else is as torch
got it (numbers, None, lists of numbers or of arrays, torch dtypes). It returns an array, or a list of arrays where the
operator has several results, with torch's shapes and dtypes, never weakly typed. Rules expect 64 bits to be enabled and
torch's default dtype to be float32.

Rules are literal; making them fast is left to XLA. What XLA cannot do has no rule: shapes that depend on numbers
(boolean indices, nonzero), numbers that become Python's (`item`), torch's own random numbers, complex numbers. An index
out of range, which is an error in torch, reads NaN (the least number of integers), so that the run diverges.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.scipy import special

from dyntoolkit.engine.record import Line, Place

Array = jax.Array
Rule = Callable[..., Any]
Function = TypeVar("Function", bound=Rule)

aten = torch.ops.aten
RULES: dict[torch._ops.OpOverload, Rule] = {}
DTYPES: dict[torch.dtype, Any] = {
    torch.bool: jnp.bool_,
    torch.uint8: jnp.uint8,
    torch.int8: jnp.int8,
    torch.int16: jnp.int16,
    torch.int32: jnp.int32,
    torch.int64: jnp.int64,
    torch.float16: jnp.float16,
    torch.bfloat16: jnp.bfloat16,
    torch.float32: jnp.float32,
    torch.float64: jnp.float64,
}
HIGHEST = jax.lax.Precision.HIGHEST  # else a GPU multiplies float32 matrices in TF32


def _rule(*operators: Any) -> Callable[[Function], Function]:
    """Enters a function in the table."""

    def enter(rule: Function) -> Function:
        RULES.update(dict.fromkeys(operators, rule))
        return rule

    return enter


def done(lines: Sequence[Line], values: Mapping[int, Any]) -> dict[int, Any]:
    """The values of all places once these lines are done."""
    values = dict(values)

    def of(value: Any) -> Any:
        if isinstance(value, Place):
            return values[value.at]
        return [of(each) for each in value] if isinstance(value, list) else value

    for line in lines:
        keywords = {name: of(value) for name, value in line.keywords.items() if name not in ("layout", "memory_format")}
        result = RULES[line.operator](*map(of, line.args), **keywords)
        results = result if line.several else [result]
        values |= {at: each for at, each in zip(line.places, results, strict=True) if at is not None}
    return values


# ---- Dtypes ----


def _is_float(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating))


def _promoted(*operands: Any) -> Any:
    """The dtype that torch computes in: arrays with axes outrank arrays without, and these outrank Python numbers.

    What is outranked counts only if it is of a higher category: bool < int < float.
    """
    ranks: list[list[Any]] = [[], [], []]  # dtypes of numbers, of arrays without axes, of arrays with axes
    for x in operands:
        if isinstance(x, bool | int | float):
            ranks[0].append(jnp.dtype(_default_dtype(x)))
        else:
            ranks[2 if x.ndim else 1].append(x.dtype)

    def higher(below: Any, above: Any) -> Any:
        return above if _category(above) >= _category(below) else jnp.promote_types(below, above)

    return reduce(higher, (reduce(jnp.promote_types, dtypes) for dtypes in ranks if dtypes))


def _category(dtype: Any) -> int:
    return 2 if _is_float(dtype) else 0 if dtype == jnp.bool_ else 1


def _default_dtype(number: bool | int | float) -> Any:
    return jnp.bool_ if isinstance(number, bool) else jnp.int64 if isinstance(number, int) else jnp.float32


def _common(*operands: Any) -> list[Array]:
    """The operands, arrays or Python numbers, in the dtype that torch promotes them to."""
    dtype = _promoted(*operands)
    return [_in(dtype, x) for x in operands]


def _floats(*operands: Any) -> list[Array]:
    """The operands in the dtype that torch promotes them to, float32 if that is none of floats."""
    dtype = _promoted(*operands)
    return [_in(dtype if _is_float(dtype) else jnp.float32, x) for x in operands]


def _in(dtype: Any, x: Any) -> Array:
    """An array or a Python number in a dtype."""
    if isinstance(x, Array) and x.dtype == jnp.bool_ and _is_float(dtype):  # else XLA takes False * NaN for 0
        return jnp.where(x, jnp.ones((), dtype), jnp.zeros((), dtype))
    return jnp.asarray(x, dtype)


def _cast(x: Array, dtype: torch.dtype | None) -> Array:
    return x if dtype is None else _in(DTYPES[dtype], x)


def _scaled(x: Array, factor: float) -> Array:
    """The array times a Python number, in the array's dtype."""
    return x if factor == 1 else x * jnp.asarray(factor, x.dtype)


def _in_common(function: Rule) -> Rule:
    return lambda *operands: function(*_common(*operands))


def _in_floats(function: Rule) -> Rule:
    return lambda *operands: function(*_floats(*operands))


def _pull_back(function: Callable[[Array], Any], x: Array, g: Any) -> Array:
    """The gradient g in function(x) taken back to x."""
    gradient: Array = jax.vjp(function, x)[1](g)[0]
    return gradient


# ---- Functions of one number ----

IN_FLOATS: dict[str, Rule] = {
    "acos": jnp.arccos,
    "acosh": jnp.arccosh,
    "asin": jnp.arcsin,
    "asinh": jnp.arcsinh,
    "atan": jnp.arctan,
    "atanh": jnp.arctanh,
    "cos": jnp.cos,
    "cosh": jnp.cosh,
    "digamma": lambda x: jnp.where(x == 0, jnp.copysign(jnp.inf, -x), special.digamma(x)),
    "erf": special.erf,
    "erfc": special.erfc,
    "erfinv": special.erfinv,
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": jnp.expm1,
    "lgamma": special.gammaln,
    "log": jnp.log,
    "log10": jnp.log10,
    "log1p": jnp.log1p,
    "log2": jnp.log2,
    "reciprocal": jnp.reciprocal,
    "rsqrt": jax.lax.rsqrt,
    "sigmoid": jax.nn.sigmoid,
    "sin": jnp.sin,
    "sinc": jnp.sinc,
    "sinh": jnp.sinh,
    "sqrt": jnp.sqrt,
    "tan": jnp.tan,
    "tanh": jnp.tanh,
}
RULES |= {getattr(aten, name).default: _in_floats(function) for name, function in IN_FLOATS.items()}


@_rule(aten.sign.default, aten.sgn.default)
def _sign(x: Array) -> Array:
    return jnp.where(x > 0, 1, jnp.where(x < 0, -1, 0)).astype(x.dtype)  # of NaN it is 0


def _nan_to_num(x: Array, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Array:
    return jnp.nan_to_num(x, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)


RULES |= {
    aten.abs.default: jnp.abs,
    aten.neg.default: jnp.negative,
    aten.floor.default: jnp.floor,
    aten.ceil.default: jnp.ceil,
    aten.trunc.default: jnp.trunc,
    aten.round.default: jnp.round,
    aten.frac.default: lambda x: x - jnp.trunc(x),
    aten.nan_to_num.default: _nan_to_num,
    aten.isnan.default: jnp.isnan,
    aten.isinf.default: jnp.isinf,
    aten.logical_not.default: jnp.logical_not,
    aten.bitwise_not.default: jnp.bitwise_not,
}


# ---- Functions of two numbers ----


def _xlogy(x: Array, y: Array) -> Array:
    return jnp.where((x == 0) & ~jnp.isnan(y), 0, x * jnp.log(y))


def _floor_divide(a: Array, b: Array) -> Array:
    return jnp.where(b == 0, a / b, jnp.floor_divide(a, b)) if _is_float(a.dtype) else jnp.floor_divide(a, b)


def _truncated_division(a: Array, b: Array) -> Array:
    if _is_float(a.dtype):
        return jnp.trunc(a / b)
    a, b = jnp.broadcast_arrays(a, b)
    return jax.lax.div(a, b)


RULES |= {
    getattr(getattr(aten, name), overload): in_dtype(function)
    for in_dtype, name, function, overloads in (
        (_in_common, "mul", jnp.multiply, "Tensor Scalar"),
        (_in_floats, "div", jnp.divide, "Tensor Scalar"),
        (_in_common, "eq", jnp.equal, "Tensor Scalar"),
        (_in_common, "ne", jnp.not_equal, "Tensor Scalar"),
        (_in_common, "lt", jnp.less, "Tensor Scalar"),
        (_in_common, "le", jnp.less_equal, "Tensor Scalar"),
        (_in_common, "gt", jnp.greater, "Tensor Scalar"),
        (_in_common, "ge", jnp.greater_equal, "Tensor Scalar"),
        (_in_common, "bitwise_and", jnp.bitwise_and, "Tensor Scalar Scalar_Tensor"),
        (_in_common, "bitwise_or", jnp.bitwise_or, "Tensor Scalar Scalar_Tensor"),
        (_in_common, "bitwise_xor", jnp.bitwise_xor, "Tensor Scalar Scalar_Tensor"),
        (_in_common, "logical_and", jnp.logical_and, "default"),
        (_in_common, "logical_or", jnp.logical_or, "default"),
        (_in_common, "logical_xor", jnp.logical_xor, "default"),
        (_in_common, "maximum", jnp.maximum, "default"),
        (_in_common, "minimum", jnp.minimum, "default"),
        (_in_common, "fmax", jnp.fmax, "default"),
        (_in_common, "fmin", jnp.fmin, "default"),
        (_in_common, "floor_divide", _floor_divide, "default Scalar"),
        (_in_common, "remainder", jnp.remainder, "Tensor Scalar Scalar_Tensor"),
        (_in_common, "fmod", jnp.fmod, "Tensor Scalar"),
        (_in_common, "heaviside", lambda x, at_0: jnp.where(x == 0, at_0, _in(x.dtype, x > 0)), "default"),
        (_in_floats, "atan2", jnp.arctan2, "default"),
        (_in_floats, "hypot", jnp.hypot, "default"),
        (_in_floats, "copysign", jnp.copysign, "Tensor Scalar"),
        (_in_floats, "logaddexp", jnp.logaddexp, "default"),
        (_in_floats, "logaddexp2", jnp.logaddexp2, "default"),
        (_in_floats, "xlogy", _xlogy, "Tensor Scalar_Self Scalar_Other"),
    )
    for overload in overloads.split()
}


@_rule(aten.add.Tensor, aten.add.Scalar)
def _add(a: Any, b: Any, alpha: float = 1) -> Array:
    a, b = _common(a, b)
    return jnp.add(a, _scaled(b, alpha))


@_rule(aten.sub.Tensor, aten.sub.Scalar)
def _sub(a: Any, b: Any, alpha: float = 1) -> Array:
    a, b = _common(a, b)
    return jnp.subtract(a, _scaled(b, alpha))


@_rule(aten.rsub.Tensor, aten.rsub.Scalar)
def _rsub(a: Any, b: Any, alpha: float = 1) -> Array:
    return _sub(b, a, alpha)


@_rule(aten.div.Tensor_mode, aten.div.Scalar_mode)
def _div(a: Any, b: Any, rounding_mode: str | None = None) -> Array:
    if rounding_mode is None:
        return jnp.divide(*_floats(a, b))
    a, b = _common(a, b)
    return _floor_divide(a, b) if rounding_mode == "floor" else _truncated_division(a, b)


@_rule(aten.pow.Tensor_Tensor, aten.pow.Scalar)
def _pow(a: Any, b: Any) -> Array:
    return jnp.power(*_common(a, b))


@_rule(aten.pow.Tensor_Scalar)
def _pow_of_number(a: Array, b: float) -> Array:
    x, exponent = _common(a, b)
    if abs(b) <= 16 and float(b).is_integer():
        return jax.lax.integer_pow(x, int(b))
    if abs(b) == 0.5:  # as torch does it: of -inf it is NaN
        return jnp.sqrt(x) if b > 0 else jax.lax.rsqrt(x)
    return jnp.power(x, exponent)


# ---- Functions of three numbers ----


@_rule(aten.addcmul.default)
def _addcmul(x: Array, a: Array, b: Array, value: float = 1) -> Array:
    x, a, b = _common(x, a, b)
    return x + _scaled(a, value) * b


@_rule(aten.addcdiv.default)
def _addcdiv(x: Array, a: Array, b: Array, value: float = 1) -> Array:
    x, a, b = _common(x, a, b)
    return x + _scaled(a, value) / b


@_rule(aten.lerp.Tensor, aten.lerp.Scalar)
def _lerp(a: Array, b: Array, weight: Any) -> Array:
    a, b, w = _common(a, b, weight)
    return jnp.where(jnp.abs(w) < 0.5, a + w * (b - a), b - (b - a) * (1 - w))  # exactly b where w = 1


@_rule(aten.where.self)
def _where(condition: Array, a: Any, b: Any) -> Array:
    a, b = _common(a, b)
    return jnp.where(condition, a, b)


@_rule(aten.clamp.default, aten.clamp.Tensor)
def _clamp(x: Array, low: Any = None, high: Any = None) -> Array:
    x, *_ = _common(*(each for each in (x, low, high) if each is not None))
    x = x if low is None else jnp.maximum(x, jnp.asarray(low, x.dtype))
    return x if high is None else jnp.minimum(x, jnp.asarray(high, x.dtype))


RULES |= {
    aten.clamp_min.default: _clamp,
    aten.clamp_min.Tensor: _clamp,
    aten.clamp_max.default: lambda x, high: _clamp(x, None, high),
    aten.clamp_max.Tensor: lambda x, high: _clamp(x, None, high),
    aten.masked_fill.Scalar: lambda x, mask, value: jnp.where(mask, jnp.asarray(value, x.dtype), x),
    aten.masked_fill.Tensor: lambda x, mask, value: jnp.where(mask, _in(x.dtype, value), x),
}


# ---- Activations ----


@_rule(aten.gelu.default)
def _gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "none":
        return x * 0.5 * (1 + special.erf(x * math.sqrt(0.5)))
    return 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@_rule(aten.gelu_backward.default)
def _gelu_backward(g: Array, x: Array, approximate: str = "none") -> Array:
    if approximate == "none":
        density = jnp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return g * (0.5 * (1 + special.erf(x * math.sqrt(0.5))) + x * density)
    c = math.sqrt(2 / math.pi)
    t = jnp.tanh(c * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))


@_rule(aten.silu_backward.default)
def _silu_backward(g: Array, x: Array) -> Array:
    s = jax.nn.sigmoid(x)
    return g * s * (1 + x * (1 - s))


@_rule(aten.mish_backward.default)
def _mish_backward(g: Array, x: Array) -> Array:
    t = jnp.tanh(jnp.log1p(jnp.exp(x)))
    return g * (t + x * jax.nn.sigmoid(x) * (1 - t * t))


@_rule(aten.elu.default)
def _elu(x: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Array:
    return jnp.where(x <= 0, _scaled(jnp.expm1(_scaled(x, input_scale)), alpha * scale), _scaled(x, scale))


@_rule(aten.elu_backward.default)
def _elu_backward(g: Array, alpha: float, scale: float, input_scale: float, is_result: bool, x: Array) -> Array:
    a = alpha * scale  # x is elu's result if is_result, else its argument
    slope = x + a if is_result else _scaled(jnp.exp(_scaled(x, input_scale)), a)
    return jnp.where(x <= 0, _scaled(g, input_scale) * slope, _scaled(g, scale))


@_rule(aten.softplus.default)
def _softplus(x: Array, beta: float = 1, threshold: float = 20) -> Array:
    z = _scaled(x, beta)
    return jnp.where(z > threshold, x, jnp.log1p(jnp.exp(z)) / beta)


@_rule(aten.softplus_backward.default)
def _softplus_backward(g: Array, x: Array, beta: float, threshold: float) -> Array:
    z = _scaled(x, beta)
    return jnp.where(z > threshold, g, g * jax.nn.sigmoid(z))


@_rule(aten.log_sigmoid_forward.default)
def _log_sigmoid_forward(x: Array) -> list[Array]:
    z = jnp.exp(-jnp.abs(x))
    return [jnp.minimum(x, 0) - jnp.log1p(z), z]


@_rule(aten.log_sigmoid_backward.default)
def _log_sigmoid_backward(g: Array, x: Array, _: Array) -> Array:
    z = jnp.exp(-jnp.abs(x))
    return g * jnp.where(x < 0, 1 - z / (1 + z), z / (1 + z))


@_rule(aten.softshrink.default)
def _softshrink(x: Array, threshold: float = 0.5) -> Array:
    return jnp.where(x > threshold, x - threshold, jnp.where(x < -threshold, x + threshold, x * 0))


@_rule(aten.hardshrink_backward.default, aten.softshrink_backward.default)
def _shrink_backward(g: Array, x: Array, threshold: float) -> Array:
    return jnp.where((x >= -threshold) & (x <= threshold), 0, g)


@_rule(aten.glu.default)
def _glu(x: Array, dim: int = -1) -> Array:
    a, b = jnp.split(x, 2, dim)
    return a * jax.nn.sigmoid(b)


@_rule(aten.glu_backward.default)
def _glu_backward(g: Array, x: Array, dim: int) -> Array:
    return _pull_back(partial(_glu, dim=dim), x, g)


@_rule(aten._prelu_kernel_backward.default)
def _prelu_backward(g: Array, x: Array, weight: Array) -> list[Array]:
    return [jnp.where(x > 0, g, weight * g), jnp.where(x > 0, 0, x * g)]


RULES |= {
    aten.relu.default: lambda x: jnp.maximum(x, 0),
    aten.threshold.default: lambda x, threshold, value: jnp.where(x <= threshold, jnp.asarray(value, x.dtype), x),
    aten.threshold_backward.default: lambda g, x, threshold: jnp.where(x <= threshold, 0, g),
    aten.tanh_backward.default: lambda g, y: g * (1 - y * y),
    aten.sigmoid_backward.default: lambda g, y: g * (1 - y) * y,
    aten.leaky_relu.default: lambda x, slope=0.01: jnp.where(x > 0, x, x * slope),
    aten.leaky_relu_backward.default: lambda g, x, slope, _: jnp.where(x > 0, g, g * slope),
    aten._prelu_kernel.default: lambda x, weight: jnp.where(x > 0, x, weight * x),
    aten.celu.default: lambda x, alpha=1.0: _elu(x, alpha, 1, 1 / alpha),
    aten.silu.default: lambda x: x * jax.nn.sigmoid(x),
    aten.mish.default: lambda x: x * jnp.tanh(jnp.log1p(jnp.exp(x))),
    aten.hardtanh.default: lambda x, low=-1, high=1: jnp.clip(x, low, high),
    aten.hardtanh_backward.default: lambda g, x, low, high: jnp.where((x <= low) | (x >= high), 0, g),
    aten.hardsigmoid.default: lambda x: jnp.clip(x + 3, 0, 6) / 6,
    aten.hardsigmoid_backward.default: lambda g, x: jnp.where((x > -3) & (x < 3), g / 6, 0),
    aten.hardswish.default: lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
    aten.hardswish_backward.default: lambda g, x: jnp.where(x <= -3, 0, jnp.where(x < 3, g * (x / 3 + 0.5), g)),
    aten.hardshrink.default: lambda x, threshold=0.5: jnp.where((x >= -threshold) & (x <= threshold), 0, x),
}


# ---- Sums and other reductions ----


def _axes(x: Array, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """The axes that torch means: all where it names none, and none of an array without axes."""
    named = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim or range(x.ndim)
    return tuple(each % x.ndim for each in named) if x.ndim else ()


def _summed(x: Array, dtype: torch.dtype | None) -> Array:
    """The array in the dtype in which torch sums it."""
    return _cast(x, torch.int64 if dtype is None and not _is_float(x.dtype) else dtype)


@_rule(aten.sum.dim_IntList, aten.sum.default)
def _sum(x: Array, dim: Sequence[int] | None = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Array:
    return jnp.sum(_summed(x, dtype), _axes(x, dim), keepdims=keepdim)


@_rule(aten.mean.dim, aten.mean.default)
def _mean(x: Array, dim: Sequence[int] | None = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Array:
    return jnp.mean(_cast(x, dtype), _axes(x, dim), keepdims=keepdim)


@_rule(aten.prod.dim_int, aten.prod.default)
def _prod(x: Array, dim: int | None = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Array:
    return jnp.prod(_summed(x, dtype), _axes(x, dim), keepdims=keepdim)


@_rule(aten.var_mean.correction)
def _var_mean(
    x: Array, dim: Sequence[int] | None = None, correction: float | None = None, keepdim: bool = False
) -> list[Array]:
    axes = _axes(x, dim)
    mean = jnp.mean(x, axes, keepdims=True)
    count = math.prod(x.shape[axis] for axis in axes) - (1 if correction is None else correction)
    square = jnp.sum(jnp.square(x - mean), axes, keepdims=keepdim)
    return [square / jnp.asarray(max(count, 0), x.dtype), mean if keepdim else jnp.squeeze(mean, axes)]


@_rule(aten.logsumexp.default)
def _logsumexp(x: Array, dim: Sequence[int], keepdim: bool = False) -> Array:
    (x,), axes = _floats(x), _axes(x, dim)
    top = jnp.max(x, axes, keepdims=True)
    top = jnp.where(jnp.isinf(top), 0, top)
    total = jnp.log(jnp.sum(jnp.exp(x - top), axes, keepdims=True)) + top
    return total if keepdim else jnp.squeeze(total, axes)


@_rule(aten.linalg_vector_norm.default)
def _vector_norm(
    x: Array,
    order: float = 2,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Array:
    x, axes = jnp.abs(_cast(x, dtype)), _axes(x, dim)
    if order in (math.inf, -math.inf):
        return (jnp.max if order > 0 else jnp.min)(x, axes, keepdims=keepdim)
    if order == 0:
        return jnp.sum(x != 0, axes, keepdims=keepdim).astype(x.dtype)
    if order == 2:
        return jnp.sqrt(jnp.sum(x * x, axes, keepdims=keepdim))
    total = jnp.sum(_pow_of_number(x, order), axes, keepdims=keepdim)
    return total if order == 1 else _pow_of_number(total, 1 / order)


@_rule(aten.norm.ScalarOpt_dim, aten.norm.Scalar)
def _norm(x: Array, order: float | None, dim: Sequence[int] | None = None, keepdim: bool = False) -> Array:
    return _vector_norm(x, 2 if order is None else order, dim, keepdim)


def _of_axes(function: Rule) -> Rule:
    return lambda x, dim=None, keepdim=False: function(x, _axes(x, dim), keepdims=keepdim)


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


# ---- Products of matrices ----

_matmul = partial(jnp.matmul, precision=HIGHEST)


def _plus_product(product: Callable[[Array, Array], Array]) -> Rule:
    """beta c + alpha product(a, b), where beta = 0 means that c does not count, be it NaN."""

    def rule(c: Array, a: Array, b: Array, beta: float = 1, alpha: float = 1) -> Array:
        ab = _scaled(product(a, b), alpha)
        return jnp.broadcast_to(ab if beta == 0 else _scaled(c, beta) + ab, ab.shape)

    return rule


@_rule(aten._trilinear.default)
def _trilinear(
    a: Array, b: Array, c: Array, axes_a: Any, axes_b: Any, axes_c: Any, summed: Sequence[int], unroll: int = 1
) -> Array:
    a, b, c = (jnp.expand_dims(x, axes) for x, axes in ((a, axes_a), (b, axes_b), (c, axes_c)))
    return jnp.sum(a * b * c, tuple(summed))


RULES |= {
    aten.mm.default: _matmul,
    aten.bmm.default: _matmul,
    aten.mv.default: _matmul,
    aten.dot.default: _matmul,
    aten.addmm.default: _plus_product(_matmul),
    aten.baddbmm.default: _plus_product(_matmul),
    aten.addmv.default: _plus_product(_matmul),
    aten.addbmm.default: _plus_product(lambda a, b: _matmul(a, b).sum(0)),
    aten.addr.default: _plus_product(lambda a, b: a[:, None] * b),
}


# ---- Other shapes of the same numbers ----


@_rule(aten.expand.default)
def _expand(x: Array, size: Sequence[int], implicit: bool = False) -> Array:
    known = (*[1] * (len(size) - x.ndim), *x.shape)
    return jnp.broadcast_to(x, [old if new == -1 else new for old, new in zip(known, size, strict=True)])


@_rule(aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default)
def _squeeze(x: Array, dim: int | Sequence[int] | None = None) -> Array:
    named = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return x.reshape([n for axis, n in enumerate(x.shape) if n != 1 or axis not in {each % x.ndim for each in named}])


def _bounds(n: int, start: int | None, end: int | None) -> tuple[int, int]:
    first, stop, _ = slice(start, end).indices(n)
    return first, max(first, stop)


@_rule(aten.slice.Tensor)
def _slice(x: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
    return jax.lax.slice_in_dim(x, *_bounds(x.shape[dim], start, end), step, dim)


@_rule(aten.slice_backward.default)
def _slice_backward(g: Array, size: Sequence[int], dim: int, start: int | None, end: int | None, step: int) -> Array:
    before = _bounds(size[dim], start, end)[0]
    taken = max(0, (g.shape[dim] - 1) * step + 1)
    edges = [(0, 0, 0)] * len(size)
    edges[dim] = (before, size[dim] - before - taken, step - 1)
    return jax.lax.pad(g, jnp.zeros((), g.dtype), edges)


@_rule(aten.slice_scatter.default)
def _slice_scatter(
    x: Array, src: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    first, stop = _bounds(x.shape[dim], start, end)
    if step == 1:
        return jax.lax.dynamic_update_slice_in_dim(x, src, first, dim)
    return x.at[_place(x, dim, slice(first, stop, step))].set(src)


def _place(x: Array, dim: int, index: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * (dim % x.ndim), index)


@_rule(aten.select.int)
def _select(x: Array, dim: int, index: int) -> Array:
    return jax.lax.index_in_dim(x, index, dim, keepdims=False)


@_rule(aten.select_scatter.default)
def _select_scatter(x: Array, src: Array, dim: int, index: int) -> Array:
    index %= x.shape[dim]
    return _slice_scatter(x, jnp.expand_dims(src, dim), dim, index, index + 1)


@_rule(aten.select_backward.default)
def _select_backward(g: Array, size: Sequence[int], dim: int, index: int) -> Array:
    dim, index = dim % len(size), index % size[dim]
    return _slice_backward(jnp.expand_dims(g, dim), size, dim, index, index + 1, 1)


@_rule(aten.split_with_sizes.default)
def _split_with_sizes(x: Array, sizes: Sequence[int], dim: int = 0) -> list[Array]:
    stops = np.cumsum(sizes).tolist()
    return [jax.lax.slice_in_dim(x, stop - size, stop, 1, dim) for size, stop in zip(sizes, stops, strict=True)]


@_rule(aten.split.Tensor)
def _split(x: Array, size: int, dim: int = 0) -> list[Array]:
    n = x.shape[dim]
    return [jax.lax.slice_in_dim(x, start, min(start + size, n), 1, dim) for start in range(0, n, size)]


@_rule(aten.roll.default)
def _roll(x: Array, shifts: Sequence[int], dims: Sequence[int] = ()) -> Array:
    return jnp.roll(x, tuple(shifts), tuple(dims)) if dims else jnp.roll(x, shifts[0])


@_rule(aten.diagonal_scatter.default)
def _diagonal_scatter(x: Array, src: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    matrices = jnp.moveaxis(x, (dim1, dim2), (-2, -1))
    i = np.arange(src.shape[-1])
    matrices = matrices.at[..., i + max(-offset, 0), i + max(offset, 0)].set(src)
    return jnp.moveaxis(matrices, (-2, -1), (dim1, dim2))


@_rule(aten.diagonal_backward.default)
def _diagonal_backward(g: Array, size: Sequence[int], offset: int, dim1: int, dim2: int) -> Array:
    return _diagonal_scatter(jnp.zeros(size, g.dtype), g, offset, dim1, dim2)


@_rule(aten.diag_embed.default)
def _diag_embed(x: Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    n = x.shape[-1] + abs(offset)
    matrices = _diagonal_scatter(jnp.zeros((*x.shape[:-1], n, n), x.dtype), x, offset, -2, -1)
    return jnp.moveaxis(matrices, (-2, -1), (dim1, dim2))


@_rule(aten.unfold.default)
def _unfold(x: Array, dim: int, size: int, step: int) -> Array:
    starts = np.arange(0, x.shape[dim] - size + 1, step)
    return jnp.moveaxis(x[_place(x, dim, starts[:, None] + np.arange(size))], dim % x.ndim + 1, -1)


@_rule(aten.unfold_backward.default)
def _unfold_backward(g: Array, size: Sequence[int], dim: int, length: int, step: int) -> Array:
    return _pull_back(lambda x: _unfold(x, dim, length, step), jnp.zeros(size, g.dtype), g)


@_rule(aten.constant_pad_nd.default)
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
    aten.cat.default: lambda xs, dim=0: jnp.concatenate(_common(*xs), dim),
    aten.stack.default: lambda xs, dim=0: jnp.stack(_common(*xs), dim),
    aten.triu.default: jnp.triu,
    aten.tril.default: jnp.tril,
}


# ---- New arrays, copies, dtypes ----


def _full(size: Sequence[int], value: Any, dtype: torch.dtype | None = None) -> Array:
    return jnp.full(size, value, _default_dtype(value) if dtype is None else DTYPES[dtype])


def _filled(x: Array, value: float, size: Sequence[int] | None = None, dtype: torch.dtype | None = None) -> Array:
    """An array of one number, in shape and dtype that of x unless told otherwise."""
    return jnp.full(x.shape if size is None else size, value, x.dtype if dtype is None else DTYPES[dtype])


@_rule(aten.arange.start_step)
def _arange(start: float, end: float, step: float = 1, dtype: torch.dtype | None = None) -> Array:
    if dtype is not None and not dtype.is_floating_point:
        start, end, step = int(start), int(end), int(step)
    numbers = start + step * np.arange(math.ceil((end - start) / step))
    return jnp.asarray(numbers, _default_dtype(start + end + step) if dtype is None else DTYPES[dtype])


def _float_dtype(dtype: torch.dtype | None) -> Any:
    return jnp.float32 if dtype is None else DTYPES[dtype]


RULES |= {
    aten.full.default: _full,
    aten.full_like.default: lambda x, value, dtype=None: _filled(x, value, dtype=dtype),
    aten.new_full.default: lambda x, size, value, dtype=None: _filled(x, value, size, dtype),
    aten.fill.Scalar: lambda x, value: _filled(x, value),
    aten.fill.Tensor: lambda x, value: jnp.broadcast_to(_in(x.dtype, value), x.shape),
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
    aten.copy.default: lambda x, src: jnp.broadcast_to(_in(x.dtype, src), x.shape),
    aten._to_copy.default: lambda x, dtype=None: _cast(x, dtype),
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


@_rule(aten.index_put.default)
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


@_rule(aten.scatter.reduce, aten.scatter.value_reduce)
def _scatter_reduce(x: Array, dim: int, index: Array, src: Any, reduce: str) -> Array:
    values = _source(src, index) if isinstance(src, Array) else jnp.asarray(src, x.dtype)
    place = x.at[_along(index, dim)]
    return place.add(values) if reduce == "add" else place.multiply(values)


def _index_fill(x: Array, dim: int, index: Array, source: Array) -> Array:
    return x.at[_place(x, dim, index)].set(source)


@_rule(aten.index_add.default)
def _index_add(x: Array, dim: int, index: Array, source: Array, alpha: float = 1) -> Array:
    return x.at[_place(x, dim, index)].add(_scaled(source, alpha))


@_rule(aten.embedding_dense_backward.default)
def _embedding_backward(g: Array, indices: Array, rows: int, padding: int, scale_by_frequency: bool) -> Array:
    if scale_by_frequency:
        g = g / jnp.zeros(rows, g.dtype).at[indices].add(1)[indices][..., None]
    total = jnp.zeros((rows, g.shape[-1]), g.dtype).at[indices].add(g)
    return total if padding < 0 else total.at[padding].set(0)


@_rule(aten.sort.default)
def _sort(x: Array, dim: int = -1, descending: bool = False) -> list[Array]:
    order = jnp.argsort(x, dim, stable=True, descending=descending)
    return [jnp.take_along_axis(x, order, dim), order]


@_rule(aten.topk.default)
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
    aten.index_fill.int_Tensor: lambda x, dim, index, value: _index_fill(x, dim, index, _in(x.dtype, value)),
    aten.gather.default: lambda x, dim, index, sparse_grad=False: _taken(x, _along(index, dim)),
    aten.scatter.src: lambda x, dim, index, src: x.at[_along(index, dim)].set(_source(src, index)),
    aten.scatter.value: lambda x, dim, index, value: x.at[_along(index, dim)].set(jnp.asarray(value, x.dtype)),
    aten.scatter_add.default: lambda x, dim, index, src: x.at[_along(index, dim)].add(_source(src, index)),
    aten.embedding.default: lambda weight, indices, *_: _taken(weight, indices),
    aten.sort.stable: lambda x, stable=True, dim=-1, descending=False: _sort(x, dim, descending),
}


# ---- Softmax and losses ----

MEAN, SUM = 1, 2  # how torch numbers the reductions of a loss; 0 is none


@_rule(aten._softmax.default)
def _softmax(x: Array, dim: int, _: bool) -> Array:
    e = jnp.exp(x - jnp.max(x, _axes(x, dim), keepdims=True))
    return e / jnp.sum(e, _axes(x, dim), keepdims=True)


@_rule(aten._log_softmax.default)
def _log_softmax(x: Array, dim: int, _: bool) -> Array:
    shifted = x - jnp.max(x, _axes(x, dim), keepdims=True)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), _axes(x, dim), keepdims=True))


@_rule(aten._softmax_backward_data.default)
def _softmax_backward(g: Array, y: Array, dim: int, _: torch.dtype) -> Array:
    return y * (g - jnp.sum(g * y, _axes(y, dim), keepdims=True))


@_rule(aten._log_softmax_backward_data.default)
def _log_softmax_backward(g: Array, y: Array, dim: int, _: torch.dtype) -> Array:
    return g - jnp.exp(y) * jnp.sum(g, _axes(y, dim), keepdims=True)


def _reduced(losses: Array, reduction: int) -> Array:
    return jnp.mean(losses) if reduction == MEAN else jnp.sum(losses) if reduction == SUM else losses


def _loss(function: Callable[..., Array], derivative: Callable[..., Array]) -> tuple[Rule, Rule]:
    """The rules of a loss and its gradient, of function(x, y, *more) and its derivative in x."""

    def forward(x: Array, y: Array, reduction: int = MEAN, *more: float) -> Array:
        return _reduced(function(*_common(x, y), *more), reduction)

    def backward(g: Array, x: Array, y: Array, reduction: int, *more: float) -> Array:
        slope = derivative(*_common(x, y), *more)
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
    "smooth_l1_loss": (_smooth_l1, lambda x, y, beta=1.0: jnp.clip((x - y) / beta, -1, 1) if beta else _sign(x - y)),
    "soft_margin_loss": (lambda x, y: jnp.log1p(jnp.exp(-y * x)), _soft_margin_slope),
}
for _name, _functions in LOSSES.items():
    RULES[getattr(aten, _name).default], RULES[getattr(aten, f"{_name}_backward").default] = _loss(*_functions)


@_rule(aten.binary_cross_entropy.default)
def _binary_cross_entropy(x: Array, y: Array, weight: Array | None = None, reduction: int = MEAN) -> Array:
    losses = -(y * jnp.maximum(jnp.log(x), -100) + (1 - y) * jnp.maximum(jnp.log1p(-x), -100))
    return _reduced(losses if weight is None else losses * weight, reduction)


@_rule(aten.binary_cross_entropy_backward.default)
def _binary_cross_entropy_backward(
    g: Array, x: Array, y: Array, weight: Array | None = None, reduction: int = MEAN
) -> Array:
    slope = g * (x - y) / jnp.maximum((1 - x) * x, 1e-12)
    return (slope if weight is None else slope * weight) / (x.size if reduction == MEAN else 1)


@_rule(aten.binary_cross_entropy_with_logits.default)
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
    return counts, labels, _in(dtype, counts) if weight is None else jnp.where(counts, weight[labels], 0)


@_rule(aten.nll_loss_forward.default)
def _nll_loss(x: Array, target: Array, weight: Array | None, reduction: int, ignore: int) -> list[Array]:
    """The classes of x are its last axis."""
    counts, labels, weights = _labels(target, weight, ignore, x.dtype)
    losses = jnp.where(counts, -weights * jnp.take_along_axis(x, labels[..., None], -1)[..., 0], 0)
    total = jnp.sum(weights)
    if reduction not in (MEAN, SUM):
        return [losses, jnp.zeros_like(total)]
    return [jnp.sum(losses) / total if reduction == MEAN else jnp.sum(losses), total]


@_rule(aten.nll_loss_backward.default)
def _nll_loss_backward(
    g: Array, x: Array, target: Array, weight: Array | None, reduction: int, ignore: int, total: Array
) -> Array:
    counts, labels, weights = _labels(target, weight, ignore, x.dtype)
    slope = -weights * (g / total if reduction == MEAN else g)
    chosen = counts[..., None] & (labels[..., None] == np.arange(x.shape[-1]))
    return jnp.where(chosen, slope[..., None], 0)


@_rule(aten.nll_loss2d_forward.default)
def _nll_loss2d(x: Array, *more: Any) -> list[Array]:
    """The classes are the second axis."""
    return _nll_loss(jnp.moveaxis(x, 1, -1), *more)


@_rule(aten.nll_loss2d_backward.default)
def _nll_loss2d_backward(g: Array, x: Array, *more: Any) -> Array:
    return jnp.moveaxis(_nll_loss_backward(g, jnp.moveaxis(x, 1, -1), *more), -1, 1)


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


@_rule(aten.native_layer_norm.default)
def _layer_norm(x: Array, shape: Sequence[int], weight: Array | None, bias: Array | None, eps: float) -> list[Array]:
    mean, rstd = _statistics(x, range(x.ndim - len(shape), x.ndim), eps)
    return [_affine((x - mean) * rstd, weight, bias), mean, rstd]


@_rule(aten.native_layer_norm_backward.default)
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


@_rule(aten.native_group_norm.default)
def _group_norm(
    x: Array, weight: Array | None, bias: Array | None, n: int, c: int, hw: int, groups: int, eps: float
) -> list[Array]:
    rows = x.reshape(n, groups, -1)
    mean, rstd = _statistics(rows, (2,), eps)
    y = _affine(((rows - mean) * rstd).reshape(x.shape), _channels(x, weight), _channels(x, bias))
    return [y, mean[..., 0], rstd[..., 0]]


@_rule(aten.native_group_norm_backward.default)
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


@_rule(aten.native_batch_norm.default)
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


@_rule(aten.native_batch_norm_backward.default)
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


@_rule(aten.convolution.default)
def _convolution(x: Array, weight: Array, bias: Array | None, *how: Any) -> Array:
    y = _convolve(x, weight, *how)
    return y if bias is None else y + bias.reshape(-1, *[1] * (x.ndim - 2))


@_rule(aten.convolution_backward.default)
def _convolution_backward(g: Array, x: Array, weight: Array, _: Any, *how: Any) -> list[Array | None]:
    *how_forward, mask = how
    in_x = _pull_back(lambda x: _convolve(x, weight, *how_forward), x, g) if mask[0] else None
    in_weight = _pull_back(lambda weight: _convolve(x, weight, *how_forward), weight, g) if mask[1] else None
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


@_rule(aten.max_pool2d_with_indices.default)
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


@_rule(aten.max_pool2d_with_indices_backward.default)
def _max_pool_backward(
    g: Array, x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, where: Array
) -> Array:
    pool = _pool(x, kernel, stride, padding, dilation, ceil)
    parts = [jnp.where(where == place, g, 0) for place in _places(x, pool)]
    return _pull_back(lambda x: _windows(x, pool, 0), x, parts)


@_rule(aten.avg_pool2d.default)
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


@_rule(aten.avg_pool2d_backward.default)
def _avg_pool_backward(g: Array, x: Array, *how: Any) -> Array:
    return _pull_back(lambda x: _avg_pool(x, *how), x, g)


def _bins(n: int, size: int, dtype: Any) -> Array:
    """The matrix (size, n) of the means over `size` neighbouring ranges."""
    i, place = np.arange(size)[:, None], np.arange(n)
    inside = (place >= i * n // size) & (place < -(-(i + 1) * n // size))
    return jnp.asarray(inside / inside.sum(1, keepdims=True), dtype)


@_rule(aten._adaptive_avg_pool2d.default)
def _adaptive_avg_pool(x: Array, size: Sequence[int]) -> Array:
    rows, columns = (_bins(n, m, x.dtype) for n, m in zip(x.shape[-2:], size, strict=True))
    return _matmul(_matmul(rows, x), columns.T)


@_rule(aten._adaptive_avg_pool2d_backward.default)
def _adaptive_avg_pool_backward(g: Array, x: Array) -> Array:
    return _pull_back(lambda x: _adaptive_avg_pool(x, g.shape[-2:]), x, g)


# ---- Attention ----


@_rule(aten._scaled_dot_product_flash_attention_for_cpu.default)
def _attention(
    q: Array,
    k: Array,
    v: Array,
    dropout: float = 0.0,
    causal: bool = False,
    attn_mask: Array | None = None,
    scale: float | None = None,
) -> list[Array]:
    scores = _scaled(_matmul(q, k.swapaxes(-2, -1)), q.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        scores = scores + attn_mask
    if causal:
        scores = jnp.where(jnp.tri(q.shape[-2], k.shape[-2], dtype=jnp.bool_), scores, -jnp.inf)
    total = _logsumexp(scores, [-1])
    return [_matmul(jnp.exp(scores - total[..., None]), v), total]


@_rule(aten._scaled_dot_product_flash_attention_for_cpu_backward.default)
def _attention_backward(
    g: Array, q: Array, k: Array, v: Array, y: Array, total: Array, dropout: float, causal: bool, **how: Any
) -> list[Array]:
    def attention(q: Array, k: Array, v: Array) -> Array:
        return _attention(q, k, v, dropout, causal, **how)[0]

    return list(jax.vjp(attention, q, k, v)[1](g))


# ---- Linear algebra ----


def _success(matrices: Array) -> Array:
    return jnp.zeros(matrices.shape[:-2], jnp.int32)  # a failure shows as NaN


@_rule(aten.linalg_cholesky_ex.default)
def _cholesky(x: Array, upper: bool = False, check_errors: bool = False) -> list[Array]:
    return [jnp.linalg.cholesky(x, upper=upper, symmetrize_input=False), _success(x)]


@_rule(aten._linalg_eigh.default)
def _eigh(x: Array, uplo: str = "L", compute_v: bool = True) -> list[Array]:
    values, vectors = jnp.linalg.eigh(x, uplo, symmetrize_input=False)
    return [values, vectors if compute_v else jnp.zeros(0, x.dtype)]


@_rule(aten.linalg_qr.default)
def _qr(x: Array, mode: str = "reduced") -> list[Array]:
    return [jnp.zeros(0, x.dtype), jnp.linalg.qr(x, "r")] if mode == "r" else list(jnp.linalg.qr(x, mode))


@_rule(aten.linalg_solve_triangular.default)
def _solve_triangular(a: Array, b: Array, upper: bool, left: bool = True, unitriangular: bool = False) -> Array:
    solved: Array = jax.lax.linalg.triangular_solve(
        *_same_batch(a, b), left_side=left, lower=not upper, unit_diagonal=unitriangular
    )
    return solved


def _same_batch(*matrices: Array) -> list[Array]:
    batch = jnp.broadcast_shapes(*(each.shape[:-2] for each in matrices))
    return [jnp.broadcast_to(each, (*batch, *each.shape[-2:])) for each in matrices]


RULES |= {
    aten.linalg_cross.default: lambda a, b, dim=-1: jnp.cross(a, b, axis=dim),
    aten.linalg_inv_ex.default: lambda x, check_errors=False: [jnp.linalg.inv(x), _success(x)],
    # the numbers are NaN then, so that the run counts as diverged
    aten._linalg_check_errors.default: lambda info, name, is_matrix: None,
}
