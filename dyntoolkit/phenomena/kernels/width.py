"""How wide a network, or how large its output scale, until its whole training is the closed form of a fixed kernel?

Jacot, Gabriel and Hongler 2018 (arXiv 1806.07572), the neural tangent kernel; the output scale alpha is that of lazy
training, Chizat, Oyallon and Bach 2019 (arXiv 1812.07956).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.activations import ACTIVATIONS, Activation
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Sgd, sgd
from dyntoolkit.engine.without_infinity import without_infinity
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Map,
    Metrics,
    Preset,
    Sweep,
    at_least,
    at_most,
    between,
    choice,
    config,
    defaults,
    metric_where,
    number,
)
from dyntoolkit.figure.panels import (
    GREEN,
    GREY,
    KERNEL,
    MEASURED,
    TEST,
    TRAIN,
    Axis,
    Heat,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.figure.sweeps import Rows, by_field, sweep_line
from dyntoolkit.probes.alignment import matrix_alignment
from dyntoolkit.probes.kernel_distance import kernel_distance
from dyntoolkit.probes.kernel_flow import kernel_flow
from dyntoolkit.probes.linearity import log_slope
from dyntoolkit.probes.relative_distance import relative_distance

Tensor = torch.Tensor
F64 = torch.float64

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one network and its fixed kernel (arXiv 1806.07572)."""

    init_scale: float = number(
        1.0, 0.3, 3.0, label="initialization scale", help="std of all initial weights", log=True, main=True
    )
    noise_std: float = number(0.0, 0.0, 1.0, label="label noise σ", help="on the training labels", main=True)
    lr: float = number(0.5, 0.05, 1.9, label="learning rate", help="as a share of the edge (2)", log=True, main=True)
    width: int = number(300, 30, 3000, label="width m", help="hidden units", log=True, main=True, structural=True)
    alpha: float = number(1.0, 0.03, 10.0, label="output scale α", help="large = lazy", log=True, main=True)
    frequency: int = number(3, 0, 5, label="frequency", help="second frequency of the target", structural=True)
    n_train: int = number(20, 10, 40, label="training points n", help="on the circle", structural=True)
    activation: str = choice("tanh", ["tanh", "erf", "relu"], label="activation", help="of the hidden units")
    steps: int = number(1000, 100, 5000, label="steps", help="updates", log=True, structural=True)


PRESETS = {
    "wide": Preset("300 units: the dashes of the fixed kernel lie on the curves."),
    "narrow": Preset("30 units: the kernel moves by a third.", {"width": 30}),
    "very_wide": Preset("3000 units: it moves by a hundredth.", {"width": 3000}),
    "rich": Preset("A small output scale: the kernel doubles, and the loss falls far below its curve.", {"alpha": 0.1}),
    "lazy_narrow": Preset("Narrow and lazy all the same: what counts is scale.", {"width": 30, "alpha": 10.0}),
    "noisy_rich": Preset(
        "With noise in the labels, the moving kernel fits the noise.", {"noise_std": 0.3, "alpha": 0.1}
    ),
}


# ---- Data, model, step ----

TEST_POINTS = 100


