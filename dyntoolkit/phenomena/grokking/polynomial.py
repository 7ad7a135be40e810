"""Polynomial regression: does a network that starts as a kernel machine leave its kernel and then generalize?

Kumar, Bordelon, Gershman and Pehlevan 2023, "Grokking as the transition from lazy to rich training dynamics" (arXiv
2310.06110). Plain gradient descent without weight decay on y = (b.x)^2/2.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Sgd, sgd
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
    at_most,
    config,
    defaults,
    mean_of,
    number,
)
from dyntoolkit.figure.panels import (
    ALIGNMENT,
    BLUE,
    GREY,
    KERNEL,
    ORANGE,
    PURPLE,
    SKY,
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.figure.sweeps import Rows, by_field
from dyntoolkit.phenomena.grokking._figure import delay_marks
from dyntoolkit.probes.alignment import matrix_alignment
from dyntoolkit.probes.crossing_times import delay, first_below
from dyntoolkit.probes.kernel_regression import kernel_regression

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run of gradient descent on a quadratic target (Kumar et al. 2023, arXiv 2310.06110)."""

    alpha: float = number(1.0, 0.1, 10.0, label="laziness α", help="scale of the output", log=True, main=True)
    nonlinearity: float = number(
        0.1, 0.03, 1.0, label="nonlinearity ε", help="quadratic part of the unit h + ε h²/2", log=True, main=True
    )
    n_train: int = number(
        200, 50, 1500, label="training points P", help="random points", log=True, main=True, structural=True
    )
    input_dim: int = number(40, 10, 80, label="input dimension D", help="of the points", log=True, structural=True)
    width: int = number(100, 20, 400, label="width N", help="hidden units", log=True, structural=True)
    init_scale: float = number(
        1.0,
        0.3,
        3.0,
        label="initialization scale",
        help="standard deviation of the initial weights",
        log=True,
        main=True,
    )
    lr_relative: float = number(
        0.3, 0.03, 0.9, label="learning rate", help="as a share of the stability edge", log=True, main=True
    )
    steps: int = number(3000, 300, 30000, label="steps", help="updates", log=True, structural=True)

    @property
    def final_norm(self) -> float:
        """|w|_F once f has learned the target: w^T w/N has grown by b b^T/(alpha epsilon), and |b|^2 = D."""
        return math.sqrt(self.width * self.input_dim * (self.init_scale**2 + 1 / (self.alpha * self.nonlinearity)))


LAZY = {"alpha": 10.0}
ENOUGH = {"n_train": 1500, "steps": 400}
TOO_LITTLE = {"n_train": 50}

PRESETS = {
    "lazy_to_rich": Preset("Training loss falls first, with the kernel of the start; test loss when the kernel turns."),
    "rich": Preset("A tenth of the output scale: the delay is shorter, but does not vanish.", {"alpha": 0.1}),
    "lazy": Preset("Ten times the output scale: test loss stays high for 3000 steps.", LAZY),
    "enough_data": Preset("With 1500 points the two losses fall together.", ENOUGH),
    "too_little_data": Preset("With 50 points the target is never found.", TOO_LITTLE),
}


# ---- Data, model, step ----

N_TEST = 500
FRAMES = 80  # points of the geometric grid of recorded steps


class Data(NamedTuple):
    """direction b (R, D) with |b|^2 = D; points x (R, n, D) and targets y (R, n) for training and testing, float32."""

    direction: Tensor
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


class Model(NamedTuple):
    """What does not change in training: initial weights (R, N, D), and alpha and epsilon, each (R, 1)."""

    start: Tensor
    alpha: Tensor
    epsilon: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """x ~ N(0, I/D), y = (b.x)^2/2 with a random direction b, for each run its own."""
    D = config.input_dim
    b = Stream(seeds, "direction").normal(D)  # (R, D)
    b = b * (D**0.5 / torch.linalg.vector_norm(b, dim=1, keepdim=True))
    train_x = Stream(seeds, "train").normal(config.n_train, D) / D**0.5  # (R, P, D)
    test_x = Stream(seeds, "test").normal(N_TEST, D) / D**0.5  # (R, 500, D)
    train_y, test_y = ((x @ b.unsqueeze(2)).squeeze(2).square() / 2 for x in (train_x, test_x))  # (R, n)
    return Data(b, train_x, train_y, test_x, test_y)


