"""Tune the learning rate on a small network, use it on one eight times as wide: does it work?

Maximal update parametrization (muP) and its learning rate that transfers over widths, arXiv 2402.17457. On
scikit-learn's digits, in place of the networks that are studied there.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.data import standardized
from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.initialization import normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Sgd, adam, sgd
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    at_least,
    at_most,
    between,
    choice,
    config,
    defaults,
    mean_of,
    metric_where,
    number,
)
from dyntoolkit.figure.family import sequential
from dyntoolkit.figure.panels import BLUE, GREY, ORANGE, Axis, Level, Line, Mark, Panel, medians
from dyntoolkit.figure.recorded import newest, recorded
from dyntoolkit.probes.grid_minimum import grid_minimum
from dyntoolkit.probes.linearity import log_slope
from dyntoolkit.probes.power_iteration import any_vector, power_iteration

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of eighty networks, of four widths in two parametrizations (arXiv 2402.17457)."""

    init_scale: float = number(
        1.4, 0.7, 2.0, label="initialization scale", help="size of the hidden weights", log=True, main=True
    )
    flip: float = number(0.0, 0.0, 0.4, label="random labels", help="share of labels drawn at random", main=True)
    lr: float = number(
        2.0**-6, 2.0**-11, 2.0**-2, label="learning rate η", help="whose curves are drawn", log=True, main=True
    )
    optimizer: str = choice("adam", ["adam", "gd"], label="optimizer", help="Adam, or gradient descent", main=True)
    n_train: int = number(200, 100, 300, label="training images n", help="digits", log=True, structural=True)
    activation: str = choice("relu", ["relu", "tanh"], label="activation", help="of the hidden units")
    steps: int = number(40, 20, 80, label="steps", help="updates of each network", log=True, structural=True)

    @property
    def grid(self) -> Array:
        """The ten learning rates."""
        return np.asarray(2.0 ** (np.arange(-11, -1) if self.optimizer == "adam" else np.arange(-7, 3)))


PRESETS = {
    "adam": Preset("The best learning rate falls with the width in the standard parametrization, and stays in μP."),
    "gd": Preset("Gradient descent: the rate of the small network makes the wide one diverge.", {"optimizer": "gd"}),
    "tanh": Preset("The same with tanh units.", {"activation": "tanh"}),
    "small_start": Preset("From small weights the wrong rate costs 30 times the loss.", {"init_scale": 0.7}),
}


# ---- Data, model, step ----

WIDTHS = (32, 64, 128, 256)
SP, MUP = 0, 1  # the standard and the maximal update parametrization
NAMES = ("sp", "mup")
CLASSES = 10
LARGEST = 1e6  # entry of a gradient from which on a network has diverged; they begin below 1


class State(NamedTuple):
    """All networks of R runs side by side, (R, P): of each width, parametrization and rate in turn, see `Bank`.

    mean, square, updates: what Adam remembers. left: the update at which a network diverged (R, 4, 2, 11), 0 for never.
    """

    theta: Tensor
    mean: Tensor
    square: Tensor
    updates: Tensor
    left: Tensor


class Images(NamedTuple):
    """Digits x (R, n, 64) and their labels as one-hot y (R, n, 10), some of them drawn at random."""

    x: Tensor
    y: Tensor


def draw(configs: Sequence[Config], seeds: Sequence[int]) -> Images:
    """Each run's own n_train of the 1797 images; pixels less their mean over their standard deviation, one for all."""
    x, labels = standardized("digits")
    n = configs[0].n_train
    chosen = Stream(seeds, "images").permutations(len(labels))[:, :n]  # (R, n)
    flips = Stream(seeds, "flips")
    flipped = flips.unit(n) < per_run(configs, "flip", ndim=2)
    classes = torch.where(flipped, flips.indices(CLASSES, n), labels[chosen])  # (R, n)
    return Images(x.float()[chosen], torch.eye(CLASSES, dtype=torch.float32)[classes])


def factors(width: int, parametrization: int, adaptive: bool) -> tuple[float, float, float]:
    """What the learning rate of each of the three layers is multiplied by. adaptive: with Adam."""
    r = width / WIDTHS[0]
    if parametrization == SP:
        return 1.0, 1.0, 1.0
    return (1.0, 1 / r, 1 / r) if adaptive else (r, 1.0, 1 / r)


