"""The table of rules, and the dtypes that torch computes in."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import torch

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


def rule_of(*operators: Any) -> Callable[[Function], Function]:
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


def is_float(dtype: Any) -> bool:
    """Whether it is one of fractions."""
    return bool(jnp.issubdtype(dtype, jnp.floating))


def promoted(*operands: Any) -> Any:
    """The dtype that torch computes in: arrays with axes outrank arrays without, and these outrank Python numbers.

    What is outranked counts only if it is of a higher category: bool < int < float.
    """
    ranks: list[list[Any]] = [[], [], []]  # dtypes of numbers, of arrays without axes, of arrays with axes
    for x in operands:
        if isinstance(x, bool | int | float):
            ranks[0].append(jnp.dtype(default_dtype(x)))
        else:
            ranks[2 if x.ndim else 1].append(x.dtype)

    def higher(below: Any, above: Any) -> Any:
        return above if _category(above) >= _category(below) else jnp.promote_types(below, above)

    return reduce(higher, (reduce(jnp.promote_types, dtypes) for dtypes in ranks if dtypes))


def _category(dtype: Any) -> int:
    return 2 if is_float(dtype) else 0 if dtype == jnp.bool_ else 1


def default_dtype(number: bool | int | float) -> Any:
    """The dtype of a tensor that torch makes of a Python number."""
    return jnp.bool_ if isinstance(number, bool) else jnp.int64 if isinstance(number, int) else jnp.float32


def common(*operands: Any) -> list[Array]:
    """The operands, arrays or Python numbers, in the dtype that torch promotes them to."""
    dtype = promoted(*operands)
    return [in_dtype(dtype, x) for x in operands]


def floats(*operands: Any) -> list[Array]:
    """The operands in the dtype that torch promotes them to, float32 if that is none of floats."""
    dtype = promoted(*operands)
    return [in_dtype(dtype if is_float(dtype) else jnp.float32, x) for x in operands]


def in_dtype(dtype: Any, x: Any) -> Array:
    """An array or a Python number in a dtype."""
    if isinstance(x, Array) and x.dtype == jnp.bool_ and is_float(dtype):  # else XLA takes False * NaN for 0
        return jnp.where(x, jnp.ones((), dtype), jnp.zeros((), dtype))
    return jnp.asarray(x, dtype)


def cast(x: Array, dtype: torch.dtype | None) -> Array:
    """The array in a dtype of torch's, None for its own."""
    return x if dtype is None else in_dtype(DTYPES[dtype], x)


def scaled(x: Array, factor: float) -> Array:
    """The array times a Python number, in the array's dtype."""
    return x if factor == 1 else x * jnp.asarray(factor, x.dtype)


def in_common(function: Rule) -> Rule:
    """The rule of a function whose operands are brought to their `common` dtype."""
    return lambda *operands: function(*common(*operands))


def in_floats(function: Rule) -> Rule:
    """The rule of a function whose operands become `floats`."""
    return lambda *operands: function(*floats(*operands))


def pull_back(function: Callable[[Array], Any], x: Array, g: Any) -> Array:
    """The gradient g in function(x) taken back to x."""
    gradient: Array = jax.vjp(function, x)[1](g)[0]
    return gradient
