"""Metrics and claims of `loss_spikes.rescue`: the excess of each branch."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, at_least, at_most
from dyntoolkit.phenomena.loss_spikes import spikes as find
from dyntoolkit.phenomena.loss_spikes.mlp_claims import spiky
from dyntoolkit.phenomena.loss_spikes.rescue_config import BRANCHES, Config
from dyntoolkit.phenomena.loss_spikes.trace import trace

RESCUES = ("lr_2", "lr_4", "eps_0.01", "eps_0.1", "beta1_0.97")
TOO_LATE = ("beta2_0.99", "beta2_0.9")


def metrics(history: History) -> dict[str, Array]:
    """The excess of each branch, and what preceded it, name -> (R,); NaN without an alarm before a tenfold spike.

    excess_<branch>: decades by which the largest of its losses lies above the median of the 100 losses before the
    alarm. rescued_most: the largest of the five branches that should prevent the spike. too_late_least: the smaller one
    of the two with a smaller beta2. alarm: index of the alarm. tried: its number among the run's alarms; alarms: how
    many of them there are.
    """
    found = excesses(history)
    groups = [
        [first for first, _ in find.alarm_groups(find.alarm_state(along, config.lr))]
        for along, config in zip(trace(history, "along_gradient").T, history.configs, strict=True)
    ]
    alarm = history.last("alarm") if "alarm" in history else np.full(len(groups), np.nan)
    number = [starts.index(i) + 1 if i in starts else np.nan for starts, i in zip(groups, alarm, strict=True)]
    return {
        **{f"excess_{name}": found[name] for name in BRANCHES},
        "rescued_most": np.max([found[name] for name in RESCUES], axis=0),
        "too_late_least": np.min([found[name] for name in TOO_LATE], axis=0),
        "alarm": alarm,
        "tried": np.array(number, dtype=np.float64),
        "alarms": np.array([len(starts) for starts in groups], dtype=np.float64),
    }


def excesses(history: History) -> dict[str, Array]:
    """Name of each branch -> its excess in decades (R,); NaN before the branches are trained, and without an alarm."""
    if "branches" not in history:
        return {name: np.full(len(history.seeds), np.nan) for name in BRANCHES}
    found = find.height(history.last("branches"), history.last("usual")[:, None])  # (R, B)
    return dict(zip(BRANCHES, found.T, strict=True))


def _seen(c: Config) -> bool:
    """Where the recipe saw it: wherever the default experiment spikes, watched for 60 losses."""
    return spiky(c) and c.horizon == 60


UNTOUCHED = Control("untouched", metric="excess_none")

CLAIMS = (
    Claim(
        id="rescued",
        statement="η/2, η/4, ε = 0.01, ε = 0.1 and β₁ = 0.97 at the alarm each prevent the spike: the loss at most doubles.",
        metric="rescued_most",
        bound=at_most(0.3),
        where=_seen,
        controls=(UNTOUCHED,),
    ),
    Claim(
        id="clip_helps",
        statement="So does clipping the gradient to 0.001: the loss stays below three times its usual value.",
        metric="excess_clip_0.001",
        bound=at_most(0.5),
        where=_seen,
        controls=(UNTOUCHED,),
    ),
    Claim(
        id="beta2_too_late",
        statement="A smaller β₂ comes too late at the alarm: with 0.99 as with 0.9 the loss at least doubles.",
        metric="too_late_least",
        bound=at_least(0.3),
        where=_seen,
        controls=(Control("η / 2", metric="excess_lr_2"),),
    ),
)