def network(width: int, c: Config) -> MLP:
    """64-N-N-10 without biases."""
    return MLP((64, width, width, CLASSES), ACTIVATIONS[c.activation], bias=False)


def initial(configs: Sequence[Config], seeds: Sequence[int], width: int) -> Tensor:
    """W1 ~ N(0, s^2/64), W2 ~ N(0, s^2/N), W3 ~ N(0, 1/N), in muP N(0, 1/(N r)); the same numbers: (R, 2, P_N)."""
    s = per_run(configs, "init_scale")
    starts = []
    for shrunk in (1.0, (WIDTHS[0] / width) ** 0.5):
        stds = [(s / 8, 0.0), (s / width**0.5, 0.0), (shrunk / width**0.5, 0.0)]
        starts.append(normal_init(network(width, configs[0]), Stream(seeds, f"init {width}"), stds))
    return torch.stack(starts, 1)


class Bank:
    """The networks of one width in every run: two parametrizations by eleven rates, the last one Config's own."""

    def __init__(self, configs: Sequence[Config], width: int, images: Images) -> None:
        self.c, self.images, self.net = configs[0], images, network(width, configs[0])
        blocks = [rows * columns for rows, columns in self.net.shapes]
        sizes = torch.tensor(blocks, dtype=torch.int64)

        def of_weights(adaptive: bool) -> Tensor:  # (2, P_N)
            by_layer = torch.tensor([factors(width, p, adaptive) for p in (SP, MUP)], dtype=torch.float32)  # (2, 3)
            return by_layer.repeat_interleave(sizes, 1)

        lrs = torch.tensor(np.stack([[*c.grid, c.lr] for c in configs]), dtype=torch.float32)  # (R, 11)
        # of every weight, (R, 2, 11, P_N)
        self.rates = lrs[:, None, :, None] * of_weights(self.c.optimizer == "adam")[:, None]
        self.gd_factors = of_weights(False)  # (2, P_N)
        self.size = self.rates[0].numel()  # numbers of one run
        self.gradient = value_and_grad(self.losses)

    def losses(self, theta: Tensor) -> Tensor:
        """1/2 mean over the images of sum over the classes of (f - y)^2, of networks (R, M, P_N): (R, M)."""
        R, M, _ = theta.shape
        f = self.net(theta.flatten(0, 1), of_copies(self.images.x, M))  # (R M, n, 10)
        error = f.view(R, M, *f.shape[1:]) - self.images.y[:, None]  # (R, M, n, 10)
        half: Tensor = error.square().sum(3).mean(2) / 2
        return half

    def sharpness(self, theta: Tensor) -> Tensor:
        """Largest eigenvalue (R, 2) of D^1/2 H D^1/2, D the factors of gradient descent, at theta (R, 2, P_N)."""
        flat = theta.flatten(0, 1)  # (R 2, P_N)
        root = self.gd_factors.sqrt().repeat(len(theta), 1)  # (R 2, P_N)
        length = 1e-3 * flat.norm(dim=1, keepdim=True)

        def slope(at: Tensor) -> Tensor:
            found: Tensor = self.gradient(at.view_as(theta))[1]
            return found.flatten(0, 1)

        def product(v: Tensor) -> Tensor:
            along = root * v
            size = along.norm(dim=1, keepdim=True)
            unit = along / size * length
            # H u by central differences
            turned: Tensor = root * (slope(flat + unit) - slope(flat - unit)) * (size / (2 * length))
            return turned

        value, _ = power_iteration(product, any_vector(flat), ITERATIONS)
        return value.view(theta.shape[:2])


def split(theta: Tensor, banks: Sequence[Bank]) -> list[Tensor]:
    """theta (R, P) of all widths -> of each width (R, 22, P_N)."""
    parts = torch.split(theta, [bank.size for bank in banks], 1)
    return [part.view(len(part), 2 * RATES, -1) for part in parts]