class Data(NamedTuple):
    """Points on the circle. x: (n, 2), test_x: (100, 2). y: (R, n) noisy, test_y: (100,) without noise."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


def target(angle: Tensor, frequency: int) -> Tensor:
    """cos t + cos(frequency t); cos t alone for frequency 0."""
    return angle.cos() + (frequency * angle).cos() if frequency else angle.cos()


def circle(angle: Tensor) -> Tensor:
    """(cos t, sin t) of angles (N,): (N, 2)."""
    return torch.stack([angle.cos(), angle.sin()], 1)


def draw(configs: Sequence[Config], seeds: Sequence[int]) -> Data:
    """n_train points at even angles, and 100 between them to test on."""
    c = configs[0]
    angle = 2 * math.pi * torch.arange(c.n_train, dtype=F64) / c.n_train  # (n,)
    test = 2 * math.pi * (torch.arange(TEST_POINTS, dtype=F64) + 0.5) / TEST_POINTS  # (100,)
    noise = Stream(seeds, "label noise").normal(c.n_train, dtype=F64) * per_run(configs, "noise_std", F64, ndim=2)
    return Data(circle(angle), target(angle, c.frequency) + noise, circle(test), target(test, c.frequency))


def initial(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """All weights ~ N(0, init_scale^2): (R, 4 m), float64."""
    normal = Stream(seeds, "init").normal(4 * configs[0].width, dtype=F64)
    return normal * per_run(configs, "init_scale", F64, ndim=2)


class Layers(NamedTuple):
    """The weights of g. w: (R, 2, m). b: (R, 1, m). a: (R, m)."""

    w: Tensor
    b: Tensor
    a: Tensor


def layers(theta: Tensor) -> Layers:
    """The parts of theta (R, 4 m)."""
    m = theta.shape[1] // 4
    w, b, a = torch.split(theta, [2 * m, m, m], 1)
    return Layers(w.view(-1, 2, m), b.view(-1, 1, m), a)


def hidden(theta: Tensor, x: Tensor) -> Tensor:
    """h_i = w_i.x + b_i: (R, n, m) for x (n, 2)."""
    w, b, _ = layers(theta)
    return torch.baddbmm(b, x.expand(len(theta), *x.shape), w)


def network(theta: Tensor, x: Tensor, phi: Activation) -> Tensor:
    """g(x) = (1/sqrt m) sum_i a_i phi(w_i.x + b_i): (R, n)."""
    a = layers(theta).a
    return torch.bmm(phi(hidden(theta, x)), a[..., None]).squeeze(2) / math.sqrt(a.shape[1])


def tangent(theta: Tensor, x: Tensor, other: Tensor, phi: Activation) -> Tensor:
    """The tangent kernel of g between x (N, 2) and other (n, 2): (R, N, n).

    Theta(x, x') = (1/m) sum_i [phi(h_i) phi(h_i') + a_i^2 phi'(h_i) phi'(h_i') (x.x' + 1)].
    """
    a = layers(theta).a[:, None]  # (R, 1, m)
    (h, slope), (h_other, slope_other) = (_with_slope(theta, points, phi) for points in (x, other))
    second = (slope * a) @ (slope_other * a).mT  # (R, N, n)
    return (h @ h_other.mT + second * (x @ other.mT + 1)) / a.shape[2]


def _with_slope(theta: Tensor, x: Tensor, phi: Activation) -> tuple[Tensor, Tensor]:
    """phi and phi' at the hidden units, (R, n, m) each."""
    with torch.enable_grad():
        h = hidden(theta.detach(), x).requires_grad_()
        value = phi(h)
        (slope,) = torch.autograd.grad(value.sum(), h)
    return value.detach(), slope


class Problem:
    """The data of R runs, their networks at step 0, and what follows from the kernel there."""

    def __init__(self, configs: Sequence[Config], seeds: Sequence[int]) -> None:
        c = configs[0]
        self.data, self.phi = draw(configs, seeds), ACTIVATIONS[c.activation]
        self.theta = initial(configs, seeds)  # (R, P)
        self.alpha = per_run(configs, "alpha", F64, ndim=2)  # (R, 1)
        self.g0, self.test_g0 = (network(self.theta, x, self.phi) for x in (self.data.x, self.data.test_x))
        self.K0 = tangent(self.theta, self.data.x, self.data.x, self.phi)  # (R, n, n)
        # eta = lr n / (2 lambda)
        largest = torch.linalg.eigvalsh(self.K0)[:, -1]  # (R,)
        self.eta = per_run(configs, "lr", F64) * c.n_train / (2 * largest)  # (R,)
        self.size = self.data.y.square().mean(1)  # (R,) mean y^2, the unit of all losses

    def outputs(self, theta: Tensor) -> Tensor:
        """f = alpha (g - g at step 0) on the training points, (R, n)."""
        return self.alpha * (network(theta, self.data.x, self.phi) - self.g0)

    def test_outputs(self, theta: Tensor) -> Tensor:
        """f on the test points, (R, 100)."""
        return self.alpha * (network(theta, self.data.test_x, self.phi) - self.test_g0)

    def loss(self, theta: Tensor) -> Tensor:
        """L = (1/n) sum (f - y)^2, (R,)."""
        return (self.outputs(theta) - self.data.y).square().mean(1)


