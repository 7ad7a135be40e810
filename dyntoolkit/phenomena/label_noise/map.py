"""The map: for which initialization scale and label noise does the network end rich, and does the flow say the same?

A sweep of `label_noise.linear` (Two phases, arXiv 2603.10397). All cells of a seed share their data, and their initial
weights up to scale.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    above,
    at_least,
    at_most,
    below,
    between,
    config,
    number,
    settings,
)
from dyntoolkit.figure.panels import GREY, MEASURED, PURPLE, RED, Axis, Heat, Line, Mark, Panel
from dyntoolkit.figure.recorded import newest
from dyntoolkit.phenomena.label_noise import _theory, linear

# ---- Settings and presets ----

SECOND = 3e8  # updates of single weights that a core makes per second, about


class Config(config.Config):
    """Settings of one map: a grid of runs of `label_noise.linear` (arXiv 2603.10397)."""

    init_scale_min: float = number(
        0.05, 0.05, 0.5, label="smallest initialization scale", help="of the map", log=True, main=True
    )
    init_scale_max: float = number(
        1.6, 0.5, 1.8, label="largest initialization scale", help="of the map", log=True, main=True
    )
    noise_std_max: float = number(2.5, 0.0, 3.0, label="largest label noise ±τ", help="of the map", main=True)
    lr: float = number(0.2, 0.01, 0.4, label="learning rate η", help="step size of SGD", log=True, main=True)
    steps: int = number(20000, 500, 60000, label="steps", help="updates", log=True, main=True, structural=True)
    n_init_scale: int = number(8, 2, 16, label="initialization scales", help="columns of the map", structural=True)
    n_noise_std: int = number(8, 2, 16, label="noise sizes", help="rows of the map", structural=True)
    batch_size: int = number(10, 1, 400, label="batch size B", help="samples per step", log=True, structural=True)
    width: int = number(64, 16, 256, label="width m", help="hidden neurons", log=True, structural=True)
    dim: int = number(10, 2, 30, label="input dimension d", help="inputs of the network", structural=True)
    n_train: int = number(100, 40, 400, label="training samples n", help="samples", log=True, structural=True)

    def check(self) -> None:
        """The scales differ, and no cell is refused by `label_noise.linear`."""
        if self.init_scale_min >= self.init_scale_max:
            raise InputError(
                f"init_scale_min must be below init_scale_max = {self.init_scale_max:g}, got {self.init_scale_min:g}.",
                "init_scale_min",
            )
        self.cell(self.init_scale_max, 0.0)

    def warnings(self) -> list[str]:
        """Those of the cell with the largest initialization; a map of many large networks takes long."""
        found = self.cell(self.init_scale_max, self.noise_std_max).warnings()
        seconds = self.n_init_scale * self.n_noise_std * self.width * self.dim * self.steps / SECOND
        if seconds > 15:
            found.append(f"a map of so many and so large networks may take {seconds / 60:.1f} minutes.")
        return found

    def cell(self, init_scale: float, noise_std: float) -> linear.Config:
        """The settings of one run; InputError where SGD would be unstable."""
        shared = {name: getattr(self, name) for name in ("lr", "steps", "batch_size", "width", "dim", "n_train")}
        return linear.Config(init_scale=init_scale, noise_std=noise_std, **shared)

    @property
    def init_scales(self) -> Array:
        """Logarithmically spaced, (n_init_scale,)."""
        return np.geomspace(self.init_scale_min, self.init_scale_max, self.n_init_scale)

    @property
    def noise_stds(self) -> Array:
        """Evenly spaced from 0, (n_noise_std,)."""
        return np.linspace(0, self.noise_std_max, self.n_noise_std)

    @property
    def cells(self) -> list[linear.Config]:
        """All cells, noise by noise, each with all initialization scales."""
        return [self.cell(scale, noise) for noise in self.noise_stds for scale in self.init_scales]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (noise) and columns (initialization) of the map."""
        return self.n_noise_std, self.n_init_scale


PRESETS = {
    "map": Preset("64 networks at once: rich by small initialization, or by noise."),
    "quick": Preset("A coarser map, much sooner.", {"n_init_scale": 5, "n_noise_std": 5}),
}


# ---- Data, model, step ----

FRAMES = 41  # the metrics need the last one only; the picture is to move


def noise_free_alignment(configs: Sequence[Config], seeds: Sequence[int]) -> Array:
    """Where the flow without noise ends: alignment after clean gradient descent, for each initialization scale.

    Returns (R, n_init_scale), NaN where clean descent does not stay finite.
    """
    first = [cell for config in configs for cell in config.cells[: config.n_init_scale]]
    repeated = np.repeat(seeds, configs[0].n_init_scale).tolist()
    data = linear.draw_data(first, repeated)
    beta = data.beta.double().numpy()  # (R n, d)
    W = linear.initial_state(first, repeated).W.double().numpy()  # (R n, m, d)
    X = data.X.double()
    S = (X.mT @ X / first[0].n_train).numpy()  # (R n, d, d)
    lr = np.array([cell.lr for cell in first])
    with np.errstate(all="ignore"):  # a diverging run makes NaN
        W, _, _ = _theory.clean_descent(W, S, beta, lr)
        along = ((W @ beta[:, :, None]) ** 2).sum((1, 2)) / (beta**2).sum(1)
        return np.asarray((along / (W**2).sum((1, 2))).reshape(len(configs), -1))


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """One run is a map of n_noise_std x n_init_scale networks of one seed; all maps train in one loop.

    Values at 41 evenly spaced steps, each (R, n_noise_std, n_init_scale) float64: align, ntk (see `linear.simulate`)
    and flow_align, the flow's alignment, NaN where it has none yet. A network that diverges counts as NaN; a run is
    marked when all of its networks did.
    """
    shape = (len(seeds), *configs[0].shape)
    cells = [cell for config in configs for cell in config.cells]
    rest = noise_free_alignment(configs, seeds)  # (R, n_init_scale)
    for frame in linear.simulate(cells, np.repeat(seeds, len(configs[0].cells)).tolist(), FRAMES):
        marks = frame.diverged.reshape(shape)
        lost = (marks >= 0).all((1, 2))
        values = {}
        if frame.values:
            values = {name: frame.values[name].reshape(shape) for name in ("align", "ntk", "flow_align")}
            values = {name: np.where(marks < 0, value, np.nan) for name, value in values.items()}
            quiet = np.array([config.noise_stds == 0 for config in configs])[:, :, None]  # (R, n_noise_std, 1)
            values["flow_align"] = np.where(quiet, rest[:, None], values["flow_align"])
        yield replace(frame, values=values, diverged=np.where(lost, marks.max((1, 2)), -1))


