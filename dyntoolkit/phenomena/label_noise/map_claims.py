"""Metrics and claims of `label_noise.map`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, above, at_least, below
from dyntoolkit.phenomena.label_noise.map_config import Config

RICH = 0.5  # alignment from which on a network counts as rich


def metrics(history: History) -> dict[str, Array]:
    """Of the last frame, name -> (R,).

    map_agree: share of cells where run and flow are on the same side of alignment .5 (one without a flow is not);
    map_max_error: the largest difference between their alignments. corner_lazy, corner_noisy: alignment at the largest
    initialization, without noise and with the most; corner_rich: at the smallest, without. frac_aligned: share of
    cells above .5.
    """
    align, flow = history.last("align"), history.last("flow_align")  # (R, n_noise_std, n_init_scale)
    agree = np.where(np.isnan(flow), False, (align > RICH) == (flow > RICH))
    return {
        "map_agree": agree.mean((1, 2)),
        "map_max_error": np.abs(align - flow).max((1, 2)),
        "corner_lazy": align[:, 0, -1],
        "corner_noisy": align[:, -1, -1],
        "corner_rich": align[:, 0, 0],
        "frac_aligned": (align > RICH).mean((1, 2)),
    }


def _gain(found: Metrics, config: object) -> Array:
    """How much noise adds at the largest initialization."""
    return np.asarray(found["corner_noisy"] - found["corner_lazy"])


def _measured(c: Config) -> bool:
    """Where it was measured: the default networks, in maps of at least 25 cells that reach no further."""
    default = Config()
    same = all(getattr(c, name) == getattr(default, name) for name in ("batch_size", "width", "dim", "n_train"))
    cells = min(c.n_init_scale, c.n_noise_std) >= 5
    return same and cells and c.lr <= 0.2 and c.noise_std_max <= 2.5 and 5000 <= c.steps <= 40000


def _noise_acts(c: Config) -> bool:
    """In the last corner noise acts for 3 e-foldings or more after alignment 1/2, and there is something to gain."""
    corner = c.cell(c.init_scale_max, c.noise_std_max)
    along, across = corner.noise_free_norms
    return corner.excess >= 3 and corner.noise_std <= 2.5 and along / (along + across) < 0.2


def _starts_small(c: Config) -> bool:
    """Where it was measured, and long enough for a small start to fit."""
    return c.init_scale_min <= 0.05 and (c.width, c.dim) == (64, 10) and c.lr * c.steps >= 200


CLAIMS = (
    Claim(
        id="map_agrees",
        statement="Flow and network are on the same side of alignment ½ in at least 94 % of the cells.",
        metric="map_agree",
        bound=at_least(0.94),
        where=_measured,
    ),
    Claim(
        id="map_error",
        statement="In no cell does the flow miss the alignment by 0.1.",
        metric="map_max_error",
        bound=below(0.1),
        where=_measured,
    ),
    Claim(
        id="noise_makes_rich",
        statement="At the largest initialization noise adds over 0.7 to the alignment.",
        metric="corner_noisy",
        bound=above(0.7),
        where=_noise_acts,
        controls=(Control("the alignment there without noise", metric="corner_lazy"),),
        value=_gain,
    ),
    Claim(
        id="small_init_is_rich",
        statement="The smallest initialization is rich without any noise.",
        metric="corner_rich",
        bound=above(0.7),
        where=_starts_small,
        controls=(Control("the largest one, without noise", metric="corner_lazy"),),
    ),
)