def make_step(problem: Problem) -> Callable[[Sgd, None], Sgd]:
    """Gradient descent with step eta/alpha^2: to first order f moves alike for every alpha."""
    gradient = value_and_grad(problem.loss)
    rate = problem.eta / problem.alpha[:, 0].square()  # (R,)

    def step(state: Sgd, _: None) -> Sgd:
        return sgd(state, gradient(state.theta)[1], rate)

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int], problem_of: type[Problem] = Problem) -> Iterator[Frame]:
    """Train R networks in float64; frames at step 0 and on a geometric grid, with the values of `Bench`.

    problem_of: the class that draws data and start, and says what is trained.
    """
    problem = problem_of(configs, seeds)
    record = geometrically(configs[0].steps, FRAMES)
    return train(Sgd(problem.theta), make_step(problem), full_batch, record, Bench(problem, record).measure)


# ---- What is measured, claims ----

FRAMES = 60


class Bench:
    """What a fixed kernel foretells for every frame, and what is measured against it."""

    def __init__(self, problem: Problem, record: Sequence[int]) -> None:
        self.problem, self.record = problem, list(record)
        data, n = problem.data, len(problem.data.x)
        K_test = tangent(problem.theta, data.test_x, data.x, problem.phi)  # (R, 100, n)
        steps = torch.tensor(self.record, dtype=F64)
        # f <- f - (2 eta/n) Theta_0 (f - y)
        self.linear, self.test_linear = kernel_flow(problem.K0, K_test, data.y, 2 * problem.eta / n, steps)

    def measure(self, k: int, state: Sgd) -> dict[str, Array]:
        """What a frame at step k shows.

        train, test, and train_lin, test_lin of the fixed kernel: losses over the mean of y^2; kernel_move =
        |K - K0|/|K0|, kernel_turn, weight_move, alignment: (R,). function, function_lin: f on the test points (R, 100).
        kernel: (R, n, n).
        """
        problem, at = self.problem, self.record.index(k)
        y, test_y, size = problem.data.y, problem.data.test_y, problem.size
        K = tangent(state.theta, problem.data.x, problem.data.x, problem.phi)  # (R, n, n)
        function, linear = problem.test_outputs(state.theta), self.test_linear[:, at]  # (R, 100)
        values = {
            "train": problem.loss(state.theta) / size,
            "train_lin": (self.linear[:, at] - y).square().mean(1) / size,
            "test": (function - test_y).square().mean(1) / size,
            "test_lin": (linear - test_y).square().mean(1) / size,
            "kernel_move": relative_distance(K, problem.K0),
            "kernel_turn": kernel_distance(K, problem.K0),
            "weight_move": relative_distance(state.theta, problem.theta),
            "alignment": matrix_alignment(K, y),
            "function": function,
            "function_lin": linear,
            "kernel": K,
            **({} if k else {"size": size, "labels": y}),
        }
        # NaN where it is infinite, in a run that is about to diverge
        return {name: without_infinity(value) for name, value in values.items()}


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names of each run, (R,).

    curve_gap: largest |L - L_lin| over mean y^2; log_gap: largest difference of their decimal logarithms. function_gap:
    root mean square of f - f_lin on the test points at the end, over that of y. alignment: at the end; turned_to_labels
    less that at the start. The rest: at the last frame, see `Bench`.
    """
    if "train" not in history:
        return dict.fromkeys(METRICS, np.full(len(history.seeds), np.nan))
    loss, linear = history["train"], history["train_lin"]  # (T, R)
    with np.errstate(all="ignore"):  # a loss of exactly 0, or of a run that is about to diverge
        log_gap = np.abs(np.log10(loss) - np.log10(linear)).max(0)
        curve_gap = np.abs(loss - linear).max(0)
        apart = history.last("function") - history.last("function_lin")  # (R, 100)
        function_gap = np.sqrt((apart**2).mean(1) / history.last("size"))
    last = ("kernel_move", "kernel_turn", "weight_move", "train", "test", "train_lin", "test_lin", "alignment")
    return {
        "curve_gap": curve_gap,
        "log_gap": log_gap,
        "function_gap": function_gap,
        **{name: history.last(name) for name in last},
        "turned_to_labels": history.last("alignment") - history["alignment"][0],
    }


METRICS = (
    "curve_gap",
    "log_gap",
    "function_gap",
    "kernel_move",
    "kernel_turn",
    "weight_move",
    "train",
    "test",
    "train_lin",
    "test_lin",
    "alignment",
    "turned_to_labels",
)
WIDTHS = (30, 100, 300, 1000, 3000)
ALPHAS = (0.1, 0.3, 1.0, 3.0, 10.0)


def _slope(xs: Sequence[float]) -> Callable[[Sequence[Metrics]], Array]:
    """Slope of log mean kernel_move against log x, one number over all seeds."""
    return lambda runs: np.array([log_slope(np.array(xs), np.array([each["kernel_move"].mean() for each in runs]))])


def _feigned(runs: Sequence[Metrics]) -> Array:
    """The slope that the spread over seeds at one width would make, were its ends the least and the largest width."""
    moved = runs[0]["kernel_move"]  # (R,)
    return np.array([np.log(moved.min() / moved.max()) / np.log(WIDTHS[-1] / WIDTHS[0])])


RICH = Control("output scale 0.1", {"alpha": 0.1})
THIRTY = Control("30 units", {"width": 30})
ONE_WIDTH = Sweep(({},), _feigned, least_seeds=5)

CLAIMS = (
    Claim(
        id="predicted",
        statement="The fixed kernel predicts the whole training curve, to 3 % of its start.",
        metric="curve_gap",
        bound=at_most(0.03),
        where=defaults(),
        controls=(RICH, Control("initialization scale 0.3", {"init_scale": 0.3})),
    ),
    Claim(
        id="stands_still",
        statement="The kernel moves by a tenth at most.",
        metric="kernel_move",
        bound=at_most(0.1),
        where=defaults(),
        controls=(RICH, THIRTY),
    ),
    Claim(
        id="width_law",
        statement="The wider, the less it moves: log–log slope over widths 30 to 3000.",
        sweep=Sweep(tuple({"width": width} for width in WIDTHS), _slope(WIDTHS)),
        bound=between(-1.1, -0.5),
        where=defaults(),
        controls=(Control("one width, seed by seed: the slope that this spread would make", sweep=ONE_WIDTH),),
    ),
    Claim(
        id="scale_law",
        statement="The larger the output scale, the less it moves: log–log slope over α from 0.1 to 10.",
        sweep=Sweep(tuple({"alpha": alpha} for alpha in ALPHAS), _slope(ALPHAS)),
        bound=between(-1.4, -0.8),
        where=defaults(),
    ),
    Claim(
        id="lazy_narrow",
        statement="30 units with a large output scale are lazy as well: the kernel moves by 8 % at most, and predicts.",
        metric="kernel_move",
        value=metric_where("kernel_move", "curve_gap", most=0.03),
        bound=at_most(0.08),
        where=defaults(width=30, alpha=10.0),
        preset="lazy_narrow",
        controls=(Control("30 units, output scale 1", {"alpha": 1.0}, metric="kernel_move"),),
    ),
    Claim(
        id="rich_aligns",
        statement="A kernel that moves turns to the labels.",
        metric="turned_to_labels",
        bound=at_least(0.04),
        where=defaults(alpha=0.1),
        preset="rich",
        controls=(
            Control("output scale 1", {"alpha": 1.0}),
            Control("output scale 10", {"alpha": 10.0}),
        ),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Losses with the closed form dashed, how far the kernel moves, the function on the circle, and the kernel."""
    return [_losses(history), _movement(history), _function(history), _kernel(history)]


