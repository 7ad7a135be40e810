"""What `condensation.final` reports of a run, and the sentences of the paper judged by it."""

from typing import Any

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, above, below
from dyntoolkit.phenomena.condensation.final_config import Config


def metrics(history: History) -> dict[str, Array]:
    """n_eff_start, n_eff, test_mse, rd, loss: see `simulate`; at the end, but for the first. Each (R,).

    settled: the step at which the loss was found below the tolerance, NaN for never.
    """
    settled = history.last("settled_at")
    return {
        "n_eff_start": history["n_eff"][0],
        "n_eff": history.last("n_eff"),
        "test_mse": history.last("test_mse"),
        "rd": history.last("rd"),
        "loss": history.last("loss"),
        "settled": np.where(settled < 0, np.nan, settled),
    }


def _measured(c: Config) -> bool:
    return c.width == 500 and c.lr_factor == 1 and c.lr_damping == 2 and c.steps >= 6000 and c.tol == 1e-7


def _near(c: Config) -> bool:
    return _measured(c) and 0.75 <= c.init_exponent <= 1


def _condensed(c: Config) -> bool:
    return _measured(c) and c.init_exponent == 1


CRITICAL: dict[str, Any] = {"init_exponent": 0.5}
LAZY: dict[str, Any] = {"init_exponent": 0.25}

CLAIMS = (
    Claim(
        id="final_n_eff",
        statement="From small weights the trained network has an effective number of neurons below 3.",
        metric="n_eff",
        bound=below(3.0),
        where=_near,
        controls=(
            Control("t = 0.5", CRITICAL, above(15.0)),
            Control("t = 0.25", LAZY, above(15.0)),
        ),
    ),
    Claim(
        id="final_test_mse",
        statement="The condensed network is the simple function between the training points, too.",
        metric="test_mse",
        bound=below(1e-5),
        where=_condensed,
        controls=(Control("t = 0.25", LAZY, above(1e-4)),),
    ),
    Claim(
        id="final_rd",
        statement="The condensed network's input weights move by more than they were.",
        metric="rd",
        bound=above(1.0),
        where=_near,
        controls=(Control("t = 0.25", LAZY, below(0.5)),),
    ),
)
