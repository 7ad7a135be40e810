"""What `condensation.recovery` reports of a run, and the sentences of the paper judged by it."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, above, at_least, between
from dyntoolkit.phenomena.condensation.recovery_config import DIM, Config

RECOVERED = 1e-2  # mean squared error over all entries below which a matrix counts as recovered


def metrics(history: History) -> dict[str, Array]:
    """mse_1 ... mse_16: mean squared error over all 16 entries at the end, from so many observed ones. Each (R,).

    mse_at: that at the optimistic size r(2d - r). recovered_below, recovered_at: 1 where the error is below 1e-2 one
    entry below this size, and at it. tangent_condensed, tangent_generic: tangent rank of the tanh network.
    """
    mse, at = history.last("mse"), history.config.optimistic - 1  # (R, 16)
    return {
        **{f"mse_{n}": mse[:, n - 1] for n in range(1, DIM * DIM + 1)},
        "mse_at": mse[:, at],
        "recovered_below": (mse[:, at - 1] < RECOVERED).astype(np.float64),
        "recovered_at": (mse[:, at] < RECOVERED).astype(np.float64),
        "tangent_condensed": history.last("tangent_condensed").astype(np.float64),
        "tangent_generic": history.last("tangent_generic").astype(np.float64),
    }


def _jump(rows: Sequence[Metrics]) -> Array:
    """Share of seeds recovered at the optimistic size minus the share one entry below it, (1,)."""
    return np.array([rows[0]["recovered_at"].mean() - rows[0]["recovered_below"].mean()])


def _median(rows: Sequence[Metrics]) -> Array:
    """The median error at the optimistic size over the seeds, (1,)."""
    return np.array([np.median(rows[0]["mse_at"])])


def _trained(c: Config) -> bool:
    return c.rank == 1 and c.lr == 0.02 and c.steps >= 20000


CLAIMS = (
    Claim(
        id="recovery_jump",
        statement="Rank 1: of 30 seeds or more, the share recovered rises by 0.2 or more from n = 6 to n = r(2d − r) = 7.",
        metric="recovered_at",
        bound=at_least(0.2),
        where=lambda c: _trained(c) and c.init_scale == 1e-3,
        controls=(Control("initialization scale 1", {"init_scale": 1.0}),),
        sweep=Sweep(({},), _jump, least_seeds=30),
    ),
    Claim(
        id="large_init_fails",
        statement="From initialization scale 1 the matrix is not recovered at n = 7: the median error over at least 10 seeds.",
        metric="mse_at",
        bound=above(0.5),
        where=_trained,
        sweep=Sweep(({"init_scale": 1.0},), _median, least_seeds=10),
    ),
    Claim(
        id="tangent_rank",
        statement="A tanh network of equal neurons has a tangent space of 3 dimensions, whatever its width.",
        metric="tangent_condensed",
        bound=between(2.5, 3.5),
        where=lambda c: True,
        controls=(Control("20 random neurons", {"student_width": 20}, above(15), metric="tangent_generic"),),
    ),
)
