"""Metrics and claims of `condensation.split`."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, below, between
from dyntoolkit.phenomena.condensation.split_config import Config

RATIOS = np.linspace(-1, 2, 61)  # split ratios c for which the wide Hessian is measured
CRITICAL = 1e-9  # gradient norm below which a point counts as critical
ESCAPED = 0.999  # share of the loss at the kick, below which a run has escaped


def is_critical(history: History) -> Array:
    """(R,) whether Newton's method has reached a critical point; False before it ends."""
    if "narrow_gradient" not in history:
        return np.zeros(len(history.seeds), dtype=bool)
    return history.last("narrow_gradient") < CRITICAL


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run, (R,); NaN without a critical point.

    narrow_gradient: |g| of the narrow network. wide_gradient, copy_gradient: after the splitting, and after a copy
    without factors. mismatches: values of c at which the inertia is not the predicted one. lambda_min: least
    eigenvalue of the wide Hessian. escape: step after the kick at which the loss is first below 0.999 of it (NaN:
    never). gap: steps that a kick 100 times smaller should cost, ln 100 / (lr |lambda_min|).
    """
    critical, start = is_critical(history), history.at("escape_loss")[0]
    loss = history["escape_loss"]  # (T, R)
    out = loss < ESCAPED * loss[0]
    escape = np.where(out.any(0), history.at("escape_loss")[out.argmax(0)] - start, np.nan)
    wrong = (history.last("inertia") != history.last("predicted")).any(2).sum(1)
    lr = np.array([c.lr for c in history.configs])
    lowest = history.last("lambda_min")
    found = {
        "wide_gradient": history.last("wide_gradient"),
        "copy_gradient": history.last("copy_gradient"),
        "mismatches": wrong.astype(np.float64),
        "lambda_min": lowest,
        "escape": escape,
        "gap": np.log(100) / (lr * np.abs(lowest)),
    }
    known = {name: np.where(critical, value, np.nan) for name, value in found.items()}
    return {"narrow_gradient": history.last("narrow_gradient"), **known}


def _gap(rows: Sequence[Metrics]) -> Array:
    """Measured over predicted extra steps of the smaller kick, minus 1."""
    small, large = rows
    return np.asarray((small["escape"] - large["escape"]) / large["gap"] - 1)


def _split(c: Config) -> bool:
    return c.replace(split_ratio=0.5, delta=1e-4, lr=0.1, steps=6000) == Config()


def _saddle(c: Config) -> bool:
    return c.steps >= 6000 and c.replace(steps=6000) == Config()


CLAIMS = (
    Claim(
        id="split_keeps_gradient",
        statement="The split network stands at a critical point, too: its gradient is zero.",
        metric="wide_gradient",
        bound=below(1e-8),
        where=_split,
        controls=(Control("copied without factors", metric="copy_gradient"),),
    ),
    Claim(
        id="inertia_predicted",
        statement="The numbers of negative, zero and positive curvatures are the predicted ones for every c.",
        metric="mismatches",
        bound=below(0.5),
        where=_split,
    ),
    Claim(
        id="escape_gap",
        statement="A kick 100 times smaller escapes later by the predicted number of steps, to 3 %.",
        metric="escape",
        bound=between(-0.03, 0.03),
        where=_saddle,
        sweep=Sweep(({"delta": 1e-6}, {"delta": 1e-4}), _gap),
    ),
    Claim(
        id="saddle_escapes",
        statement="Split half and half, the network escapes within 3000 steps of a small kick.",
        metric="escape",
        bound=below(3000.0),
        where=_saddle,
        controls=(Control("c = 1.5", {"split_ratio": 1.5}),),
    ),
)