def make_model(configs: Sequence[Config], seeds: Sequence[int]) -> Model:
    """w ~ N(0, init_scale^2)."""
    w = Stream(seeds, "init").normal(configs[0].width, configs[0].input_dim)  # (R, N, D)
    scale = per_run(configs, "init_scale", ndim=3)  # (R, 1, 1)
    alpha = per_run(configs, "alpha", ndim=2)  # (R, 1)
    epsilon = per_run(configs, "nonlinearity", ndim=2)  # (R, 1)
    return Model(w * scale, alpha, epsilon)


def mean_unit(w: Tensor, x: Tensor, epsilon: Tensor) -> Tensor:
    """g(x) = (1/N) sum_i phi(w_i.x), phi(h) = h + epsilon h^2/2: weights (R, N, D), points (R, n, D) -> (R, n)."""
    h = x @ w.mT  # (R, n, N)
    return (h + epsilon.unsqueeze(2) / 2 * h.square()).mean(2)


def output(model: Model, w: Tensor, x: Tensor) -> Tensor:
    """f(x) = alpha (g(x; w) - g(x; start)), (R, n): zero at step 0."""
    return model.alpha * (mean_unit(w, x, model.epsilon) - mean_unit(model.start, x, model.epsilon))


def make_gradient(model: Model, data: Data) -> Callable[[Tensor], Tensor]:
    """The gradient (R, N, D) of the mean squared error at weights (R, N, D), written out."""
    x, y = data.train_x, data.train_y  # (R, P, D), (R, P)
    P, N = x.shape[1], model.start.shape[1]
    start = mean_unit(model.start, x, model.epsilon)  # (R, P)
    epsilon = model.epsilon.unsqueeze(2)  # (R, 1, 1)

    def gradient(w: Tensor) -> Tensor:
        h = x @ w.mT  # (R, P, N)
        slope = 1 + epsilon * h  # phi'(h)
        g = ((h * (slope + 1)) / 2).mean(2)  # (R, P), for phi(h) = h (phi'(h) + 1)/2
        residual = model.alpha * (g - start) - y  # (R, P)
        return (slope * (2 / (P * N) * model.alpha * residual).unsqueeze(2)).mT @ x  # (R, N, D)

    return gradient


def initial_kernel(model: Model, x: Tensor, other: Tensor) -> Tensor:
    """K0(x, x') = (x.x') (1/N) sum_i phi'(w_i.x) phi'(w_i.x') at the start, (R, n, n'): N times g's tangent kernel."""
    epsilon = model.epsilon.unsqueeze(2)  # (R, 1, 1)
    w = model.start.to(x.dtype)  # (R, N, D)
    slopes, others = (1 + epsilon * (points @ w.mT) for points in (x, other))  # (R, n, N), (R, n', N)
    # initial kernel: K0(x, x') = (x.x') (1/N) sum_i (1 + epsilon w_i.x)(1 + epsilon w_i.x')
    kernel: Tensor = (x @ other.mT) * (slopes @ others.mT) / w.shape[1]
    return kernel


def final_kernel(model: Model, direction: Tensor, x: Tensor) -> Tensor:
    """K(x, x') = (x.x') (1 + (epsilon/alpha) (b.x)(b.x')), (R, n, n): once w^T w/N has become b b^T/(alpha epsilon)."""
    along = (x @ direction.to(x.dtype).unsqueeze(2)).squeeze(2)  # (R, n)
    ratio = (model.epsilon / model.alpha).unsqueeze(2)  # (R, 1, 1)
    # final kernel: (x.x') (1 + (epsilon/alpha)(b.x)(b.x'))
    kernel: Tensor = (x @ x.mT) * (1 + ratio * along.unsqueeze(2) * along.unsqueeze(1))
    return kernel


def largest_eigenvalue(model: Model, data: Data) -> Tensor:
    """lambda, the larger of the top eigenvalues of the two kernels on the training points, (R,) float64."""
    x = data.train_x.double()  # (R, P, D)
    kernels = initial_kernel(model, x, x), final_kernel(model, data.direction, x)  # (R, P, P)
    return torch.maximum(*(torch.linalg.eigvalsh(K)[:, -1] for K in kernels))