def _losses(history: History) -> Panel:
    lines: list[Mark] = [
        recorded_line(history, "train", "training", TRAIN, start=1),
        recorded_line(history, "test", "test", TEST, start=1),
        _theory(history, "train_lin", "training, fixed kernel", 2.4),
        _theory(history, "test_lin", "test, fixed kernel (thin)", 1.2),
    ]
    return Panel("Loss", log_steps(history), Axis("loss / mean y²", log=True), lines)


def _theory(history: History, name: str, label: str, width: float) -> Line:
    steps, values = recorded(history, name, 1)
    return median_line(label, steps, values, GREY, dash=True, width=width)


def _movement(history: History) -> Panel:
    lines: list[Mark] = [
        recorded_line(history, "kernel_move", "tangent kernel", KERNEL, start=1),
        recorded_line(history, "weight_move", "weights", GREEN, start=1),
    ]
    return Panel("Distance moved", log_steps(history), Axis("‖change‖ / ‖start‖", log=True), lines)


def _function(history: History) -> Panel:
    """f and f_lin of the first run on the circle, with the training points."""
    test = 360 * (np.arange(TEST_POINTS) + 0.5) / TEST_POINTS
    known = "function" in history
    f, linear = (
        history.last(name)[0] if known else np.full(len(test), np.nan) for name in ("function", "function_lin")
    )
    labels = history["labels"][0, 0] if known else np.empty(0)
    at = 360 * np.arange(len(labels)) / max(len(labels), 1)
    return Panel(
        "Function now",
        Axis("angle (degrees)", range=(0, 360)),
        Axis("f"),
        [
            Line("network", test, f, MEASURED),
            Line("fixed kernel", test, linear, GREY, dash=True),
            Line("training labels", at, labels, TEST, markers="points"),
        ],
    )


