"""Does a small start make all neurons turn to few directions, and to which?

Zhou et al. 2022, "Towards understanding the condensation of neural networks at initial training" (arXiv 2105.11686).
While all weights are tiny, each neuron of f(x) = sum_k a_k sigma(w_k . x) grows by itself along the gradient of
a |w|^p Q_p(w/|w|), where sigma(z) is about z^p. So it turns to a maximum of |Q_p|, of which there are at most 2p.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Sgd, adam, sgd
from dyntoolkit.engine.without_infinity import without_infinity
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    above,
    below,
    between,
    choice,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import (
    BASELINE,
    GREEN,
    GREY,
    MEASURED,
    TRAIN,
    Axis,
    Heat,
    Level,
    Line,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import recorded, recorded_line
from dyntoolkit.phenomena.condensation._neurons import AMPLITUDE, of_largest
from dyntoolkit.probes.cosine_matrix import cosine_matrix
from dyntoolkit.probes.direction_clusters import direction_clusters
from dyntoolkit.probes.effective_neurons import effective_neurons

Tensor = torch.Tensor

# ---- Settings and presets ----

MULTIPLICITY = {"tanh": 1, "xtanh": 2, "x2tanh": 3, "sigmoid": 1, "softplus": 1}  # p; relu has none


class Config(config.Config):
    """Settings of one run of full-batch training near its start (Zhou et al. 2022, arXiv 2105.11686)."""

    data: str = choice("cubic_1d", ("cubic_1d", "sine_5d"), label="data", help="7x³ − 4.5x, or five sines", main=True)
    activation: str = choice(
        "tanh",
        (*MULTIPLICITY, "relu"),
        label="activation σ",
        help="p = 1, 2, 3 for tanh, x tanh x, x² tanh x",
        main=True,
    )
    width: int = number(100, 20, 1000, label="width m", help="hidden neurons", log=True, main=True, structural=True)
    init_scale: float = number(
        1e-3,
        1e-8,
        1.0,
        label="initialization scale",
        help="standard deviation of the initial weights",
        log=True,
        main=True,
    )
    optimizer: str = choice("adam", ("adam", "gd"), label="optimizer", help="gd steps by η / (2|v|)")
    lr: float = number(
        5e-4,
        1e-5,
        0.1,
        label="learning rate η",
        help="for gd, the growth per step in the exponent",
        log=True,
        main=True,
    )
    steps: int = number(100, 10, 1000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.999, label="β₁", help="Adam's memory of the gradient")
    beta2: float = number(0.999, 0.0, 0.9999, label="β₂", help="Adam's memory of the squared gradient")
    eps: float = number(1e-16, 1e-20, 1e-6, label="ε", help="added to √v in Adam's denominator", log=True)

    @property
    def multiplicity(self) -> int:
        """p: the lowest power in the activation's expansion at 0 beyond the constant; 0 for relu, which has none."""
        return MULTIPLICITY.get(self.activation, 0)


PRESETS = {
    "2p_tanh": Preset("p = 1: two directions, on one line."),
    "2p_xtanh": Preset("p = 2: four directions, on two lines.", {"activation": "xtanh"}),
    "2p_x2tanh": Preset("p = 3: six directions, on three lines.", {"activation": "x2tanh"}),
    "generic": Preset("A usual start: the weights hardly turn, no lines.", {"init_scale": 1.0}),
    "five_d": Preset(
        "Five inputs: all neurons turn to one line.",
        {"data": "sine_5d", "optimizer": "gd", "lr": 0.05, "steps": 260, "width": 50, "init_scale": 1e-6},
    ),
    "authors": Preset(
        "The paper's widths and scales, with Adam.",
        {"data": "sine_5d", "width": 50, "init_scale": 50.0**-4, "lr": 1e-3},
    ),
}

# ---- Data, model, step ----

EVERY = 10  # steps between two measurements
ALIGNED = 0.99  # |cos| from which on a neuron counts as aligned