def learning_rate(configs: Sequence[Config], model: Model, largest: Tensor) -> Tensor:
    """The step of each run, (R,) float64: lr_relative = 1 is the linear stability edge of the larger kernel.

    largest: lambda, see `largest_eigenvalue`.
    """
    relative = per_run(configs, "lr_relative", torch.float64)  # (R,)
    alpha = model.alpha.squeeze(1).double()  # (R,)
    # step-size rule: lr = lr_relative P N/(alpha^2 lambda)
    return relative * configs[0].n_train * configs[0].width / (alpha.square() * largest)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Gradient descent on R networks in float32; frames at step 0 and on a geometric grid of 80 steps.

    Values: see `measure`; kernel_floor (R,), at step 0 only: see there.
    """
    data = draw_data(configs[0], seeds)
    model = make_model(configs, seeds)
    gradient = make_gradient(model, data)
    largest = largest_eigenvalue(model, data)  # (R,)
    lr = learning_rate(configs, model, largest)  # (R,)
    shape = model.start.shape

    def step(state: Sgd, _: None) -> Sgd:
        return sgd(state, gradient(state.theta.view(shape)).flatten(1), lr)

    def values(k: int, state: Sgd) -> dict[str, Array]:
        found = measure(model, data, state.theta.view(shape))
        return found if k else {**found, "kernel_floor": kernel_floor(model, data, largest).numpy()}

    return train(Sgd(model.start.flatten(1)), step, full_batch, geometrically(configs[0].steps, FRAMES), values)


# ---- What is measured, claims ----

RIDGE = 1e-6  # of the kernel regression, in units of the kernel's largest eigenvalue


def kernel_floor(model: Model, data: Data, largest: Tensor) -> Tensor:
    """Test error of regression with the initial kernel, in units of the test error at step 0, (R,) float64."""
    x, test_x = data.train_x.double(), data.test_x.double()  # (R, P, D), (R, 500, D)
    target = data.test_y.double()  # (R, 500)
    K, K_test = initial_kernel(model, x, x), initial_kernel(model, test_x, x)  # (R, P, P), (R, 500, P)
    # NTK floor: K0(x, X)(K0(X, X) + 1e-6 lambda I)^-1 y
    prediction = kernel_regression(K, K_test, data.train_y.double(), RIDGE * largest)
    return (prediction - target).square().mean(1) / target.square().mean(1)


def three_terms(model: Model, w: Tensor, direction: Tensor) -> Tensor:
    """The three parts of the population loss, (R, 3) float64: variance, misalignment, linear. Exact for Gaussian x.

    With A = alpha epsilon dM - b b^T, dM the change of M = w^T w/N, and du that of the mean weight vector, they are
    (tr A)^2/(4 D^2), |A|_F^2/(2 D^2) and alpha^2 |du|^2/D.
    """
    w, start = w.double(), model.start.double()  # (R, N, D)
    b = direction.double()  # (R, D)
    alpha, epsilon = model.alpha.double(), model.epsilon.double()  # (R, 1)
    _, N, D = w.shape
    change = (w.mT @ w - start.mT @ start) / N  # (R, D, D)
    A = (alpha * epsilon).unsqueeze(2) * change - b.unsqueeze(2) * b.unsqueeze(1)  # (R, D, D)
    # Three terms: variance 1/4 (1 - (alpha epsilon/D) tr dM)^2, which is (tr A)^2/(4 D^2) as |b|^2 = D;
    # misalignment |alpha epsilon dM - b b^T|_F^2/(2 D^2); linear (alpha^2/D) |du|^2
    variance = A.diagonal(dim1=1, dim2=2).sum(1).square() / (4 * D**2)  # (R,)
    misalignment = A.square().sum((1, 2)) / (2 * D**2)  # (R,)
    linear = alpha.squeeze(1).square() * (w - start).mean(1).square().sum(1) / D  # (R,)
    return torch.stack([variance, misalignment, linear], dim=1)


def measure(model: Model, data: Data, w: Tensor) -> dict[str, Array]:
    """What a frame shows of each run.

    train_mse, test_mse (R,); terms (R, 3), see `three_terms`; norm = |w|_F; alignment of w^T w with the direction (see
    `matrix_alignment`); prediction, target (R, 500): outputs on the test points and what they should be.
    """
    prediction = output(model, w, data.test_x)  # (R, 500)
    values = {
        "train_mse": (output(model, w, data.train_x) - data.train_y).square().mean(1).double(),
        "test_mse": (prediction - data.test_y).square().mean(1).double(),
        "terms": three_terms(model, w, data.direction),
        "norm": torch.linalg.vector_norm(w.double(), dim=(1, 2)),
        "alignment": matrix_alignment((w.mT @ w).double(), data.direction.double()),
        "prediction": prediction,
        "target": data.test_y,
    }
    return {name: value.numpy() for name, value in values.items()}


def relative_losses(history: History) -> tuple[Array, Array]:
    """Training and test loss in units of their values at step 0, each (T, R)."""
    train, test = history["train_mse"], history["test_mse"]
    return train / train[0], test / test[0]


def delays(history: History) -> Array:
    """The first frame with test loss below .2 over that with training loss below .1, (R,); NaN for never."""
    train, test = relative_losses(history)  # (T, R)
    steps = history.at("train_mse")  # (T,)
    # delay = t(test < .2)/t(train < .1)
    return delay(first_below(steps, test, 0.2), first_below(steps, train, 0.1))


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never". Losses are in units of their values at step 0.

    t_train, t_test: first frames with training loss below .1 and test loss below .2; delay: their ratio. test_end,
    test_peak: test loss at the last frame and at most. kernel_floor: test loss of regression with the initial kernel;
    floor_ratio: test_end in units of it. norm_start, norm_end, norm_ratio: |w|_F. alignment_start, alignment_end.
    terms_error: the largest difference between the sum of the three terms and the test loss.
    """
    train, test = relative_losses(history)  # (T, R)
    steps = history.at("train_mse")  # (T,)
    floor = history["kernel_floor"][0]  # (R,)
    norm, alignment = history["norm"], history["alignment"]  # (T, R)
    error = np.abs(history["terms"].sum(2) - history["test_mse"]) / history["test_mse"][0]  # (T, R)
    return {
        "t_train": first_below(steps, train, 0.1),
        "t_test": first_below(steps, test, 0.2),
        "delay": delays(history),
        "train_end": train[-1],
        "test_end": test[-1],
        "test_peak": test.max(0),
        "kernel_floor": floor,
        "floor_ratio": test[-1] / floor,
        "norm_start": norm[0],
        "norm_end": norm[-1],
        "norm_ratio": norm[-1] / norm[0],
        "alignment_start": alignment[0],
        "alignment_end": alignment[-1],
        "terms_error": error.max(0),
    }


