"""Rules of functions of one, two and three numbers, and of activations."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import special

from dyntoolkit.engine.rules.table import (
    RULES,
    Array,
    Rule,
    aten,
    common,
    floats,
    in_common,
    in_dtype,
    in_floats,
    is_float,
    pull_back,
    rule_of,
    scaled,
)

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
RULES |= {getattr(aten, name).default: in_floats(function) for name, function in IN_FLOATS.items()}


@rule_of(aten.sign.default, aten.sgn.default)
def sign(x: Array) -> Array:
    """-1, 0 or 1."""
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
    return jnp.where(b == 0, a / b, jnp.floor_divide(a, b)) if is_float(a.dtype) else jnp.floor_divide(a, b)


def _truncated_division(a: Array, b: Array) -> Array:
    if is_float(a.dtype):
        return jnp.trunc(a / b)
    a, b = jnp.broadcast_arrays(a, b)
    return jax.lax.div(a, b)


RULES |= {
    getattr(getattr(aten, name), overload): promote(function)
    for promote, name, function, overloads in (
        (in_common, "mul", jnp.multiply, "Tensor Scalar"),
        (in_floats, "div", jnp.divide, "Tensor Scalar"),
        (in_common, "eq", jnp.equal, "Tensor Scalar"),
        (in_common, "ne", jnp.not_equal, "Tensor Scalar"),
        (in_common, "lt", jnp.less, "Tensor Scalar"),
        (in_common, "le", jnp.less_equal, "Tensor Scalar"),
        (in_common, "gt", jnp.greater, "Tensor Scalar"),
        (in_common, "ge", jnp.greater_equal, "Tensor Scalar"),
        (in_common, "bitwise_and", jnp.bitwise_and, "Tensor Scalar Scalar_Tensor"),
        (in_common, "bitwise_or", jnp.bitwise_or, "Tensor Scalar Scalar_Tensor"),
        (in_common, "bitwise_xor", jnp.bitwise_xor, "Tensor Scalar Scalar_Tensor"),
        (in_common, "logical_and", jnp.logical_and, "default"),
        (in_common, "logical_or", jnp.logical_or, "default"),
        (in_common, "logical_xor", jnp.logical_xor, "default"),
        (in_common, "maximum", jnp.maximum, "default"),
        (in_common, "minimum", jnp.minimum, "default"),
        (in_common, "fmax", jnp.fmax, "default"),
        (in_common, "fmin", jnp.fmin, "default"),
        (in_common, "floor_divide", _floor_divide, "default Scalar"),
        (in_common, "remainder", jnp.remainder, "Tensor Scalar Scalar_Tensor"),
        (in_common, "fmod", jnp.fmod, "Tensor Scalar"),
        (in_common, "heaviside", lambda x, at_0: jnp.where(x == 0, at_0, in_dtype(x.dtype, x > 0)), "default"),
        (in_floats, "atan2", jnp.arctan2, "default"),
        (in_floats, "hypot", jnp.hypot, "default"),
        (in_floats, "copysign", jnp.copysign, "Tensor Scalar"),
        (in_floats, "logaddexp", jnp.logaddexp, "default"),
        (in_floats, "logaddexp2", jnp.logaddexp2, "default"),
        (in_floats, "xlogy", _xlogy, "Tensor Scalar_Self Scalar_Other"),
    )
    for overload in overloads.split()
}


@rule_of(aten.add.Tensor, aten.add.Scalar)
def _add(a: Any, b: Any, alpha: float = 1) -> Array:
    a, b = common(a, b)
    return jnp.add(a, scaled(b, alpha))


@rule_of(aten.sub.Tensor, aten.sub.Scalar)
def _sub(a: Any, b: Any, alpha: float = 1) -> Array:
    a, b = common(a, b)
    return jnp.subtract(a, scaled(b, alpha))


@rule_of(aten.rsub.Tensor, aten.rsub.Scalar)
def _rsub(a: Any, b: Any, alpha: float = 1) -> Array:
    return _sub(b, a, alpha)


@rule_of(aten.div.Tensor_mode, aten.div.Scalar_mode)
def _div(a: Any, b: Any, rounding_mode: str | None = None) -> Array:
    if rounding_mode is None:
        return jnp.divide(*floats(a, b))
    a, b = common(a, b)
    return _floor_divide(a, b) if rounding_mode == "floor" else _truncated_division(a, b)


@rule_of(aten.pow.Tensor_Tensor, aten.pow.Scalar)
def _pow(a: Any, b: Any) -> Array:
    return jnp.power(*common(a, b))


@rule_of(aten.pow.Tensor_Scalar)
def pow_of_number(a: Array, b: float) -> Array:
    """a^b."""
    x, exponent = common(a, b)
    if abs(b) <= 16 and float(b).is_integer():
        return jax.lax.integer_pow(x, int(b))
    if abs(b) == 0.5:  # as torch does it: of -inf it is NaN
        return jnp.sqrt(x) if b > 0 else jax.lax.rsqrt(x)
    return jnp.power(x, exponent)


# ---- Functions of three numbers ----


@rule_of(aten.addcmul.default)
def _addcmul(x: Array, a: Array, b: Array, value: float = 1) -> Array:
    x, a, b = common(x, a, b)
    return x + scaled(a, value) * b


@rule_of(aten.addcdiv.default)
def _addcdiv(x: Array, a: Array, b: Array, value: float = 1) -> Array:
    x, a, b = common(x, a, b)
    return x + scaled(a, value) / b


@rule_of(aten.lerp.Tensor, aten.lerp.Scalar)
def _lerp(a: Array, b: Array, weight: Any) -> Array:
    a, b, w = common(a, b, weight)
    return jnp.where(jnp.abs(w) < 0.5, a + w * (b - a), b - (b - a) * (1 - w))  # exactly b where w = 1


@rule_of(aten.where.self)
def _where(condition: Array, a: Any, b: Any) -> Array:
    a, b = common(a, b)
    return jnp.where(condition, a, b)


@rule_of(aten.clamp.default, aten.clamp.Tensor)
def _clamp(x: Array, low: Any = None, high: Any = None) -> Array:
    x, *_ = common(*(each for each in (x, low, high) if each is not None))
    x = x if low is None else jnp.maximum(x, jnp.asarray(low, x.dtype))
    return x if high is None else jnp.minimum(x, jnp.asarray(high, x.dtype))


RULES |= {
    aten.clamp_min.default: _clamp,
    aten.clamp_min.Tensor: _clamp,
    aten.clamp_max.default: lambda x, high: _clamp(x, None, high),
    aten.clamp_max.Tensor: lambda x, high: _clamp(x, None, high),
    aten.masked_fill.Scalar: lambda x, mask, value: jnp.where(mask, jnp.asarray(value, x.dtype), x),
    aten.masked_fill.Tensor: lambda x, mask, value: jnp.where(mask, in_dtype(x.dtype, value), x),
}


# ---- Activations ----


@rule_of(aten.gelu.default)
def _gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "none":
        return x * 0.5 * (1 + special.erf(x * math.sqrt(0.5)))
    return 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@rule_of(aten.gelu_backward.default)
def _gelu_backward(g: Array, x: Array, approximate: str = "none") -> Array:
    if approximate == "none":
        density = jnp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return g * (0.5 * (1 + special.erf(x * math.sqrt(0.5))) + x * density)
    c = math.sqrt(2 / math.pi)
    t = jnp.tanh(c * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))


@rule_of(aten.silu_backward.default)
def _silu_backward(g: Array, x: Array) -> Array:
    s = jax.nn.sigmoid(x)
    return g * s * (1 + x * (1 - s))


@rule_of(aten.mish_backward.default)
def _mish_backward(g: Array, x: Array) -> Array:
    t = jnp.tanh(jnp.log1p(jnp.exp(x)))
    return g * (t + x * jax.nn.sigmoid(x) * (1 - t * t))


@rule_of(aten.elu.default)
def _elu(x: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Array:
    return jnp.where(x <= 0, scaled(jnp.expm1(scaled(x, input_scale)), alpha * scale), scaled(x, scale))


@rule_of(aten.elu_backward.default)
def _elu_backward(g: Array, alpha: float, scale: float, input_scale: float, is_result: bool, x: Array) -> Array:
    a = alpha * scale  # x is elu's result if is_result, else its argument
    slope = x + a if is_result else scaled(jnp.exp(scaled(x, input_scale)), a)
    return jnp.where(x <= 0, scaled(g, input_scale) * slope, scaled(g, scale))


@rule_of(aten.softplus.default)
def _softplus(x: Array, beta: float = 1, threshold: float = 20) -> Array:
    z = scaled(x, beta)
    return jnp.where(z > threshold, x, jnp.log1p(jnp.exp(z)) / beta)


@rule_of(aten.softplus_backward.default)
def _softplus_backward(g: Array, x: Array, beta: float, threshold: float) -> Array:
    z = scaled(x, beta)
    return jnp.where(z > threshold, g, g * jax.nn.sigmoid(z))


@rule_of(aten.log_sigmoid_forward.default)
def _log_sigmoid_forward(x: Array) -> list[Array]:
    z = jnp.exp(-jnp.abs(x))
    return [jnp.minimum(x, 0) - jnp.log1p(z), z]


@rule_of(aten.log_sigmoid_backward.default)
def _log_sigmoid_backward(g: Array, x: Array, _: Array) -> Array:
    z = jnp.exp(-jnp.abs(x))
    return g * jnp.where(x < 0, 1 - z / (1 + z), z / (1 + z))


@rule_of(aten.softshrink.default)
def _softshrink(x: Array, threshold: float = 0.5) -> Array:
    return jnp.where(x > threshold, x - threshold, jnp.where(x < -threshold, x + threshold, x * 0))


@rule_of(aten.hardshrink_backward.default, aten.softshrink_backward.default)
def _shrink_backward(g: Array, x: Array, threshold: float) -> Array:
    return jnp.where((x >= -threshold) & (x <= threshold), 0, g)


@rule_of(aten.glu.default)
def _glu(x: Array, dim: int = -1) -> Array:
    a, b = jnp.split(x, 2, dim)
    return a * jax.nn.sigmoid(b)


@rule_of(aten.glu_backward.default)
def _glu_backward(g: Array, x: Array, dim: int) -> Array:
    return pull_back(partial(_glu, dim=dim), x, g)


@rule_of(aten._prelu_kernel_backward.default)
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
