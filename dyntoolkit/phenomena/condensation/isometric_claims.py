"""Metrics and claims of `condensation.isometric`."""

from dyntoolkit.claims import Array, Bounds, Claim, Control
from dyntoolkit.engine.history import History
from dyntoolkit.phenomena.condensation.isometric_config import Config


def metrics(history: History) -> dict[str, Array]:
    """commute_error: the largest over all measured steps; loss: of the narrow network at the end. (R,)."""
    return {"commute_error": history["commute_error"].max(0), "loss": history.last("loss")}


def _homogeneous(c: Config) -> bool:
    usual = c.replace(copies=2, activation="relu") == Config()
    return usual and c.activation in ("relu", "leaky")


APART = Bounds(low=0.05)

CLAIMS = (
    Claim(
        "isometric_commutes",
        "Isometric splitting commutes with gradient descent: splitting first or last gives the same weights.",
        "commute_error",
        Bounds(high=1e-12),
        _homogeneous,
        controls=(
            Control("plain splitting", {"splitting": "plain"}, APART),
            Control("Adam", {"optimizer": "adam", "lr": 0.01}, APART),
            Control("tanh", {"activation": "tanh"}, APART),
        ),
    ),
)
