"""Metrics and claims of `cross_task_linearity.permutation`."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, below
from dyntoolkit.phenomena.cross_task_linearity.digits_measure import mean_ratio
from dyntoolkit.phenomena.cross_task_linearity.permutation_config import Config

VERSIONS = ("plain", "weight", "activation", "random")


def metrics(history: History) -> dict[str, Array]:
    """Of the last frame, name -> (R,), each for the versions plain, weight, activation and random.

    error_*, loss_*: barrier; ratio_*: mean of ctl_l/base_l over the hidden layers; coef_*: of the last hidden layer.
    weight_share, activation_share, random_share: error barrier over that of plain; NaN where plain has none.
    loss: mean training loss of both networks.
    """
    never = np.full((len(history.seeds), len(VERSIONS)), np.nan)
    error = loss = ratio = coef = never
    if "error_barrier_4" in history:
        error, loss = history.last("error_barrier_4"), history.last("loss_barrier_4")
        ratio = mean_ratio(history.last("ctl_l_4"), history.last("base_l_4"))
        coef = history.last("coef_l_4")[:, :, -2]
    plain = error[:, :1]
    share = np.divide(error, plain, out=np.full_like(error, np.nan), where=plain > 0)
    columns = {"error": error, "loss": loss, "ratio": ratio, "coef": coef}
    return {
        **{f"{name}_{version}": values[:, k] for name, values in columns.items() for k, version in enumerate(VERSIONS)},
        **{f"{version}_share": share[:, k] for k, version in enumerate(VERSIONS) if k},
        "loss": history.last("loss").mean(1) if "loss" in history else never[:, 0],
    }


def _narrow(c: Config) -> bool:
    """Where single runs were measured: the defaults at widths of 32 and 64."""
    return c.width in (32, 64) and c.replace(width=64) == Config()


def _any_width(c: Config) -> bool:
    return c.replace(width=64) == Config()


def _widest(rows: Sequence[Metrics]) -> Array:
    """Mean error barrier at the largest width over that at the smallest, (1,)."""
    return np.array([rows[-1]["error_plain"].mean() / rows[0]["error_plain"].mean()])


RANDOM = Control("units permuted at random", metric="random_share")

CLAIMS = (
    Claim(
        id="weight_matching",
        statement="Matched by their weights, the networks have less than 0.4 of their error barrier left.",
        metric="weight_share",
        bound=below(0.4),
        where=_narrow,
        controls=(RANDOM,),
    ),
    Claim(
        id="activation_matching",
        statement="Matched by their activations, less than 0.3.",
        metric="activation_share",
        bound=below(0.3),
        where=_narrow,
        controls=(RANDOM,),
    ),
    Claim(
        id="wider_is_flatter",
        statement="The wider, the flatter, even unmatched: the mean error barrier at width 256 is below 0.4 of that at 32.",
        metric="error_plain",
        bound=below(0.4),
        where=_any_width,
        sweep=Sweep(tuple({"width": width} for width in (32, 64, 128, 256)), _widest, least_seeds=5),
    ),
)
