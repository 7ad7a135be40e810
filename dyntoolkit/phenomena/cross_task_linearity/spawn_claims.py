"""Metrics and claims of `cross_task_linearity.spawn`."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, above, below
from dyntoolkit.phenomena.cross_task_linearity.digits_measure import mean_ratio
from dyntoolkit.phenomena.cross_task_linearity.spawn_config import APART, Config

FAILED_LOSS = 2.0  # a training loss above it is no training; the label noise alone gives 0.8 to 1
SHARED_STEPS = (600, 200, 50, 10, 0)


def metrics(history: History) -> dict[str, Array]:
    """Of the newest frame of the pair, name -> (R,); NaN before there is one.

    loss_barrier, error_barrier; error_ends: the larger error rate of the two ends. ratio: mean of ctl_l/base_l over
    the hidden layers; coef_last: of the last one. com_2, dist_W_2, dist_H_2, additivity_2: between the first and the
    second hidden layer. loss: mean training loss of both; loss_flag: 1 where one of them is above 2.
    """
    never = np.full(len(history.seeds), np.nan)
    names = ("loss_barrier", "error_barrier", "error_ends", "ratio", "coef_last", "loss", "loss_flag")
    layer = ("com", "dist_W", "dist_H", "additivity")
    if "com" not in history:
        return dict.fromkeys((*names, *(f"{name}_2" for name in layer)), never)
    loss = history.last("loss") if "loss" in history else np.full((len(never), 2), np.nan)
    second = {name: history.last(name)[:, 1] if history.last(name).shape[1] > 1 else never for name in layer}
    return {
        "loss_barrier": history.last("loss_barrier"),
        "error_barrier": history.last("error_barrier"),
        "error_ends": history.last("error_path")[:, [0, -1]].max(1),
        "ratio": mean_ratio(history.last("ctl_l"), history.last("base_l")),
        "coef_last": history.last("coef_l")[:, -2],
        "loss": loss.mean(1),
        "loss_flag": np.where(np.isnan(loss).any(1), np.nan, loss.max(1) > FAILED_LOSS),
        **{f"{name}_2": value for name, value in second.items()},
    }


def _fall(rows: Sequence[Metrics]) -> Array:
    """Loss barrier of the latest copies over that of copies from the start, (R,)."""
    return np.asarray(rows[0]["loss_barrier"] / rows[-1]["loss_barrier"])


def _linear(rows: Sequence[Metrics]) -> Array:
    """Mean ratio of late copies over that of copies from the start, (1,)."""
    return np.array([rows[0]["ratio"].mean() / rows[-1]["ratio"].mean()])


def _measured(c: Config) -> bool:
    return c == Config()


def _any_spawn(c: Config) -> bool:
    return c.replace(spawn_step=600) == Config()


EARLY, INDEPENDENT = Control("copied at the start", {"spawn_step": 0}), Control("two different starts", APART)

CLAIMS = (
    Claim(
        id="small_error_barrier",
        statement="Late copies are connected: on the straight way between them the error rises by less than 8 points.",
        metric="error_barrier",
        bound=below(0.08),
        where=_measured,
        controls=(EARLY, INDEPENDENT),
    ),
    Claim(
        id="commutativity",
        statement="The second layer commutes: either network's weights do on either network's features.",
        metric="com_2",
        bound=below(0.05),
        where=_measured,
        controls=(EARLY, INDEPENDENT),
    ),
    Claim(
        id="barrier_falls",
        statement="The later the copy, the lower the barrier: with 600 shared steps below 0.4 of that without any.",
        metric="loss_barrier",
        bound=below(0.4),
        where=_any_spawn,
        controls=(Control("two different starts: the barrier itself", APART, above(1), metric="loss_barrier"),),
        sweep=Sweep(tuple({"spawn_step": steps} for steps in SHARED_STEPS), _fall),
    ),
    Claim(
        id="llfc_follows",
        statement="The features' linearity follows: in the mean over seeds ctl/base is below 0.75 of that without shared steps.",
        metric="ratio",
        bound=below(0.75),
        where=_any_spawn,
        controls=(Control("two different starts: ctl/base itself", APART, above(0.4), metric="ratio"),),
        sweep=Sweep(({"spawn_step": 600}, {"spawn_step": 0}), _linear, least_seeds=5),
    ),
)
