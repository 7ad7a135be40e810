"""What `condensation.phase` reports of a run, its theory, and the sentences of the paper judged by it."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, above, below, mean_of
from dyntoolkit.phenomena.condensation.phase_config import Config

SEEDS = 10  # a slope of one seed scatters by 0.03 to 0.11


def boundary(gamma_prime: Array) -> Array:
    """The gamma at which the critical line passes: 1 for gamma' <= 0, 1 + gamma' above."""
    return np.asarray(1 + np.maximum(gamma_prime, 0))


def predicted_slope(gamma: Array) -> Array:
    """S at gamma' = 0: gamma - 1 in the linear regime, (gamma - 1)/2 in the condensed one.

    A heuristic of ours. Both layers begin with entries of size m^(-gamma/2), so |w(0)| ~ m^((1 - gamma)/2). Linear:
    the fit moves |w| by an amount 1/|a(0)| ~ m^((gamma - 1)/2). Condensed: |w| ends at a size independent of m.
    """
    return np.where(gamma < 1, gamma - 1, (gamma - 1) / 2)


def slopes(distance: Array, widths: Sequence[int]) -> Array:
    """Least-squares slopes of ln RD against ln m, (...). distance: (..., n_widths); NaN where one is not known."""
    x = np.log(widths)
    x = x - x.mean()
    with np.errstate(all="ignore"):  # the distance is 0 before the first step
        y = np.log(distance)
        return np.asarray((y * x).sum(-1) / (x * x).sum())


def metrics(history: History) -> dict[str, Array]:
    """slope_1, slope_2, ...: S at each gamma, in order. Each (R,).

    slope_linear: the largest S at a gamma that theory calls linear, slope_condensed: the smallest one at a gamma that
    it calls condensed (NaN without such a gamma). loss_end: the largest last loss of the run's networks; fitted: the
    share of them that reached the tolerance.
    """
    S = slopes(history.last("distance"), history.config.widths)  # (R, n_gammas)
    gammas = np.stack([c.gammas for c in history.configs])  # (R, n_gammas)
    critical = boundary(np.array([c.gamma_prime for c in history.configs]))[:, None]
    return {
        **{f"slope_{i}": S[:, i - 1] for i in range(1, S.shape[1] + 1)},
        "slope_linear": np.fmax.reduce(np.where(gammas < critical - 1e-9, S, np.nan), axis=1),
        "slope_condensed": np.fmin.reduce(np.where(gammas > critical + 1e-9, S, np.nan), axis=1),
        "loss_end": history.last("loss").max((1, 2)),
        "fitted": (history.last("settled_at") >= 0).mean((1, 2)),
    }


def _deviation(rows: Sequence[Metrics]) -> Array:
    """The largest distance of a mean slope over the seeds from theory at the gammas of the default, (1,)."""
    means = np.array([rows[0][f"slope_{i}"].mean() for i in range(1, Config().n_gammas + 1)])
    return np.array([np.abs(means - predicted_slope(Config().gammas)).max()])


def _margin(rows: Sequence[Metrics]) -> Array:
    """By how much the mean slopes below, on, above the boundary are > 0, within 0.1 of 0, < 0: the least, (1,)."""
    below, on, above = (row["slope_1"].mean() for row in rows)
    return np.array([np.min([below, 0.1 - abs(on), -above])])


def _as_measured(c: Config) -> bool:
    """The recipe's widths, step size and tolerance, whatever the gammas."""
    widths = (c.width_min, c.width_factor, c.n_widths) == (50, 4.0, 3)
    return widths and c.steps >= 4000 and c.tol == 1e-4 and c.lr_damping == 10


def _on_axis(c: Config) -> bool:
    return _as_measured(c) and (c.gamma_min, c.gamma_max, c.n_gammas, c.gamma_prime) == (0.5, 2.0, 7, 0.0)


ACROSS = tuple(
    {"gamma_min": 1.5, "gamma_max": 1.5, "n_gammas": 1, "gamma_prime": gamma_prime} for gamma_prime in (0.25, 0.5, 0.9)
)

CLAIMS = (
    Claim(
        id="slope_follows_theory",
        statement="At γ′ = 0 the slope S, in the mean over seeds, is γ − 1 below γ = 1 and (γ − 1)/2 above it: the largest "
        "deviation.",
        metric="slope_1",
        bound=below(0.1),
        where=_on_axis,
        controls=(Control("S at γ < 1", bound=below(0.0), sweep=mean_of("slope_linear", seeds=SEEDS)),),
        sweep=Sweep(({},), _deviation, least_seeds=SEEDS),
    ),
    Claim(
        id="boundary_gamma_prime",
        statement="At γ = 1.5 the sign of S changes at γ′ = γ − 1: positive at γ′ = 0.25, within 0.1 of 0 at 0.5, negative at "
        "0.9; the smallest margin.",
        metric="slope_1",
        bound=above(0.0),
        where=_as_measured,
        sweep=Sweep(ACROSS, _margin, least_seeds=SEEDS),
    ),
)
