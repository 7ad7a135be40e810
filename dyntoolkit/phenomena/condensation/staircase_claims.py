"""Plateaus of the loss of `condensation.staircase`, metrics and claims."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, at_least, below
from dyntoolkit.phenomena.condensation.staircase_config import Config

POINTS, LAG = 200, 4  # points on the logarithmic axis of steps, and how many of them a slope spans
FLAT, LONG = 0.08, 0.35  # largest slope (decades per decade) on a plateau, and its least length in decades
TWO_NEURONS = 0.116  # loss at which two neurons on relu3 end at best (40 runs)


class Plateau(NamedTuple):
    """Steps between which the loss rests, its level, and the least effective number of neurons there."""

    start: float
    end: float
    level: float
    n_eff: float


def plateaus(steps: Array, loss: Array, n_eff_steps: Array, n_eff: Array) -> list[Plateau]:
    """The stretches of a loss curve that are flat on log-log axes. steps, loss: (N,); n_eff: (K,) at n_eff_steps."""
    if steps[-1] < 10:
        return []
    t = np.geomspace(10**0.7, steps[-1], POINTS)
    nearest = np.abs(steps[:, None] - t).argmin(0)
    logs = np.log10(np.clip(loss[nearest].astype(np.float64), 1e-300, 1e300))
    slope = (logs[LAG:] - logs[:-LAG]) / (np.log10(t[LAG:]) - np.log10(t[:-LAG]))
    flat = np.concatenate([[False], np.abs(slope) < FLAT, [False]])
    starts, ends = np.flatnonzero(flat[1:] & ~flat[:-1]), np.flatnonzero(flat[:-1] & ~flat[1:])
    found = []
    for i, j in zip(starts.tolist(), ends.tolist(), strict=True):
        start, end = t[i + 2], t[min(j + 2, POINTS - 1)]
        if np.log10(end / start) > LONG:
            level = 10 ** float(np.sort(logs[i:j])[(j - i - 1) // 2])
            near = n_eff[(n_eff_steps >= 0.9 * start) & (n_eff_steps <= 1.1 * end)]
            found.append(Plateau(float(start), float(end), float(level), float(near.min()) if len(near) else np.nan))
    return found


def found_plateaus(history: History, r: int) -> list[Plateau]:
    """The plateaus of run r so far."""
    return plateaus(history.at("loss"), history["loss"][:, r], history.at("n_eff"), history["n_eff"][:, r])


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run, (R,).

    affine_gap: relative distance of the affine fit's loss from the nearest plateau with n_eff < 1.5; NaN without one.
    narrow_gap: that of the third plateau from the level of two neurons (relu3 only). plateaus: how many there are.
    n_eff, loss: at the end. grown: 1 where n_eff > 2 and loss < 0.13.
    """
    runs, affine = range(len(history.seeds)), history.last("affine")
    found = [found_plateaus(history, r) for r in runs]
    gaps = [[abs(p.level / affine[r] - 1) for p in found[r] if p.n_eff < 1.5] for r in runs]
    n_eff, loss = history.last("n_eff"), history.last("loss").astype(np.float64)
    third = [p[2].level if len(p) > 2 and history.config.target == "relu3" else np.nan for p in found]
    return {
        "affine_gap": np.array([min(gap, default=np.nan) for gap in gaps]),
        "narrow_gap": np.abs(np.array(third) / TWO_NEURONS - 1),
        "plateaus": np.array([len(p) for p in found], dtype=np.float64),
        "n_eff": n_eff,
        "loss": loss,
        "grown": ((n_eff > 2) & (loss < 0.13)).astype(np.float64),
    }


def _share(rows: Sequence[Metrics]) -> Array:
    """The share of all seeds in which directions have grown, (1,)."""
    return np.array([rows[0]["grown"].mean()])


def _measured(c: Config) -> bool:
    return c.steps >= 12000 and c.replace(steps=12000) == Config()


CLAIMS = (
    Claim(
        id="affine_plateau",
        statement="The loss rests within 1 % of the best straight line's, while all neurons point in one direction.",
        metric="affine_gap",
        bound=below(0.01),
        where=_measured,
        controls=(Control("initialization scale 0.5", {"init_scale": 0.5}),),
    ),
    Claim(
        id="directions_grow",
        statement="Then directions multiply and the loss falls below the plateau: in at least 8 of 10 seeds.",
        metric="grown",
        bound=at_least(0.8),
        where=_measured,
        sweep=Sweep(({},), _share, least_seeds=10),
    ),
    Claim(
        id="narrow_levels",
        statement="A third plateau lies at the loss of two neurons (seen in some runs only).",
        metric="narrow_gap",
        bound=below(0.02),
        where=lambda _: False,
    ),
)