def make_step(banks: Sequence[Bank]) -> Callable[[State, None], State]:
    """One update of every network; one whose gradient is no number below LARGEST stays where it is, for good."""
    rates = torch.cat([bank.rates.flatten(1) for bank in banks], 1)  # (R, P)
    adaptive = banks[0].c.optimizer == "adam"

    def step(state: State, _: None) -> State:
        updates = state.updates + 1  # (R,)
        slopes, marks = [], []
        for k, (bank, theta) in enumerate(zip(banks, split(state.theta, banks), strict=True)):
            g = bank.gradient(theta)[1]  # (R, 22, P_N)
            left = state.left[:, k].flatten(1)  # (R, 22)
            breaks = ~(g.abs().amax(2) < LARGEST)  # also where it is NaN
            left = torch.where((left == 0) & breaks, updates[:, None], left)
            slopes.append(torch.where((left > 0)[..., None], 0.0, g).flatten(1))
            marks.append(left.view(-1, 2, RATES))
        g, left = torch.cat(slopes, 1), torch.stack(marks, 1)
        if adaptive:
            moved = adam(Adam(state.theta, state.mean, state.square, state.updates), g, rates)
            return State(moved.theta, moved.mean, moved.square, updates, left)
        (theta,) = sgd(Sgd(state.theta), g, rates)
        return State(theta, state.mean, state.square, updates, left)

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train all networks of R runs in float32; 21 frames with the values of `measure`."""
    c, images = configs[0], draw(configs, seeds)
    banks = [Bank(configs, width, images) for width in WIDTHS]
    starts = [initial(configs, seeds, width) for width in WIDTHS]  # (R, 2, P_N) each
    theta = torch.cat([start[:, :, None].expand(-1, -1, RATES, -1).flatten(1) for start in starts], 1)  # (R, P)
    updates = torch.zeros(len(seeds), dtype=torch.int64)
    left = torch.zeros(len(seeds), len(WIDTHS), 2, RATES, dtype=torch.int64)
    remembered = theta if c.optimizer == "adam" else theta[:, :1]  # gradient descent remembers nothing
    state = State(theta, torch.zeros_like(remembered), torch.zeros_like(remembered), updates, left)

    def values(k: int, state: State) -> dict[str, Array]:
        found = {"loss": losses(state, banks)}
        if k == c.steps:
            ends = [part[:, RATES - 1 :: RATES] for part in split(state.theta, banks)]  # at Config's own rate
            found |= {"sharpness": sharpness(banks, starts, ends, state.left[..., -1], configs)}
        return found

    return train(state, make_step(banks), full_batch, evenly(c.steps, FRAMES), values)


# ---- What is measured, claims ----

RATES = 11  # networks of a width and parametrization: the grid, and Config's own rate
FRAMES = 21
ITERATIONS = 20
WORST = 1000.0  # the loss of a network that has diverged


def losses(state: State, banks: Sequence[Bank]) -> Array:
    """Loss of each network, (R, 4, 2, 11), at most WORST, which is that of a network that diverged."""
    found = torch.stack([bank.losses(part) for bank, part in zip(banks, split(state.theta, banks), strict=True)], 1)
    found = found.view(*found.shape[:2], 2, RATES)
    lost = (state.left > 0) | ~(found < WORST)
    return torch.where(lost, WORST, found).double().numpy()


def sharpness(
    banks: Sequence[Bank], starts: Sequence[Tensor], ends: Sequence[Tensor], left: Tensor, configs: Sequence[Config]
) -> Array:
    """Sharpness times lr/2 of the networks at Config's own rate, at the start and at the end: (R, 4, 2, 2).

    1 is the edge of gradient descent. NaN at the end where the network diverged. left: (R, 4, 2).
    """
    lr = per_run(configs, "lr", torch.float64, ndim=3)  # (R, 1, 1)
    first, last = (
        torch.stack([bank.sharpness(part) for bank, part in zip(banks, parts, strict=True)], 1).double() * lr / 2
        for parts in (starts, ends)
    )
    return torch.stack([first, torch.where(left > 0, torch.nan, last)], 3).numpy()


def best_rates(loss: Array, grid: Array) -> Array:
    """The best learning rate of every width and parametrization, in log2: (R, 4, 2, 11) -> (R, 4, 2)."""
    return np.asarray(np.log2(grid[0]) + grid_minimum(np.log(np.maximum(loss[..., :-1], 1e-30))))


def penalties(loss: Array, best: Array, grid: Array) -> Array:
    """Loss of the widest network at the grid's rate nearest to the narrowest one's best, over its own best: (R, 2)."""
    nearest = np.rint(best[:, 0] - np.log2(grid[0])).astype(int)  # (R, 2)
    widest = loss[:, -1, :, :-1]  # (R, 2, 10)
    there = np.take_along_axis(widest, nearest[..., None], 2)[..., 0]
    return np.asarray(np.where(there < WORST, there, LOST) / widest.min(2))


LOST = 99.0  # what the loss of a network that diverged counts as in a penalty


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names of each run, (R,); P is sp or mup, N a width.

    best_P_N: log2 of the best rate; loss_P_N: least final loss. slope_P: of best_P_N on log2 N; shift_P = best_P_256 -
    best_P_32. penalty_P: what the rate of width 32 costs at width 256. loss_ratio = loss_mup_256/loss_sp_256; wider_P
    = loss_P_256/loss_P_32; narrow_ratio = loss_mup_32/loss_sp_32. sharp_ratio_P: sharpness at the start, of width 256
    over that of 32.
    """
    R, grid = len(history.seeds), history.config.grid
    loss = history.last("loss") if "loss" in history else np.full((R, len(WIDTHS), 2, RATES), WORST)
    sharp = newest(history, "sharpness", len(WIDTHS), 2, 1)[..., 0]
    best, least = best_rates(loss, grid), loss[..., :-1].min(3)  # (R, 4, 2) each
    slope = log_slope(np.array(WIDTHS, dtype=float), 2 ** best.swapaxes(0, 1))  # (R, 2)
    penalty = penalties(loss, best, grid)
    found = {"loss_ratio": least[:, -1, MUP] / least[:, -1, SP], "narrow_ratio": least[:, 0, MUP] / least[:, 0, SP]}
    for p, name in enumerate(NAMES):
        found |= {
            f"slope_{name}": slope[:, p],
            f"shift_{name}": best[:, -1, p] - best[:, 0, p],
            f"penalty_{name}": penalty[:, p],
            f"wider_{name}": least[:, -1, p] / least[:, 0, p],
            f"sharp_ratio_{name}": sharp[:, -1, p] / sharp[:, 0, p],
            **{f"best_{name}_{width}": best[:, k, p] for k, width in enumerate(WIDTHS)},
            **{f"loss_{name}_{width}": least[:, k, p] for k, width in enumerate(WIDTHS)},
        }
    return found


