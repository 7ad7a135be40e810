"""Spikes of the one-dimensional runs, the theory of their times, metrics and claims."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.signal import find_peaks

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, above, below, between
from dyntoolkit.phenomena.loss_spikes.quadratic_config import Config
from dyntoolkit.phenomena.loss_spikes.spikes import TURNS
from dyntoolkit.phenomena.loss_spikes.trace import trace

DECOUPLED, DECOUPLED_ALONE = 1e-3, 1e-4  # of g^2/v: below it v only forgets (for beta1 = 0, where the law is exact)
AGAIN = 0.01  # of g^2/v: above it v takes in new gradients


class Run(NamedTuple):
    """The values of one run at every step, (N,) each."""

    theta: Array
    g2: Array
    v: Array
    curvature: Array
    loss: Array


def run(history: History, r: int) -> Run:
    """Run r of a history."""
    return Run(*(trace(history, name)[:, r] for name in Run._fields))


def envelope(loss: Array) -> Array:
    """log10 of the largest of the last five losses: every zero crossing of theta is a pit in the loss itself."""
    logs = np.log10(np.maximum(loss, TURNS))
    shifted = [np.concatenate([np.full(k, logs[0]), logs[: len(logs) - k]]) for k in range(min(5, len(logs)))]
    return np.asarray(np.max(shifted, axis=0))


def peaks(loss: Array) -> Array:
    """The spikes: maxima of the envelope that stand out by at least a decade (prominence)."""
    return np.asarray(find_peaks(envelope(loss), prominence=1.0)[0])


def decoupling(seen: Run, share: float = DECOUPLED) -> int:
    """The first step from which on g^2 stays below `share` of that step's v for 20 steps; -1 for never."""
    ahead = np.lib.stride_tricks.sliding_window_view(seen.g2, 20).max(1) if len(seen.g2) >= 20 else np.empty(0)
    found = np.flatnonzero(ahead < share * seen.v[: len(ahead)])
    return int(found[0]) if len(found) else -1


def predicted_crossing(seen: Run, config: Config) -> float:
    """t* = t_c + 2 ln(sqrt(v_c)/s*)/ln(1/beta2): when sqrt(v), only forgetting, reaches s*; NaN for never."""
    start = decoupling(seen)
    if start < 0 or config.critical_root <= 0:
        return np.nan
    raw = seen.v[start] * (1 - config.beta2 ** (start + 1))
    return float(start + 2 * np.log(np.sqrt(raw) / config.critical_root) / np.log(1 / config.beta2))


def observed_crossing(seen: Run, config: Config) -> float:
    """The first step with curvature above 2/lr after the first one below it; NaN for never."""
    below = np.flatnonzero(seen.curvature < 2 / config.lr)
    above = np.flatnonzero(seen.curvature > 2 / config.lr)
    later = above[above > below[0]] if len(below) else above[:0]
    return float(later[0]) if len(later) else np.nan


def growth(seen: Run, config: Config) -> tuple[int, Array]:
    """For beta1 = 0: t_c, and log10 |theta| from there by the closed form, until v takes in gradients again.

    ln |theta_{i+1}| = ln |theta_i| + ln |1 - lr h/sqrt(v_i)| with v_i = v_c beta2^(i - t_c)/(1 - beta2^(i + 1)).
    """
    start = decoupling(seen, DECOUPLED_ALONE)
    if start < 0 or config.beta1 > 0:
        return -1, np.empty(0)
    again = np.flatnonzero(seen.g2[start:] > AGAIN * seen.v[start:])
    end = start + int(again[0]) if len(again) else len(seen.theta)
    i = np.arange(start, end - 1)
    raw = seen.v[start] * (1 - config.beta2 ** (start + 1))
    v = raw * config.beta2 ** (i - start) / (1 - config.beta2 ** (i + 1))
    steps = np.log10(np.maximum(np.abs(1 - config.lr * config.curvature / np.sqrt(v)), TURNS))
    first = np.log10(max(abs(seen.theta[start]), TURNS))
    return start, np.concatenate([[first], first + np.cumsum(steps)])


