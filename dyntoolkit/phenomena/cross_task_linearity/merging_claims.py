"""Metrics and claims of `cross_task_linearity.merging`."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, below
from dyntoolkit.phenomena.cross_task_linearity.merging_config import Config

LOST = 0.02  # accuracy that a smaller network may lose
RULES = ("merge", "random_merge", "largest", "random_drop")


def fewest_units(accuracies: Array, full: Array, grid: Sequence[int]) -> Array:
    """The smallest number of units of the (falling) grid such that it and all larger ones keep full - 0.02, (R,).

    accuracies: (R, K). full: (R,), of the whole network. NaN where the largest one fails.
    """
    kept = np.logical_and.accumulate(accuracies >= full[:, None] - LOST, axis=1)  # (R, K)
    last = kept.sum(1) - 1
    return np.where(last >= 0, np.array(grid, dtype=float)[np.maximum(last, 0)], np.nan)


def metrics(history: History) -> dict[str, Array]:
    """Of the last frame, name -> (R,): k_star, the fewest units that merging keeps the accuracy with;
    k_random_merge, k_largest, k_random_drop: the same for the controls. accuracy: of the whole network. loss."""
    never, full = np.full(len(history.seeds), np.nan), history.last("accuracy")
    known = "merge" in history
    found = {rule: fewest_units(history.last(rule), full, history.config.grid) if known else never for rule in RULES}
    return {
        "k_star": found["merge"],
        **{f"k_{rule}": found[rule] for rule in RULES[1:]},
        "accuracy": full,
        "loss": history.last("loss") if "loss" in history else never,
    }


def _share(found: Metrics, config: object) -> Array:
    """k_star over the smaller one of the two random controls."""
    return np.asarray(found["k_star"] / np.fmin(found["k_random_merge"], found["k_random_drop"]))


def _of_largest(rows: Sequence[Metrics]) -> Array:
    """Mean k_star over the mean number of largest units that are needed, (1,)."""
    return np.array([rows[0]["k_star"].mean() / rows[0]["k_largest"].mean()])


def _measured(c: Config) -> bool:
    """Where it was measured: the defaults at initialization scales from .01 to .1."""
    return c.init_scale <= 0.1 and c.replace(init_scale=0.1) == Config()


STANDARD = Control("initialization scale 1", {"init_scale": 1.0})

CLAIMS = (
    Claim(
        id="few_features",
        statement="Fewer than 60 of 256 units are enough: merged without retraining they lose at most 2 points of accuracy.",
        metric="k_star",
        bound=below(60),
        where=_measured,
        controls=(STANDARD,),
    ),
    Claim(
        id="merging_beats_random",
        statement="Not any merge will do: it needs less than two thirds of the units that random merging or dropping leaves.",
        metric="k_star",
        bound=below(2 / 3),
        where=_measured,
        value=_share,
    ),
    Claim(
        id="merging_beats_largest",
        statement="Nor does keeping the largest units: in the mean over seeds merging needs less than 0.8 as many.",
        metric="k_star",
        bound=below(0.8),
        where=_measured,
        controls=(STANDARD,),
        sweep=Sweep(({},), _of_largest, least_seeds=5),
    ),
)
