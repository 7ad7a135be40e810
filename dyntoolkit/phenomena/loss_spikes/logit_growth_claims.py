"""Metrics and claims of `loss_spikes.logit_growth`."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Sweep, above, below
from dyntoolkit.phenomena.loss_spikes.logit_growth_config import Config

SETTLED = 10  # step from which on attention counts
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)  # learning rates at which QK-norm must bound the scores
ROUNDING = 0.001  # of the scores, over the bound


def score_bound(width: int) -> float:
    """sqrt(head_dim): with QK-norm q and k have the length sqrt(head_dim), so |q.k|/sqrt(head_dim) is at most that."""
    return float(np.sqrt(width // 2))


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run from step 10 on, name -> (R,).

    logit_max: largest |score| of all layers. logit_excess: the same minus sqrt(head_dim). entropy_min: lowest entropy
    of a layer, nats. loss_end, validation_end: the last loss on a training batch and on the validation windows, nats.
    """
    late = history.at("logit_max") >= SETTLED  # (T,)
    if not late.any():
        late[-1] = True  # the run has only begun
    logit_max = history["logit_max"][late].max((0, 2)).astype(np.float64)  # (R,)
    return {
        "logit_max": logit_max,
        "logit_excess": logit_max - score_bound(history.config.width),
        "entropy_min": history["entropy"][late].min((0, 2)).astype(np.float64),
        "loss_end": history.last("loss").astype(np.float64),
        "validation_end": history.last("validation").astype(np.float64),
    }


def _bounded(rows: Sequence[Metrics]) -> Array:
    """The largest excess over the bound; infinity where it is kept, but the entropy falls to 1 or less."""
    excess = np.max([row["logit_excess"] for row in rows], axis=0)
    low = np.min([row["entropy_min"] for row in rows], axis=0)
    return np.where((low <= 1) & (excess <= ROUNDING), np.inf, excess)


def _plain(c: Config) -> bool:
    """The default network and training, whatever the learning rate and the norm."""
    return c.replace(lr=0.1, qk_norm=False) == Config()


def _hot(c: Config) -> bool:
    """Without QK-norm, at the learning rates at which the recipe saw the scores explode."""
    return _plain(c) and not c.qk_norm and c.lr >= 0.1


CLAIMS = (
    Claim(
        id="logits_explode",
        statement="At a learning rate of 0.1 attention scores grow beyond 100.",
        metric="logit_max",
        bound=above(100),
        where=_hot,
        controls=(Control("η = 0.003", {"lr": 0.003}),),
    ),
    Claim(
        id="entropy_collapse",
        statement="Attention narrows: in some layer its entropy falls below 0.4 nats.",
        metric="entropy_min",
        bound=below(0.4),
        where=lambda c: _hot(c) and c.lr == 0.1,
        controls=(Control("η = 0.003", {"lr": 0.003}),),
    ),
    Claim(
        id="qk_norm_bounds",
        statement="QK-norm keeps scores within √head_dim and the entropy above 1, at rates from 0.003 to 0.3 (shown: excess).",
        metric="logit_excess",
        bound=below(ROUNDING),
        where=_plain,
        controls=(Control("without QK-norm", {"qk_norm": False}),),
        sweep=Sweep(tuple({"qk_norm": True, "lr": lr} for lr in RATES), _bounded),
    ),
)