def _kernel(history: History) -> Panel:
    """Theta of the first run between its training points."""
    n = history.config.n_train
    z = history.last("kernel")[0] if "kernel" in history else np.full((n, n), np.nan)
    degrees = 360 * np.arange(n) / n
    heat = Heat("Θ", degrees, degrees, z, low=0.0 if np.nanmin(z, initial=0.0) >= 0 else None)
    return Panel("Tangent kernel now", Axis("angle of x (degrees)"), Axis("angle of x′ (degrees)"), [heat])


def sweep_panels(rows: Rows) -> list[Panel]:
    """How far the kernel has moved against the width and against the output scale, with lines of slope -1."""
    panels = []
    for field, title, label in (
        ("width", "Kernel against width", "width m"),
        ("alpha", "Kernel against output scale", "output scale α"),
    ):
        groups = {rest: runs for rest, runs in by_field(rows, field).items() if len(runs) > 1}
        marks: list[Mark] = []
        for runs in groups.values():
            line = sweep_line("kernel moved", runs, "kernel_move", KERNEL)
            middle = len(line.x) // 2
            slope = line.y[middle] * line.x[middle] / line.x
            marks += [line, Line("slope −1", line.x, slope, GREY, dash=True)]
        if marks:
            panels.append(Panel(title, Axis(label, log=True), Axis("‖ΔΘ‖ / ‖Θ₀‖", log=True), marks))
    return panels


# ---- The record ----

EXPERIMENT = Experiment(
    name="kernels.width",
    title="Width, output scale and the fixed kernel",
    question="How wide must a network be until its whole training is the closed form of a fixed kernel?",
    paper="1806.07572",
    seconds=0.4,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
    map=Map(
        title="How far the kernel moves",
        label="‖ΔΘ‖ / ‖Θ₀‖",
        x="alpha",
        y="init_scale",
        xs=(0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        ys=(0.3, 0.5, 1.0, 2.0, 3.0),
        simulate=simulate,
        value=lambda history: metrics(history)["kernel_move"],
    ),
)