def _growth(rows: Sequence[Metrics]) -> Array:
    """Mean delay at the largest alpha over that at the smallest, over the seeds that have one, (1,)."""
    first, last = (row["delay"][np.isfinite(row["delay"])] for row in (rows[0], rows[-1]))
    return np.array([last.mean() / first.mean()]) if len(first) and len(last) else np.full(1, np.nan)


MEASURED = defaults(steps=at_least(3000))  # where the numbers were measured
MUCH_LAZIER = Control("α = 10", LAZY)
FEW_POINTS = Control("50 training points", TOO_LITTLE)

CLAIMS = (
    Claim(
        id="delay",
        statement="Test loss falls later than training loss, without any weight decay.",
        metric="delay",
        bound=at_least(1.4),
        where=MEASURED,
        controls=(Control("1500 training points", ENOUGH),),
    ),
    Claim(
        id="delay_mean",
        statement="In the mean over 8 seeds it falls at least 2.5 times as late.",
        sweep=mean_of("delay", seeds=8),
        bound=at_least(2.5),
        where=MEASURED,
        controls=(Control("1500 training points", sweep=mean_of("delay", **ENOUGH)),),
    ),
    Claim(
        id="delay_grows",
        statement="The lazier, the later: the mean delay at α = 3 is over 1.4 times that at α = 0.1.",
        metric="delay",
        bound=above(1.4),
        where=MEASURED,
        sweep=Sweep(tuple({"alpha": alpha} for alpha in (0.1, 0.3, 1.0, 3.0)), _growth, least_seeds=8),
    ),
    Claim(
        id="leaves_kernel",
        statement="In the end test loss is at most a third of what the initial kernel can reach.",
        metric="floor_ratio",
        bound=at_most(1 / 3),
        where=MEASURED,
        controls=(MUCH_LAZIER, FEW_POINTS),
    ),
    Claim(
        id="norm_grows",
        statement="The weights do not shrink, as weight decay would have it: their norm at least doubles.",
        metric="norm_ratio",
        bound=at_least(2),
        where=MEASURED,
        controls=(MUCH_LAZIER,),
    ),
    Claim(
        id="alignment",
        statement="The weights end along the direction of the target.",
        metric="alignment_end",
        bound=at_least(0.9),
        where=MEASURED,
        controls=(FEW_POINTS, Control("at the start", {}, metric="alignment_start")),
    ),
    Claim(
        id="three_terms",
        statement="Three terms, of variance, misalignment and linear part, make up the test loss all along.",
        metric="terms_error",
        bound=at_most(0.4),
        where=MEASURED,
    ),
)


# ---- Figure ----

TERMS = (("variance", SKY), ("misalignment", ORANGE), ("linear", PURPLE))


def panels(history: History) -> list[Panel]:
    """Losses with the floor of the kernel; stack of the three terms; norm and alignment; outputs against targets."""
    return [_losses(history), _terms(history), _weights(history), _outputs(history)]