def _costs(runs: Sequence[Metrics]) -> Array:
    """Mean penalty_sp over the seeds where the mean of penalty_mup is at most 1.6, NaN elsewhere."""
    standard, mup = (runs[0][f"penalty_{name}"].mean() for name in NAMES)
    return np.array([standard if mup <= 1.6 else np.nan])


SEEDS = 6  # means over fewer are too noisy

CLAIMS = (
    Claim(
        id="standard_drifts",
        statement="Standard: the best learning rate falls with the width.",
        metric="slope_sp",
        bound=at_most(-0.45),
        where=defaults(),
        controls=(Control("μP", metric="slope_mup"),),
    ),
    Claim(
        id="mup_transfers",
        statement="μP: the best learning rate stays where it is.",
        metric="slope_mup",
        bound=between(-0.42, 0.42),
        where=defaults(),
        controls=(Control("standard", metric="slope_sp"),),
    ),
    Claim(
        id="transfer_costs",
        statement="The small network's rate costs the wide one twice the loss, standard; in μP at most 1.6 times.",
        sweep=Sweep(({},), _costs, SEEDS),
        bound=at_least(2),
        where=defaults(),
        controls=(Control("μP alone", sweep=mean_of("penalty_mup", seeds=SEEDS)),),
    ),
    Claim(
        id="wider_is_better",
        statement="At width 256 μP ends lower than standard, and three times lower than at width 32.",
        metric="loss_ratio",
        value=metric_where("loss_ratio", "wider_mup", most=0.3),
        bound=at_most(0.6),
        where=defaults(),
        controls=(Control("at width 32 they are the same", metric="narrow_ratio"),),
    ),
    Claim(
        id="width_sharpens_standard",
        statement="At the start, width makes the standard loss sharper, and not that of μP.",
        metric="sharp_ratio_sp",
        value=metric_where("sharp_ratio_sp", "sharp_ratio_mup", most=1),
        bound=at_least(1.4),
        where=defaults(),
        controls=(Control("μP", metric="sharp_ratio_mup"),),
    ),
)


# ---- Figure ----

TITLES = ("standard", "μP")
COLORS = (ORANGE, BLUE)
WIDTH = Axis("width N", log=True, range=(15, 540))  # wide enough for labels at 20, 50, ..., not at every digit


