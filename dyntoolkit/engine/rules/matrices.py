"""Rules of products of matrices and of linear algebra."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dyntoolkit.engine.rules.table import HIGHEST, RULES, Array, Rule, aten, rule_of, scaled

# ---- Products of matrices ----

matmul = partial(jnp.matmul, precision=HIGHEST)


def _plus_product(product: Callable[[Array, Array], Array]) -> Rule:
    """beta c + alpha product(a, b), where beta = 0 means that c does not count, be it NaN."""

    def rule(c: Array, a: Array, b: Array, beta: float = 1, alpha: float = 1) -> Array:
        ab = scaled(product(a, b), alpha)
        return jnp.broadcast_to(ab if beta == 0 else scaled(c, beta) + ab, ab.shape)

    return rule


@rule_of(aten._trilinear.default)
def _trilinear(
    a: Array, b: Array, c: Array, axes_a: Any, axes_b: Any, axes_c: Any, summed: Sequence[int], unroll: int = 1
) -> Array:
    a, b, c = (jnp.expand_dims(x, axes) for x, axes in ((a, axes_a), (b, axes_b), (c, axes_c)))
    return jnp.sum(a * b * c, tuple(summed))


RULES |= {
    aten.mm.default: matmul,
    aten.bmm.default: matmul,
    aten.mv.default: matmul,
    aten.dot.default: matmul,
    aten.addmm.default: _plus_product(matmul),
    aten.baddbmm.default: _plus_product(matmul),
    aten.addmv.default: _plus_product(matmul),
    aten.addbmm.default: _plus_product(lambda a, b: matmul(a, b).sum(0)),
    aten.addr.default: _plus_product(lambda a, b: a[:, None] * b),
}


# ---- Linear algebra ----


def _success(matrices: Array) -> Array:
    return jnp.zeros(matrices.shape[:-2], jnp.int32)  # a failure shows as NaN


@rule_of(aten.linalg_cholesky_ex.default)
def _cholesky(x: Array, upper: bool = False, check_errors: bool = False) -> list[Array]:
    return [jnp.linalg.cholesky(x, upper=upper, symmetrize_input=False), _success(x)]


@rule_of(aten._linalg_eigh.default)
def _eigh(x: Array, uplo: str = "L", compute_v: bool = True) -> list[Array]:
    values, vectors = jnp.linalg.eigh(x, uplo, symmetrize_input=False)
    return [values, vectors if compute_v else jnp.zeros(0, x.dtype)]


@rule_of(aten.linalg_qr.default)
def _qr(x: Array, mode: str = "reduced") -> list[Array]:
    return [jnp.zeros(0, x.dtype), jnp.linalg.qr(x, "r")] if mode == "r" else list(jnp.linalg.qr(x, mode))


@rule_of(aten.linalg_solve_triangular.default)
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