class Data(NamedTuple):
    """Inputs with a last coordinate 1 for the bias (R, n, D), and labels (R, n), float64."""

    x: Tensor
    y: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """cubic_1d: 40 points of 7x^3 - 4.5x on [-1, 1]. sine_5d: 80 points in [-4, 2]^5, y = sum_k 3.5 sin(5 x_k + 1)."""
    if config.data == "cubic_1d":
        x = torch.linspace(-1, 1, 40, dtype=torch.float64).view(1, -1, 1).repeat(len(seeds), 1, 1)  # (R, n, 1)
        y = 7 * x**3 - 4.5 * x  # (R, n, 1)
    else:
        x = 3 * Stream(seeds, "data").uniform(80, 5, dtype=torch.float64) - 1  # (R, n, 5)
        y = 3.5 * torch.sin(5 * x + 1)  # (R, n, 5)
    return Data(torch.cat([x, torch.ones_like(x[:, :, :1])], dim=2), y.sum(2))


def loss(theta: Tensor, data: Data, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean squared error (R,) of f(x) = sum_k a_k sigma(w_k . x); theta (R, D + 1, m), rows w and a."""
    hidden = activation(data.x @ theta[:, :-1])  # (R, n, m)
    f = (hidden @ theta[:, -1:].mT).squeeze(2)  # (R, n)
    return (f - data.y).square().mean(1)


def mean_direction(data: Data) -> Tensor:
    """v = mean of y_i x_i, (R, D): to first order all neurons of a tanh network grow along it."""
    return (data.y.unsqueeze(2) * data.x).mean(1)


def make_step(
    configs: Sequence[Config], theta: Tensor, flat_loss: Callable[[Tensor], Tensor], v: Tensor
) -> tuple[Adam | Sgd, Callable[[Adam | Sgd, None], Adam | Sgd]]:
    """The state before training and one step of the optimizer; gd steps by lr/(2|v|). theta: (R, P). v: (R, D)."""
    names = ("lr", "beta1", "beta2", "eps")
    lr, beta1, beta2, eps = (per_run(configs, name, torch.float64) for name in names)  # (R,) each
    gradient = value_and_grad(flat_loss)

    def step(state: Adam | Sgd, _: None) -> Adam | Sgd:
        slope = gradient(state.theta)[1]  # (R, P)
        if isinstance(state, Sgd):
            return sgd(state, slope, lr / (2 * v.norm(dim=1)))
        return adam(state, slope, lr, beta1, beta2, eps)

    return Sgd(theta) if configs[0].optimizer == "gd" else Adam.start(theta), step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks; values every 10 steps.

    w (R, D, m) and amplitude |a||w| (R, m) of each neuron; along (R, m) = cos(w, v). (R,): gone = 1 - L/L(0), n_eff
    (every neuron counts alike), aligned_median and aligned_share of |cos(w, v)|. At step 0 the data: x (R, n, D) and
    y (R, n).
    """
    c, data = configs[0], draw_data(configs[0], seeds)
    within = 10.0 if c.data == "sine_5d" else 5.0  # degrees over which two directions count as one
    dims, v = data.x.shape[2], mean_direction(data)  # v (R, D)
    scale = per_run(configs, "init_scale", torch.float64, ndim=2)
    theta = scale * Stream(seeds, "init").normal((dims + 1) * c.width, dtype=torch.float64)  # (R, (D + 1) m)
    activation = ACTIVATIONS[c.activation]

    def flat_loss(flat: Tensor) -> Tensor:
        return loss(flat.view(-1, dims + 1, c.width), data, activation)

    first = flat_loss(theta)  # (R,)

    def measure(k: int, state: Adam | Sgd) -> dict[str, Array]:
        now = state.theta.view(-1, dims + 1, c.width)  # (R, D + 1, m)
        w = now[:, :-1]  # (R, D, m)
        size = now[:, -1].abs() * w.norm(dim=1)  # (R, m)
        along = torch.cosine_similarity(w, v.unsqueeze(2), dim=1, eps=1e-300)  # (R, m)
        found = {
            "w": w,
            "amplitude": size,
            "along": along,
            "gone": 1 - flat_loss(state.theta) / first,
            # N_eff with the weights p_k = 1/m
            "n_eff": effective_neurons(w.mT, torch.ones_like(size), within),
            "aligned_median": along.abs().median(1).values,
            "aligned_share": (along.abs() > ALIGNED).to(torch.float64).mean(1),
        }
        found |= {"x": data.x, "y": data.y} if k == 0 else {}
        # in a run about to diverge a product of weights is infinite before the weights are
        return {name: without_infinity(value) for name, value in found.items()}

    start, step = make_step(configs, theta, flat_loss, v)
    record = [*range(0, c.steps, EVERY), c.steps]
    return train(start, step, full_batch, record, measure)


# ---- What is measured, claims ----

ANGLES = np.arange(720) * np.pi / 720  # of lines; a line has two directions
NEAR_START = 0.02  # largest share of the loss that may be gone where the theory holds
LEAST = 0.04  # share of neurons from which on a group is a cluster


def q_curve(x: Array, y: Array, p: int) -> Array:
    """Q_p(u) = mean of y_i (u . (x_i, 1))^p for u at each of ANGLES, (720,). x, y: (n,). (2105.11686, section 5)"""
    along = np.outer(np.cos(ANGLES), x) + np.sin(ANGLES)[:, None]  # (720, n) u . (x_i, 1)
    return np.asarray((y * along**p).mean(1))


def lines(x: Array, y: Array, p: int) -> Array:
    """The angles in degrees, from 0 to 180, at which |Q_p| has its local maxima. x, y: (n,)."""
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
    |cos(w, v)| > .99 at the step, with less than 2 % of the loss gone, where the median neuron is best aligned. n_eff,
    gone: effective number of neurons and share of the loss gone, at the end.
    """
    config, rays = history.config, theory_lines(history)
    wide = 20.0 if config.data == "sine_5d" else 10.0
    counts, worst = [], []
    for w in history.last("w"):  # (D, m)
        centres = direction_clusters(w.T, np.ones(w.shape[1]), wide, LEAST)
        counts.append(len(centres))
        angles = np.degrees(np.arctan2(w[1, centres], w[0, centres])) % 180
        gaps = np.abs(angles[:, None] - rays)  # (clusters, lines)
        worst.append(np.minimum(gaps, 180 - gaps).min(1).max() if len(rays) and len(centres) else np.nan)
    early = history["gone"] < NEAR_START  # (T, R)
    best = np.where(early, history["aligned_median"], -1).argmax(0)  # (R,)
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


POWERS = defaults(activation=("tanh", "xtanh", "x2tanh"))  # p = 1, 2, 3 on the cubic

CLAIMS = (
    Claim(
        id="two_p_directions",
        statement="The neurons turn to exactly 2p directions (judged: directions beyond 2p).",
        value=_excess,
        bound=between(0, 0),
        where=POWERS,
        controls=(Control("initialization scale 1", {"init_scale": 1.0}),),
    ),
    Claim(
        id="at_q_maxima",
        statement="They lie on the lines where |Qₚ| is largest: every cluster less than 6 degrees away.",
        metric="worst_angle",
        bound=below(6),
        where=POWERS,
        controls=(Control("initialization scale 1", {"init_scale": 1.0}),),
    ),
    Claim(
        id="aligned_5d",
        statement="In five dimensions more than nine of ten neurons align with v while the loss is still where it "
        "began.",
        metric="aligned_share",
        bound=above(0.9),
        where=defaults(**PRESETS["five_d"].changes),
        controls=(Control("initialization scale 0.1", {"init_scale": 0.1}),),
        preset="five_d",
    ),
)

# ---- Figure ----

DRAWN = 100  # neurons in the cosine matrix
STEP = Axis("step")


def panels(history: History) -> list[Panel]:
    """Input weights with the theory's rays, orientation and amplitude, |Q_p|, cosines, N_eff, loss.

    Neurons are those of the first run.
    """
    flat = history.config.data == "cubic_1d"
    steps, gone = recorded(history, "gone")
    return [
        _plane(history) if flat else _along(history),
        _orientation(history),
        _cosines(history),
        _theory(history),
        Panel(
            "Effective number of neurons",
            STEP,
            Axis("N<sub>eff</sub>"),
            [
                recorded_line(history, "n_eff", "N<sub>eff</sub>", GREEN),
                Level("2p", y=2.0 * history.config.multiplicity or np.nan),
            ],
        ),
        Panel(
            "Loss",
            STEP,
            Axis("loss / loss at the start"),
            [median_line("loss", steps, 1 - gone, TRAIN), Level("end of the theory's reach", y=1 - NEAR_START)],
        ),
    ]


def _weights(history: History, row: int) -> Array:
    """(D, m) the first run's input weights at a frame."""
    dims = 2 if history.config.data == "cubic_1d" else 6
    return history["w"][row, 0] if "w" in history else np.empty((dims, 0))


def _plane(history: History) -> Panel:
    """Each neuron at its weight and bias, and the theory's lines."""
    w, b = _weights(history, -1)
    radius = float(np.hypot(w, b).max(initial=1e-30))
    angles = np.radians(theory_lines(history))
    ends = np.tile([-radius, radius, np.nan], (len(angles), 1))  # of each line, and a gap
    x, y = ((ends * turn(angles)[:, None]).ravel() for turn in (np.cos, np.sin))
    limits = (-1.1 * radius, 1.1 * radius)
    return Panel(
        "Input weights",
        Axis("weight w", range=limits),
        Axis("bias b", range=limits),
        [
            Line("neuron", w, b, MEASURED, markers="points"),
            Line("maxima of |Qₚ|", x, y, GREY, dash=True),
        ],
    )


def _along(history: History) -> Panel:
    """The same in five dimensions: each neuron by its part along v and across."""
    w = _weights(history, -1)
    cosine = history.last("along")[0] if "along" in history else np.empty(0)
    length = np.hypot.reduce(w, axis=0)
    radius = 1.1 * float(length.max(initial=1e-30))
    return Panel(
        "Input weights",
        Axis("part along v", range=(-radius, radius)),
        Axis("part across v", range=(-0.05 * radius, radius)),
        [
            Line(
                "neuron",
                length * cosine,
                length * np.sqrt(np.maximum(1 - cosine**2, 0)),
                MEASURED,
                markers="points",
            ),
            Line("line of v", np.array([-radius, radius]), np.zeros(2), GREY, dash=True),
        ],
    )


def _orientation(history: History) -> Panel:
    """Before and now; in five dimensions the angle to v."""
    flat, marks = history.config.data == "cubic_1d", []
    for name, row, color in (("before", 0, BASELINE), ("now", -1, MEASURED)):
        w, size = _weights(history, row), history["amplitude"][row, 0] if "amplitude" in history else np.empty(0)
        angle = np.degrees(np.arctan2(w[1], w[0]))
        if not flat:
            angle = np.degrees(np.arccos(np.clip(history["along"][row, 0], -1, 1))) if "along" in history else angle
        marks.append(Line(name, angle, of_largest(size), color, markers="points"))
    rays = theory_lines(history)
    both = np.concatenate([rays, rays - 180])
    x = np.repeat(both, 3)
    y = np.tile([0.0, 1.0, np.nan], len(both))
    marks.append(Line("maxima of |Qₚ|", x, y, GREY, dash=True))
    label = "orientation of (w, b) in degrees" if flat else "angle between w and v in degrees"
    limits = (-185.0, 185.0) if flat else (-5.0, 185.0)
    return Panel("Orientation", Axis(label, range=limits), AMPLITUDE, [*marks])


def _cosines(history: History) -> Panel:
    """The cosine of every pair of neurons."""
    w = _weights(history, -1)[:, :DRAWN].T
    z = cosine_matrix(w) if len(w) else np.zeros((1, 1))
    places = np.arange(len(z))
    heat = Heat("cosine", places, places, z, low=-1, high=1, colors="RdBu")
    return Panel("Cosines between neurons", Axis("neuron, by leading eigenvector"), Axis("neuron"), [heat])


def _theory(history: History) -> Panel:
    """|Q_p| over all lines, and the lines of the neurons on it."""
    config = history.config
    known = "x" in history and config.data == "cubic_1d" and config.multiplicity
    x, curve = np.degrees(ANGLES), np.full(len(ANGLES), np.nan)
    if known:
        curve = np.abs(q_curve(history.last("x")[0, :, 0], history.last("y")[0], config.multiplicity))
        curve = curve / curve.max()
    w = _weights(history, -1)
    turned = np.degrees(np.arctan2(w[1], w[0])) % 180 if known else np.empty(0)
    height = np.interp(turned, x, curve) if known else np.empty(0)
    return Panel(
        "|Qₚ| and the lines of the neurons",
        Axis("line of (w, b) in degrees", range=(-3, 183)),
        Axis("|Qₚ| / largest", range=(-0.02, 1.1)),
        [Line("theory", x, curve, GREY, dash=True), Line("neuron", turned, height, MEASURED, markers="points")],
        "" if known or "x" not in history else "For this activation or in five dimensions there is no such curve.",
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="condensation.directions",
    title="Neuron condensation",
    question="Does a small start make all neurons turn to at most 2p directions, and to which?",
    paper="2105.11686",
    seconds=0.3,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