# ---- What is measured, claims ----

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


# the default networks, in maps of at least 25 cells that reach no further
MEASURED_MAPS = settings(
    batch_size=10,
    width=64,
    dim=10,
    n_train=100,
    n_init_scale=at_least(5),
    n_noise_std=at_least(5),
    lr=at_most(0.2),
    noise_std_max=at_most(2.5),
    steps=between(5000, 40000),
)


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
        where=MEASURED_MAPS,
    ),
    Claim(
        id="map_error",
        statement="In no cell does the flow miss the alignment by 0.1.",
        metric="map_max_error",
        bound=below(0.1),
        where=MEASURED_MAPS,
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


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Alignment with the borders of flow and formula; kernel change; the flow's alignment; one against the other.

    Of the first run.
    """
    config: Config = history.config
    align, ntk, flow = (newest(history, name, *config.shape)[0] for name in ("align", "ntk", "flow_align"))
    scale, noise = Axis("initialization scale", log=True, range=edges(config)), Axis("label noise ±τ")
    border, formula = flow_border(config, flow), critical_noise(config)
    lines: list[Mark] = [
        Line("flow at ½", *border, RED, dash=True, width=3),
        Line("formula: √(L B m / η² steps)", *formula, PURPLE, dash=True, width=3),
    ]
    return [
        Panel("Alignment with the truth", scale, noise, [_heat(config, "alignment", align), *lines]),
        Panel("Change of the tangent kernel", scale, noise, [_heat(config, "‖ΔK‖/‖K₀‖, up to 1", ntk)]),
        Panel("Alignment, by the flow", scale, noise, [_heat(config, "alignment", flow)]),
        Panel(
            "Network against flow, cell by cell",
            Axis("alignment by the flow", range=(0, 1.03)),
            Axis("alignment of the network", range=(0, 1.03)),
            [
                Line("cells", flow.ravel(), align.ravel(), MEASURED, markers="points"),
                Line("equal", np.array([0.0, 1.0]), np.array([0.0, 1.0]), GREY, dash=True),
            ],
        ),
    ]


def edges(config: Config) -> tuple[float, float]:
    """Where the map begins and ends on its logarithmic axis: half a cell beyond the outer centres."""
    half = (config.init_scale_max / config.init_scale_min) ** (0.5 / (config.n_init_scale - 1))
    return config.init_scale_min / half, config.init_scale_max * half


def _heat(config: Config, label: str, z: Array) -> Heat:
    """z (n_noise_std, n_init_scale) over the plane; where no cell has noise all rows are alike, and one is drawn."""
    rows = config.n_noise_std if config.noise_std_max > 0 else 1
    return Heat(label, config.init_scales, config.noise_stds[:rows], z[:rows], 0.0, 1.0)


def flow_border(config: Config, flow: Array) -> tuple[Array, Array]:
    """Initialization scales and noise at which the flow's alignment, (n_noise_std, n_init_scale), passes 1/2.

    Interpolated between neighbours: along the row without noise from the left, then up each column.
    """
    scales, noise, points = np.log(config.init_scales), config.noise_stds, []
    for j in range(1, len(scales)):
        a, b = flow[0, j - 1], flow[0, j]
        if a > RICH >= b:
            points.append((scales[j - 1] + (a - RICH) / (a - b) * (scales[j] - scales[j - 1]), noise[0]))
    for j in range(len(scales)):
        for i in range(1, len(noise)):
            a, b = flow[i - 1, j], flow[i, j]
            if a <= RICH < b:
                points.append((scales[j], noise[i - 1] + (RICH - a) / (b - a) * (noise[i] - noise[i - 1])))
                break
    x, y = np.array(points).reshape(-1, 2).T
    return np.exp(x), y


def critical_noise(config: Config) -> tuple[Array, Array]:
    """The noise from which on alignment 1/2 is reached in time, sqrt(L B m/(lr^2 steps)), where L > 0.

    Own derivation, from t = L/(2 k0) with L = ln((d-1) sqrt(m) init_scale^2/(sqrt(d)|beta*|)); beyond the map it ends.
    """
    scales = np.geomspace(*edges(config), 101)
    cell = config.cell(config.init_scale_max, 0.0)
    L = _theory.log_ratio(scales, cell.target_norm, config.width, config.dim)  # (101,)
    # noise_std_c = sqrt(L B m/(lr^2 steps))
    noise = np.sqrt(np.maximum(L, 0) * cell.batch * config.width / (config.lr**2 * config.steps))
    return scales, np.where((L > 0) & (noise <= config.noise_std_max), noise, np.nan)


# ---- The record ----

EXPERIMENT = Experiment(
    name="label_noise.map",
    title="Map of initialization and noise",
    question="Where in initialization scale and label noise does the network end rich, and does the flow say the same?",
    paper="2603.10397",
    seconds=3.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
