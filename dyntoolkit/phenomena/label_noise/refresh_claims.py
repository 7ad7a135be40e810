"""Metrics and claims of `label_noise.refresh`."""

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, above, below
from dyntoolkit.phenomena.label_noise.refresh_config import Config
from dyntoolkit.probes.crossing_times import first_above


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never".

    final_test, fit_end, loss_end, gamma_end, rho_end: at the last frame. t_test95: first frame with a test accuracy
    above .95.
    """
    ends = {f"{name}_end": history.last(name) for name in ("fit", "loss", "gamma", "rho")}
    return {
        "final_test": history.last("test"),
        "t_test95": first_above(history.at("test"), history["test"], 0.95),
        **ends,
    }


def _measured(c: Config) -> bool:
    """Where it was measured."""
    sizes = (c.width, c.dim, c.n_train, c.input_noise_std, c.init_scale, c.lr) == (10, 2000, 50, 1.0, 0.003, 0.1)
    return sizes and c.fresh_flips and 0.1 <= c.flip_rate <= 0.4 and c.signal_norm >= 1 and c.steps >= 6000


def _default(c: Config) -> bool:
    return _measured(c) and c.replace(steps=6000) == Config()


CONTROLS = (
    Control("no flips", {"flip_rate": 0.0}),
    Control("flipped once", {"fresh_flips": False}),
)

CLAIMS = (
    Claim(
        id="refresh_generalizes",
        statement="With labels flipped anew in every step it generalises: test accuracy over 95 % in the end.",
        metric="final_test",
        bound=above(0.95),
        where=_measured,
        controls=CONTROLS,
    ),
    Claim(
        id="learns_signal",
        statement="The filters have turned to the signal.",
        metric="gamma_end",
        bound=above(0.2),
        where=_default,
        controls=CONTROLS,
    ),
    Claim(
        id="no_memory",
        statement="They hold no noise patch: one that is memorised has a ρ near 2.",
        metric="rho_end",
        bound=below(0.2),
        where=_default,
        controls=CONTROLS,
    ),
)
