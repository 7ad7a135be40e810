"""Theory, metrics and claims of `condensation.directions`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, above, below, between
from dyntoolkit.phenomena.condensation.directions_config import Config
from dyntoolkit.probes.direction_clusters import direction_clusters

ANGLES = np.arange(720) * np.pi / 720  # of lines; a line has two directions
NEAR_START = 0.02  # largest share of the loss that may be gone where the theory holds
LEAST = 0.04  # share of neurons from which on a group is a cluster


def q_curve(x: Array, y: Array, p: int) -> Array:
    """Q_p(u) = mean of y_i (u . (x_i, 1))^p for u at each of ANGLES, (720,). x, y: (n,). (2105.11686, section 5)"""
    along = np.outer(np.cos(ANGLES), x) + np.sin(ANGLES)[:, None]  # (720, n)
    return np.asarray((y * along**p).mean(1))


def lines(x: Array, y: Array, p: int) -> Array:
    """The angles in degrees, from 0 to 180, at which |Q_p| has its local maxima."""
    size = np.abs(q_curve(x, y, p))
    return np.asarray(np.degrees(ANGLES[(size >= np.roll(size, 1)) & (size > np.roll(size, -1))]))


def theory_lines(history: History) -> Array:
    """The lines to which the theory says that neurons turn; none in five dimensions and for relu."""
    config = history.config
    if config.data != "cubic_1d" or not config.multiplicity or "x" not in history:
        return np.empty(0)
    return lines(history.last("x")[0, :, 0], history.last("y")[0], config.multiplicity)


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run, (R,).

    clusters: at the end; directions: 2p, what the theory says (NaN for relu). worst_angle: degrees, the largest
    distance of a cluster from the nearest line (NaN where there is no line). aligned_share: of neurons with
    |cos(w, v)| > .99 at the step, with at most 2 % of the loss gone, where the median neuron is best aligned. n_eff,
    gone: effective number of neurons and share of the loss gone, at the end.
    """
    config, rays = history.config, theory_lines(history)
    wide = 20.0 if config.data == "sine_5d" else 10.0
    counts, worst = [], []
    for w in history.last("w"):  # (D, m)
        centres = direction_clusters(w.T, np.ones(w.shape[1]), wide, LEAST)
        counts.append(len(centres))
        angles = np.degrees(np.arctan2(w[1, centres], w[0, centres])) % 180
        gaps = np.abs(angles[:, None] - rays)
        worst.append(np.minimum(gaps, 180 - gaps).min(1).max() if len(rays) and len(centres) else np.nan)
    early = history["gone"] < NEAR_START  # (T, R)
    best = np.where(early, history["aligned_median"], -1).argmax(0)
    return {
        "clusters": np.array(counts, dtype=np.float64),
        "directions": np.full(len(counts), 2.0 * config.multiplicity or np.nan),
        "worst_angle": np.array(worst),
        "aligned_share": history["aligned_share"][best, np.arange(len(best))],
        "n_eff": history.last("n_eff"),
        "gone": history.last("gone"),
    }


def _excess(found: Metrics, _: object) -> Array:
    """Clusters above, or below, the 2p of the theory."""
    return found["clusters"] - found["directions"]


def _on_lines(c: Config) -> bool:
    return c.activation in ("tanh", "xtanh", "x2tanh") and c.replace(activation="tanh") == Config()


FIVE_D = Config("sine_5d", optimizer="gd", lr=0.05, steps=260, width=50, init_scale=1e-6)

CLAIMS = (
    Claim(
        id="two_p_directions",
        statement="The neurons turn to exactly 2p directions (judged: directions beyond 2p).",
        metric="clusters",
        bound=between(-0.5, 0.5),
        where=_on_lines,
        controls=(Control("initialization scale 1", {"init_scale": 1.0}),),
        value=_excess,
    ),
    Claim(
        id="at_q_maxima",
        statement="They lie on the lines where |Qₚ| is largest: every cluster within 6 degrees.",
        metric="worst_angle",
        bound=below(6.0),
        where=_on_lines,
        controls=(Control("initialization scale 1", {"init_scale": 1.0}),),
    ),
    Claim(
        id="aligned_5d",
        statement="In five dimensions nine of ten neurons align with v while the loss is still where it began.",
        metric="aligned_share",
        bound=above(0.9),
        where=lambda c: c == FIVE_D,
        controls=(Control("initialization scale 0.1", {"init_scale": 0.1}),),
        preset="five_d",
    ),
)