def panels(history: History) -> list[Panel]:
    """Loss against the rate, and over time at Config's rate, standard beside muP; best rates, sharpness."""
    return [
        _over_rates(history, SP),
        _over_rates(history, MUP),
        _best(history),
        _courses(history, SP),
        _courses(history, MUP),
        _sharpness(history),
    ]


def _newest(history: History) -> Array:
    """The newest losses, (R, 4, 2, 11); NaN for networks that diverged."""
    loss = newest(history, "loss", len(WIDTHS), 2, RATES)
    return np.where(loss < WORST, loss, np.nan)


def _over_rates(history: History, p: int) -> Panel:
    """The median loss of every width, with the best rate of the narrowest and the widest."""
    loss = medians(np.moveaxis(_newest(history)[:, :, p, :-1], 0, -1))  # (4, 10)
    best = metrics(history)
    grid = history.config.grid
    marks: list[Mark] = []
    for k, (width, color) in enumerate(zip(WIDTHS, sequential(len(WIDTHS)), strict=True)):
        marks.append(Line(f"width {width}", grid, loss[k], color, markers="both"))
    for width, color in zip(WIDTHS[::3], sequential(len(WIDTHS))[::3], strict=True):
        at = float(np.median(2 ** best[f"best_{NAMES[p]}_{width}"])) if "loss" in history else np.nan
        marks.append(Level(f"best at {width}", x=at, color=color))
    return Panel(f"Loss against rate, {TITLES[p]}", Axis("learning rate η", log=True), Axis("loss", log=True), marks)


def _best(history: History) -> Panel:
    """The best rate against the width; theory of Adam: 1/N in the standard parametrization, constant in muP."""
    best, x = metrics(history), np.array(WIDTHS, dtype=float)
    known = "loss" in history
    marks: list[Mark] = []
    for name, title, color in zip(NAMES, TITLES, COLORS, strict=True):
        y = np.array([np.median(best[f"best_{name}_{width}"]) for width in WIDTHS]) if known else np.full(4, np.nan)
        marks.append(Line(title, x, 2**y, color, markers="both"))
    first = 2 ** np.median(best["best_mup_32"]) if known else np.nan
    marks.append(Line("slope −1", x, first * x[0] / x, GREY, dash=True))
    marks.append(Line("slope 0", x, np.full(4, first), GREY, dash=True))
    return Panel("Best rate", WIDTH, Axis("learning rate η", log=True), marks)


def _courses(history: History, p: int) -> Panel:
    """Loss at Config's rate, every width."""
    steps, loss = recorded(history, "loss")
    courses = np.full((len(steps), len(WIDTHS)), np.nan)
    if len(steps):
        own = np.moveaxis(loss[:, :, :, p, -1], 1, -1)  # (T, 4, R)
        courses = medians(np.where(own < WORST, own, np.nan))
    marks: list[Mark] = [
        Line(f"width {width}", steps, courses[:, k], color)
        for k, (width, color) in enumerate(zip(WIDTHS, sequential(len(WIDTHS)), strict=True))
    ]
    title = f"At η = {history.config.lr:.2g}, {TITLES[p]}"
    return Panel(title, Axis("step", range=(0, history.config.steps)), Axis("loss", log=True), marks)


def _sharpness(history: History) -> Panel:
    """Sharpness times lr/2 at the start (solid) and at the end (points)."""
    sharp = history.last("sharpness") if "sharpness" in history else np.full((1, len(WIDTHS), 2, 2), np.nan)
    median = medians(np.moveaxis(sharp, 0, -1))  # (4, 2, 2)
    median = np.where(median > 0, median, np.nan)
    x = np.array(WIDTHS, dtype=float)
    marks: list[Mark] = []
    for p, (title, color) in enumerate(zip(TITLES, COLORS, strict=True)):
        marks.append(Line(f"{title}, start", x, median[:, p, 0], color, markers="both"))
        marks.append(Line(f"{title}, end", x, median[:, p, 1], color, markers="points"))
    marks.append(Level("edge of gradient descent", y=1.0))
    return Panel("Sharpness", WIDTH, Axis("λ η / 2", log=True), marks)


# ---- The record ----

EXPERIMENT = Experiment(
    name="kernels.lr_transfer",
    title="Learning rates that transfer",
    question="Tune the learning rate on a small network, use it on one eight times as wide: does it work?",
    paper="2402.17457",
    seconds=3.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    predictions={"slope_mup": lambda config: 0.0, "narrow_ratio": lambda config: 1.0},
)
