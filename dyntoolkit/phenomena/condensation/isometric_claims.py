"""Metrics and claims of `condensation.isometric`."""

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, above, below
from dyntoolkit.phenomena.condensation.isometric_config import Config


def metrics(history: History) -> dict[str, Array]:
    """commute_error: the largest over all measured steps; loss: of the narrow network at the end. (R,)."""
    return {"commute_error": history["commute_error"].max(0), "loss": history.last("loss")}


def _homogeneous(c: Config) -> bool:
    usual = c.replace(copies=2, activation="relu") == Config()
    return usual and c.activation in ("relu", "leaky")


APART = above(0.05)

CLAIMS = (
    Claim(
        id="isometric_commutes",
        statement="Isometric splitting commutes with gradient descent: splitting first or last gives the same weights.",
        metric="commute_error",
        bound=below(1e-12),
        where=_homogeneous,
        controls=(
            Control("plain splitting", {"splitting": "plain"}, APART),
            Control("Adam", {"optimizer": "adam", "lr": 0.01}, APART),
            Control("tanh", {"activation": "tanh"}, APART),
        ),
    ),
)