def metrics(history: History) -> dict[str, Array]:
    """spikes; crossing and crossing_error: observed, and observed minus predicted; growth_error: decades. Each (R,)."""
    rows = [_one_run(run(history, r), config) for r, config in enumerate(history.configs)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _one_run(seen: Run, config: Config) -> dict[str, float]:
    crossing = observed_crossing(seen, config)
    start, line = growth(seen, config)
    error = np.nan
    if len(line) > 1:
        measured = np.log10(np.maximum(np.abs(seen.theta[start : start + len(line)]), TURNS))
        error = float(np.abs(measured - line).max())
    return {
        "spikes": len(peaks(seen.loss)),
        "crossing": crossing,
        "crossing_error": crossing - predicted_crossing(seen, config),
        "growth_error": error,
    }


def _largest(name: str, rows: Sequence[Metrics]) -> Array:
    return np.asarray(np.max([row[name] for row in rows], axis=0))


def _threshold(rows: Sequence[Metrics]) -> Array:
    """The fewest spikes of the first half of the runs, below the critical eps; 0 if another one has two or more."""
    counts = np.array([row["spikes"] for row in rows])  # (runs, seeds)
    below, above = counts[: len(rows) // 2], counts[len(rows) // 2 :]
    return np.where(above.max(0) <= 1, below.min(0), 0.0)


def _predictable(c: Config) -> bool:
    """Where the recipe measured the crossing, and the run is long enough to get there."""
    usual = c.beta1 == 0.9 and c.eps <= 1e-8 and c.curvature == 1
    return usual and 0.97 <= c.beta2 <= 0.995 and 0.05 <= c.lr <= 0.2 and c.steps * (1 - c.beta2) >= 15


def _default(c: Config) -> bool:
    return (c.lr, c.beta1, c.beta2, c.curvature) == (0.1, 0.9, 0.99, 1.0) and c.eps <= 1e-8 and c.steps == 3000


def _scaled(factor: float) -> tuple[dict[str, float], ...]:
    """The three learning rates of the recipe with eps at `factor` times its critical value, 8000 steps."""
    rates = (0.01, 0.05, 0.1)
    return tuple({"lr": lr, "eps": factor * Config(lr=lr).critical_eps, "steps": 8000} for lr in rates)


GROWING = ({"beta2": 0.97, "lr": 0.05}, {"beta2": 0.99, "lr": 0.05}, {"beta2": 0.98, "lr": 0.1})

CLAIMS = (
    Claim(
        id="crossing_time",
        statement="The curvature passes 2/η within 3 steps of the predicted time.",
        metric="crossing_error",
        bound=between(-3, 3),
        where=_predictable,
        controls=(Control("β₁ = 0, β₂ = 0.995", {"beta1": 0.0, "beta2": 0.995}),),
    ),
    Claim(
        id="growth_closed_form",
        statement="Without momentum, |θ| follows the closed form to 0.05 decades while v only forgets.",
        metric="growth_error",
        bound=below(0.05),
        where=_default,
        sweep=Sweep(tuple({**entry, "beta1": 0.0} for entry in GROWING), lambda rows: _largest("growth_error", rows)),
    ),
    Claim(
        id="spike_count",
        statement="At β₂ = 0.99 there are at least 15 spikes in 3000 steps.",
        metric="spikes",
        bound=above(14.5),
        where=_default,
        controls=(Control("β₂ = 0.9", {"beta2": 0.9}, below(0.5)), Control("β₂ = 0.97", {"beta2": 0.97})),
    ),
    Claim(
        id="eps_threshold",
        statement="The critical ε decides: 20 spikes or more 5 % below it, one at most 5 % above it, for three learning rates.",
        metric="spikes",
        bound=above(19.5),
        where=_default,
        sweep=Sweep((*_scaled(0.95), *_scaled(1.05)), _threshold),
    ),
)
