"""The phase diagram of two-layer ReLU networks: how does the change of the weights scale with the width?

Luo et al. 2021, "Phase diagram for two-layer ReLU neural networks at infinite-width limit" (JMLR 22, arXiv 2007.07497),
and Zhou et al. 2022 (arXiv 2105.11686). Weights that begin at the size m^-gamma hardly move in the linear regime, the
less the wider the network; in the condensed one they move by far more than they were.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Map,
    Metrics,
    Preset,
    Sweep,
    above,
    at_least,
    below,
    config,
    defaults,
    mean_of,
    number,
    settings,
)
from dyntoolkit.figure.family import sequential
from dyntoolkit.figure.panels import BLUE, GREY, MEASURED, RED, Axis, Level, Line, Mark, Panel
from dyntoolkit.figure.recorded import recorded
from dyntoolkit.phenomena.condensation._two_layer import State, loss, make_step, ntk_step
from dyntoolkit.probes.relative_distance import relative_distance

Tensor = torch.Tensor

# ---- Settings and presets ----

POINTS = 4  # of the training data
SECOND = 4e8  # numbers in hidden layers that a core works off per second, about


class Config(config.Config):
    """Settings of one run: a network at every gamma and every width, with random weights of one seed."""

    gamma_min: float = number(0.5, 0.25, 2.5, label="first γ", help="1/2: NTK scaling, 1: mean field", main=True)
    gamma_max: float = number(2.0, 0.25, 2.5, label="last γ", help="the larger γ, the smaller the weights", main=True)
    n_gammas: int = number(7, 1, 15, label="number of γ", help="evenly spaced; one: the first γ", structural=True)
    gamma_prime: float = number(
        0.0, -0.5, 1.0, label="γ′", help="above 0: output weights begin smaller than input weights", main=True
    )
    width_min: int = number(
        50, 20, 400, label="smallest width m", help="hidden units", log=True, main=True, structural=True
    )
    width_factor: float = number(4.0, 2.0, 8.0, label="ratio of widths", help="each to the next", structural=True)
    n_widths: int = number(3, 2, 4, label="number of widths", help="points that a slope goes through", structural=True)
    steps: int = number(4000, 500, 10000, label="steps", help="at most", log=True, structural=True)
    tol: float = number(1e-4, 1e-7, 1e-2, label="tolerance", help="stop below this loss", log=True, main=True)
    lr_damping: float = number(10.0, 1.0, 50.0, label="damping", help="constant in the step size", log=True)

    @property
    def gammas(self) -> Array:
        """The values of gamma, (n_gammas,)."""
        return np.linspace(self.gamma_min, self.gamma_max, self.n_gammas)

    @property
    def widths(self) -> list[int]:
        """The widths m, from the smallest."""
        return [round(self.width_min * self.width_factor**k) for k in range(self.n_widths)]

    def warnings(self) -> list[str]:
        """Wide networks take long."""
        seconds = POINTS * sum(self.widths) * self.n_gammas * self.steps / SECOND
        if seconds < 15:
            return []
        return [f"networks of up to {self.widths[-1]} neurons: a run may take {seconds / 60:.1f} minutes."]


PRESETS = {
    "gamma_axis": Preset("Below γ = 1 the wide networks move less (S < 0), above it they move more (S > 0)."),
    "above_boundary": Preset(
        "γ′ = 0.9 at γ = 1.5, above the line γ′ = γ − 1: lazy again, S < 0.",
        {"gamma_min": 1.5, "gamma_max": 1.5, "n_gammas": 1, "gamma_prime": 0.9},
    ),
    "on_boundary": Preset(
        "γ′ = 0.5 at γ = 1.5, on the line: S is about 0.",
        {"gamma_min": 1.5, "gamma_max": 1.5, "n_gammas": 1, "gamma_prime": 0.5},
    ),
    "below_boundary": Preset(
        "γ′ = 0.25 at γ = 1.5, below the line: condensed, S > 0.",
        {"gamma_min": 1.5, "gamma_max": 1.5, "n_gammas": 1, "gamma_prime": 0.25},
    ),
}

# ---- Data, model, step ----

X = torch.tensor([-1.0, -1 / 3, 1 / 3, 1.0], dtype=torch.float32)
Y = torch.tensor([0.6, -0.6, 0.3, 0.9], dtype=torch.float32)
FRAMES = 60


def initial_theta(configs: Sequence[Config], seeds: Sequence[int], m: int) -> Tensor:
    """The weights of width m at every gamma, (R G, 3, m): w and b with std m^-((gamma - gamma')/2), a with
    m^-((gamma + gamma')/2).

    The numbers are drawn anew for each width; all gammas of a seed share them.
    """
    normal = Stream(seeds, f"init {m}").normal(3, m, dtype=torch.float64)  # (R, 3, m)
    gamma = torch.from_numpy(np.stack([c.gammas for c in configs]))  # (R, G)
    sign = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)  # of gamma' for w, b, a
    gamma_prime = per_run(configs, "gamma_prime", torch.float64, ndim=3)  # (R, 1, 1)
    exponent = (gamma[:, :, None] + sign * gamma_prime) / 2  # (R, G, 3)
    theta = m ** -exponent[..., None] * normal[:, None]  # (R, G, 3, m)
    return theta.flatten(0, 1).to(torch.float32)


def train_width(configs: Sequence[Config], seeds: Sequence[int], m: int) -> Iterator[Frame]:
    """All networks of width m; a run of this loop is one network, R G of them. Each stops by itself at the tolerance.

    Values, (R G,): loss and distance, |w - w(0)|/|w(0)| over input weights and biases.
    """
    start = initial_theta(configs, seeds, m)
    tol, damping = (of_copies(per_run(configs, name), configs[0].n_gammas) for name in ("tol", "lr_damping"))

    def measure(k: int, state: State) -> dict[str, Array]:
        distance = relative_distance(state.theta[:, :2], start[:, :2])  # (R G,) RD
        return {"loss": loss(state.theta, X, Y, "relu").numpy(), "distance": distance.numpy()}

    yield from train(
        State(start),
        make_step(X, Y, ntk_step(start, X, 1.0, damping), "relu"),
        full_batch,
        geometrically(configs[0].steps, FRAMES),
        measure,
        settled=lambda state: (loss(state.theta, X, Y, "relu") < tol).numpy(),
    )


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """One run is n_gammas x n_widths networks of a seed; all runs' networks of one width train in one batch.

    Values, (R, n_gammas, n_widths) at 60 log-spaced steps: loss, distance (RD), and settled_at, the step at which a
    network reached the tolerance (-1: not yet). A network that diverges counts as NaN, a run is marked when all did.
    """
    widths = [train_width(configs, seeds, m) for m in configs[0].widths]
    shape, before = (len(seeds), configs[0].n_gammas), None
    for _ in geometrically(configs[0].steps, FRAMES):
        now = []
        for frames in widths:
            frame = next(frames)
            while not frame.values:
                if before is not None:
                    yield replace(before, values={})
                frame = next(frames)
            now.append(frame)
        before = _merged(now, shape)
        yield before


def _merged(widths: Sequence[Frame], shape: tuple[int, int]) -> Frame:
    """One frame from those of the widths; shape: (R, n_gammas)."""
    marks = np.stack([frame.diverged.reshape(shape) for frame in widths], 2)  # (R, n_gammas, n_widths)
    values = {name: np.stack([frame.values[name].reshape(shape) for frame in widths], 2) for name in widths[0].values}
    for name in ("loss", "distance"):
        values[name] = np.where(marks < 0, values[name], np.nan).astype(np.float64)
    lost = (marks >= 0).all((1, 2))
    return replace(widths[-1], values=values, diverged=np.where(lost, marks.max((1, 2)), -1))


def simulate_first(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """The same, but only the networks at the first gamma."""
    return simulate([c.replace(n_gammas=1) for c in configs], seeds)


# ---- What is measured, claims ----

SEEDS = 10  # a slope of one seed scatters by 0.03 to 0.11


def boundary(gamma_prime: Array) -> Array:
    """The gamma at which the critical line passes: 1 for gamma' <= 0, 1 + gamma' above."""
    return np.asarray(1 + np.maximum(gamma_prime, 0))


def predicted_slope(gamma: Array) -> Array:
    """S at gamma' = 0: gamma - 1 in the linear regime, (gamma - 1)/2 in the condensed one.

    A heuristic of ours. Both layers begin with entries of size m^(-gamma/2), so |w(0)| ~ m^((1 - gamma)/2). Linear:
    the fit moves |w| by an amount 1/|a(0)| ~ m^((gamma - 1)/2). Condensed: |w| ends at a size independent of m.
    """
    return np.where(gamma < 1, gamma - 1, (gamma - 1) / 2)


def slopes(distance: Array, widths: Sequence[int]) -> Array:
    """S, the least-squares slopes of ln RD against ln m, (...). distance: (..., n_widths).

    NaN where a distance is not known.
    """
    x = np.log(widths)
    x = x - x.mean()
    with np.errstate(all="ignore"):  # the distance is 0 before the first step
        y = np.log(distance)
        return np.asarray((y * x).sum(-1) / (x * x).sum())


def first_slope(history: History) -> Array:
    """S at the first gamma, (R,)."""
    return slopes(history.last("distance"), history.config.widths)[:, 0]


def metrics(history: History) -> dict[str, Array]:
    """slope_1, slope_2, ...: S at each gamma, in order. Each (R,).

    slope_linear: the largest S at a gamma that theory calls linear, slope_condensed: the smallest one at a gamma that
    it calls condensed (NaN without such a gamma). loss_end: the largest last loss of the run's networks; fitted: the
    share of them that reached the tolerance.
    """
    S = slopes(history.last("distance"), history.config.widths)  # (R, n_gammas)
    gammas = np.stack([c.gammas for c in history.configs])  # (R, n_gammas)
    critical = boundary(np.array([c.gamma_prime for c in history.configs]))[:, None]  # (R, 1)
    return {
        **{f"slope_{i}": S[:, i - 1] for i in range(1, S.shape[1] + 1)},
        "slope_linear": np.fmax.reduce(np.where(gammas < critical - 1e-9, S, np.nan), axis=1),
        "slope_condensed": np.fmin.reduce(np.where(gammas > critical + 1e-9, S, np.nan), axis=1),
        "loss_end": history.last("loss").max((1, 2)),
        "fitted": (history.last("settled_at") >= 0).mean((1, 2)),
    }


def _deviation(rows: Sequence[Metrics]) -> Array:
    """The largest distance of a mean slope over the seeds from theory at the gammas of the default, (1,)."""
    means = np.array([rows[0][f"slope_{i}"].mean() for i in range(1, Config().n_gammas + 1)])
    return np.array([np.abs(means - predicted_slope(Config().gammas)).max()])


def _margin(rows: Sequence[Metrics]) -> Array:
    """By how much the mean slopes below, on, above the boundary are > 0, within 0.1 of 0, < 0: the least, (1,)."""
    condensed, critical, linear = (row["slope_1"].mean() for row in rows)
    return np.array([np.min([condensed, 0.1 - abs(critical), -linear])])


# these widths, step size and tolerance, whatever the gammas
AS_MEASURED = settings(width_min=50, width_factor=4.0, n_widths=3, steps=at_least(4000), tol=1e-4, lr_damping=10.0)
ACROSS = tuple(PRESETS[name].changes for name in ("below_boundary", "on_boundary", "above_boundary"))

CLAIMS = (
    Claim(
        id="slope_follows_theory",
        statement="At γ′ = 0 the slope S, in the mean over seeds, is γ − 1 below γ = 1 and (γ − 1)/2 above it: the "
        "largest deviation.",
        sweep=Sweep(({},), _deviation, least_seeds=SEEDS),
        bound=below(0.1),
        where=defaults(steps=at_least(4000)),
        controls=(Control("S at γ < 1", sweep=mean_of("slope_linear", seeds=SEEDS), bound=below(0)),),
    ),
    Claim(
        id="boundary_gamma_prime",
        statement="At γ = 1.5 the sign of S changes at γ′ = γ − 1: positive at γ′ = 0.25, less than 0.1 from 0 at 0.5, "
        "negative at 0.9; the smallest margin.",
        sweep=Sweep(ACROSS, _margin, least_seeds=SEEDS),
        bound=above(0),
        where=AS_MEASURED,
    ),
)

# ---- Figure ----

GAMMA = Axis("γ", range=(0.2, 2.55))
FLAT = 0.1  # a slope nearer to 0 counts as none


def panels(history: History) -> list[Panel]:
    """RD against the width, S against gamma, where S has which sign in the plane, and the loss."""
    config = history.config
    distance = history.last("distance") if "distance" in history else np.empty((0, config.n_gammas, config.n_widths))
    S = slopes(distance, config.widths)  # (R, n_gammas)
    return [_distances(config, distance), _slopes(config, S), _plane(config, S), _losses(history)]


def _mean(values: Array) -> tuple[Array, Array, Array]:
    """Mean, smallest and largest over the runs (R, N) -> (N,) each; NaN where no run has a value."""
    known = ~np.isnan(values)
    count = known.sum(0)
    mean = np.where(known, values, 0).sum(0) / np.where(count, count, np.nan)
    if len(values) == 0:
        return mean, mean, mean
    return mean, np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)


def _band(name: str, x: Array, mean: Array, low: Array, high: Array, color: str, runs: int) -> Line:
    """The mean with a band over the runs; a bare line for one run."""
    if runs < 2:
        return Line(name, x, mean, color, markers="both")
    return Line(name, x, mean, color, markers="both", low=low, high=high)


def _distances(config: Config, distance: Array) -> Panel:
    """A line per gamma, and the slope of theory through its middle where there is a theory."""
    m, marks, dashed = np.array(config.widths, dtype=float), [], []
    with np.errstate(divide="ignore"):
        logs = np.log(np.where(distance > 0, distance, np.nan))  # (R, n_gammas, n_widths)
    slope = predicted_slope(config.gammas) if config.gamma_prime == 0 else np.full(config.n_gammas, np.nan)
    for g, (gamma, color) in enumerate(zip(config.gammas, sequential(config.n_gammas), strict=True)):
        mean, low, high = _mean(logs[:, g])
        band = _band(f"γ = {gamma:.3g}", m, np.exp(mean), np.exp(low), np.exp(high), color, len(logs))
        marks.append(replace(band, legend=g in (0, config.n_gammas - 1)))
        line = np.exp(mean.mean() + slope[g] * (np.log(m) - np.log(m).mean()))
        dashed.append(Line("theory", m, line, GREY, dash=True, legend=g == 0))
    return Panel(
        "Relative change of the input weights",
        Axis("width m", log=True),
        Axis("‖w − w(0)‖ / ‖w(0)‖", log=True),
        [*marks, *dashed],
    )


def _slopes(config: Config, S: Array) -> Panel:
    """S against gamma, and theory where there is one."""
    grid = np.linspace(0.25, 2.5, 91)
    theory = predicted_slope(grid) if config.gamma_prime == 0 else np.full(len(grid), np.nan)
    return Panel(
        "Slope S of ln RD against ln m",
        GAMMA,
        Axis("S", range=(-0.8, 0.8)),
        [
            _band("measured", config.gammas, *_mean(S), MEASURED, len(S)),
            Line("theory at γ′ = 0", grid, theory, GREY, dash=True),
            Level("boundary", x=float(boundary(np.array(config.gamma_prime)))),
        ],
    )


def _plane(config: Config, S: Array) -> Panel:
    """Where the run's networks lie in the plane, and which sign their slope has."""
    mean, gamma_prime = _mean(S)[0], np.linspace(-0.55, 1.05, 161)
    kinds = {
        f"S < −{FLAT}: lazy": (mean < -FLAT, BLUE),
        f"|S| < {FLAT}: critical": (np.abs(mean) <= FLAT, GREY),
        f"S > {FLAT}: condensed": (mean > FLAT, RED),
    }
    points: list[Mark] = [
        Line(name, config.gammas[chosen], np.full(chosen.sum(), config.gamma_prime), color, markers="points")
        for name, (chosen, color) in kinds.items()
    ]
    line = Line("boundary of the paper", boundary(gamma_prime), gamma_prime, GREY, dash=True)
    return Panel("Phase diagram", GAMMA, Axis("γ′", range=(-0.55, 1.05)), [*points, line])


def _losses(history: History) -> Panel:
    """The loss of the widest networks of the first run, without step 0."""
    config = history.config
    steps, all_losses = recorded(history, "loss", start=1)  # (T,), (T, R, n_gammas, n_widths)
    losses = all_losses[:, 0, :, -1] if len(steps) else np.empty((0, config.n_gammas))
    lines: list[Mark] = [
        Line(f"γ = {gamma:.3g}", steps, losses[:, g], color, legend=False)
        for g, (gamma, color) in enumerate(zip(config.gammas, sequential(config.n_gammas), strict=True))
    ]
    return Panel(
        f"Loss at m = {config.widths[-1]}",
        Axis("step", log=True),
        Axis("mean squared error", log=True),
        [*lines, Level("tolerance", y=config.tol)],
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="condensation.phase",
    title="Phase diagram",
    question="How does the relative change of the weights scale with the width, over the plane of γ and γ′?",
    paper="2105.11686",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    map=Map(
        title="Slope S of ln RD against ln m",
        label="S",
        x="gamma_min",
        y="gamma_prime",
        xs=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
        ys=(-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0),
        simulate=simulate_first,
        value=first_slope,
    ),
)