def _losses(history: History) -> Panel:
    none = np.empty((0, len(history.seeds)))
    train, test = relative_losses(history) if "train_mse" in history else (none, none)
    floor = float(np.median(history["kernel_floor"][0])) if "kernel_floor" in history else np.nan
    steps = _steps(history)
    times = first_below(steps, train[1:], 0.1), first_below(steps, test[1:], 0.2)
    return Panel(
        "Loss / loss at step 0",
        log_steps(history),
        Axis("relative mean squared error", log=True),
        [
            median_line("training", steps, train[1:], TRAIN),
            median_line("test", steps, test[1:], TEST),
            Level("test loss of the initial kernel", y=floor, color=KERNEL),
            *delay_marks(*times, "training < 0.1", "test < 0.2"),
        ],
    )


def _steps(history: History) -> Array:
    return recorded(history, "train_mse", 1)[0]


def _terms(history: History) -> Panel:
    """Each term as a band on top of those before it; the median over several runs."""
    steps, runs = _steps(history), len(history.seeds)
    terms = history["terms"][1:] if "terms" in history else np.empty((0, runs, 3))
    top = np.cumsum(np.median(terms, axis=1), axis=1)  # (T, 3)
    bottom = top - np.median(terms, axis=1)
    marks: list[Mark] = [
        Line(name, steps, top[:, k], color, low=bottom[:, k], high=top[:, k], width=1.2)
        for k, (name, color) in enumerate(TERMS)
    ]
    test = history["test_mse"][1:] if "test_mse" in history else np.empty((0, runs))
    marks.append(Line("test loss", steps, np.median(test, axis=1), TEST, markers="points"))
    return Panel("Three terms of the test loss", log_steps(history), Axis("mean squared error"), marks)


def _weights(history: History) -> Panel:
    final = np.array([config.final_norm for config in history.configs])
    steps, norm = recorded(history, "norm", 1)
    return Panel(
        "Weights",
        log_steps(history),
        Axis("norm, alignment"),
        [
            median_line("‖w‖ / its end, by theory", steps, norm / final, BLUE),
            recorded_line(history, "alignment", "alignment with the target", ALIGNMENT, start=1),
            Level("end, by theory", y=1.0),
        ],
    )


def _outputs(history: History) -> Panel:
    """Outputs of the first run on the test points against their targets."""
    target, found = (history.last(name)[0] if name in history else np.empty(0) for name in ("target", "prediction"))
    most = float(target.max()) if len(target) else 1.0
    ends = np.array([0.0, most])
    return Panel(
        "Outputs on test points",
        Axis("target (b·x)²/2", range=(-0.03 * most, 1.03 * most)),
        Axis("output f(x)"),
        [Line("test points", target, found, TEST, markers="points"), Line("right", ends, ends, GREY, dash=True)],
    )


def sweep_panels(rows: Rows) -> list[Panel]:
    """Delay of finished runs against alpha: every run, and the mean of those that have one.

    Drawn are the runs that differ in nothing but alpha, with the settings of which most alphas are there.
    """
    runs = max(by_field(rows, "alpha").values(), key=len)
    found = {alpha: [metrics["delay"] for metrics in of_alpha] for alpha, of_alpha in runs.items()}
    known = {alpha: [delay for delay in delays if np.isfinite(delay)] for alpha, delays in found.items()}
    points = np.array([(alpha, delay) for alpha, delays in known.items() for delay in delays]).reshape(-1, 2)
    means = np.array([np.mean(delays) if delays else np.nan for delays in known.values()])
    marks: list[Mark] = [
        Line("runs", points[:, 0], points[:, 1], SKY, markers="points"),
        Line("mean of those that arrive", np.array(list(known)), means, BLUE, markers="both"),
    ]
    return [Panel("Delay of the test loss", Axis("laziness α", log=True), Axis("delay", log=True), marks)]


# ---- The record ----

EXPERIMENT = Experiment(
    name="grokking.polynomial",
    title="Grokking without weight decay",
    question="Does a network that starts as a kernel machine leave its kernel and then generalize, without any decay?",
    paper="2310.06110",
    seconds=0.4,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
    predictions={"norm_end": lambda c: c.final_norm},  # of the solution, also where training has not found it
    map=Map(
        title="Delay of the test loss",
        label="delay",
        x="alpha",
        y="nonlinearity",
        xs=(0.1, 0.3, 1.0, 3.0, 10.0),
        ys=(0.03, 0.1, 0.3, 1.0),
        simulate=simulate,
        value=delays,
    ),
)
