"""Metrics and claims of `condensation.dropout`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, below
from dyntoolkit.phenomena.condensation.dropout_config import Config


def metrics(history: History) -> dict[str, Array]:
    """At the end, (R,): n_eff, penalty, loss with dropout; and `_without`, of the twin that keeps everybody."""
    found: dict[str, Array] = {}
    for name in ("n_eff", "penalty", "loss"):
        pair = history.last(name).astype(np.float64)  # (R, 2)
        found |= {name: pair[:, 0], f"{name}_without": pair[:, 1]}
    return found


def _measured(c: Config) -> bool:
    return 0.5 <= c.keep_prob <= 0.95 and c.steps >= 8000 and c.replace(keep_prob=0.9, steps=8000) == Config()


CLAIMS = (
    Claim(
        id="dropout_condenses",
        statement="With dropout the trained network has an effective number of neurons below 11.",
        metric="n_eff",
        bound=below(11.0),
        where=_measured,
        controls=(Control("without dropout", metric="n_eff_without"),),
    ),
    Claim(
        id="penalty_falls",
        statement="The penalty that dropout adds in the mean, R₁ at q = 0.9, falls below 0.005.",
        metric="penalty",
        bound=below(5e-3),
        where=lambda c: c.keep_prob == 0.9 and _measured(c),
        controls=(Control("without dropout", metric="penalty_without"),),
    ),
)
