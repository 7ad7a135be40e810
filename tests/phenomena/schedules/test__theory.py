"""The exact expectation against its full second moments and against runs, the law against its integral."""

import numpy as np
import pytest

from dyntoolkit.phenomena.schedules._theory import Moments, Update

LR, NOISE, B = 0.3, 0.7, 4
VARIANCES = np.array([1.0, 0.4, 0.1])
START = np.array([0.2, 0.5, 3.0])


def course(steps, rates, batches):
    """Risks (steps + 1, 2), exact and by the law."""
    moments, found = Moments.start(VARIANCES, START), []
    for k in range(steps + 1):
        found.append(moments.risks(VARIANCES))
        moments = Update.of(VARIANCES, np.array([NOISE]), np.array([rates[k]]), batches[k])(moments)
    return np.array(found)


def test_the_exact_recursion_is_that_of_the_whole_matrix_of_second_moments():
    """E of (I - lr/B sum x x^T) S (I - lr/B sum x x^T) for Gaussian x, with E x x^T S x x^T = 2 H S H + tr(S H) H."""
    H, S = np.diag(VARIANCES), np.diag(START)
    found = course(5, [LR] * 6, [B] * 6)
    for k in range(6):
        assert found[k, 0] == pytest.approx(np.trace(H @ S), rel=1e-12)
        fourth = 2 * H @ S @ H + np.trace(S @ H) * H
        S = S - LR * (H @ S + S @ H) + LR**2 * ((fourth + (B - 1) * H @ S @ H) / B + NOISE**2 * H / B)


def test_the_exact_recursion_is_the_mean_of_runs():
    rng, runs = np.random.default_rng(0), 40_000
    v = np.sqrt(START) * rng.choice([-1, 1], (runs, 3))
    for k in range(6):
        risk = (VARIANCES * v**2).sum(1)
        assert course(k, [LR] * 7, [B] * 7)[k, 0] == pytest.approx(risk.mean(), abs=5 * risk.std() / runs**0.5 + 1e-12)
        x = rng.normal(size=(runs, B, 3)) * np.sqrt(VARIANCES)
        error = np.einsum("rbm,rm->rb", x, v) - NOISE * rng.normal(size=(runs, B))
        v = v - LR / B * np.einsum("rb,rbm->rm", error, x)


def test_the_law_is_its_sum_over_all_updates():
    rng = np.random.default_rng(1)
    rates, batches = rng.uniform(0.05, 0.3, 9), rng.integers(1, 9, 9)
    T = np.concatenate([[0], np.cumsum(rates)])

    def e(time):
        return (VARIANCES * START * np.exp(-2 * VARIANCES * time)).sum()

    def kernel(time):
        return (VARIANCES**2 * np.exp(-2 * VARIANCES * time)).sum()

    found = course(8, rates, batches)[:, 1]
    for n in range(9):
        noise = sum(rates[k] ** 2 / batches[k] * kernel(T[n] - T[k]) * (NOISE**2 + e(T[k])) for k in range(n))
        assert found[n] == pytest.approx(e(T[n]) + noise, rel=1e-12)


def test_what_diverges_is_unknown():
    with np.errstate(all="ignore"):
        moments = Moments.start(VARIANCES, START)
        update = Update.of(VARIANCES, np.array([NOISE]), np.array([50.0]), 1)
        for _ in range(200):
            moments = update(moments)
        assert np.isnan(moments.risks(VARIANCES)[0])
