"""Why does a small transformer that sign descent or Adam has fitted not generalize, where gradient descent does?

Li and others 2024, "On the optimization and generalization of two-layer transformers with sign gradient descent"
(arXiv 2410.04870). Its second and third stage are not measured here.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, adam
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    above,
    at_least,
    at_most,
    between,
    config,
    defaults,
    metric_where,
    number,
)
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    Axis,
    Heat,
    Level,
    Line,
    Mark,
    Panel,
    medians,
)
from dyntoolkit.figure.recorded import newest, recorded, recorded_line
from dyntoolkit.probes.crossing_times import first_below

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of a two-layer transformer trained by three optimizers on signal and noise (arXiv 2410.04870)."""

    init_scale: float = number(
        0.1, 0.01, 3.0, label="initialization scale", help="size of the start", log=True, main=True
    )
    noise_scale: float = number(2.0, 0.05, 3.0, label="noise strength", help="of the noise patch", log=True, main=True)
    lr: float = number(2e-4, 5e-5, 1e-3, label="learning rate η", help="of sign descent and Adam", log=True, main=True)
    lr_gd: float = number(0.2, 0.02, 1.0, label="learning rate of GD", help="of gradient descent", log=True, main=True)
    signal: float = number(2.0, 1.0, 4.0, label="signal strength", help="of the signal patch", main=True)
    flip: float = number(0.0, 0.0, 0.2, label="wrong labels", help="share of wrong training labels", main=True)
    n_train: int = number(40, 10, 80, label="training samples n", help="400 others test", structural=True)
    sparsity: int = number(25, 10, 50, label="noise coordinates", help="that are not 0", structural=True)
    steps: int = number(500, 200, 1500, label="steps", help="updates", log=True, structural=True)


PRESETS = {
    "noise": Preset("Sign descent and Adam fit by memorizing noise; gradient descent, from the same start, does not."),
    "clean": Preset("Hardly any noise: all three generalize.", {"noise_scale": 0.05}),
    "weak_signal": Preset("Half the signal: gradient descent suffers as well.", {"signal": 1.0}),
    "mild": Preset("A quarter of the noise: sign descent errs half as often.", {"noise_scale": 0.5}),
}


# ---- Data, model, step ----

DIMENSION, HEAD, VALUES, TEST_SAMPLES = 500, 20, 20, 400
OPTIMIZERS = ("sign", "adam", "gd")


class Samples(NamedTuple):
    """X: (R, n, 2, 500), a signal patch and a noise patch. y: labels -1 or 1, (R, n)."""

    x: Tensor
    y: Tensor


def draw(configs: Sequence[Config], seeds: Sequence[int], name: str, count: int) -> Samples:
    """So many samples of each run, all labels right."""
    y = Stream(seeds, f"{name} labels").signs(count)  # (R, n)
    # the coordinates with the smallest of equally distributed numbers: drawn without replacement among 2..500
    order = Stream(seeds, f"{name} places").uniform(count, DIMENSION - 1).argsort(stable=True)
    places = order[..., : configs[0].sparsity] + 1  # (R, n, sparsity)
    strengths = Stream(seeds, f"{name} noise").normal(count, configs[0].sparsity)
    x = torch.zeros(len(seeds), count, 2, DIMENSION, dtype=torch.float32)
    x[:, :, 0, 0] = y * per_run(configs, "signal", ndim=2)
    x[:, :, 1].scatter_(2, places, strengths * per_run(configs, "noise_scale", ndim=3))
    return Samples(x, y)


def training_samples(configs: Sequence[Config], seeds: Sequence[int]) -> Samples:
    """Those to train on, a share `flip` of whose labels is wrong."""
    x, y = draw(configs, seeds, "training", configs[0].n_train)
    chance = Stream(seeds, "flips").unit(configs[0].n_train)  # (R, n)
    return Samples(x, torch.where(chance < per_run(configs, "flip", ndim=2), -y, y))


def parts(theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W_Q and W_K (R, C, 500, 20), v = (1/10)(sum of rows 1-10 - sum of rows 11-20 of W_V) (R, C, 500, 1)."""
    query, key, value = torch.split(theta, [DIMENSION * HEAD, DIMENSION * HEAD, VALUES * DIMENSION], dim=-1)
    R, C, _ = theta.shape
    halves = value.view(R, C, 2, VALUES // 2, DIMENSION).mean(-2)  # (R, C, 2, 500)
    query, key = (part.view(R, C, DIMENSION, HEAD) for part in (query, key))
    return query, key, (halves[:, :, 0] - halves[:, :, 1])[..., None]


def forward(theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """f (R, C, n), attention A (R, C, n, 2, 2) and values X v (R, C, n, 2) of C copies. theta: (R, C, P)."""
    query, key, v = parts(theta)
    (R, n), C = x.shape[:2], theta.shape[1]
    patches = x.view(R, 1, 2 * n, DIMENSION)
    q, k = ((patches @ W).view(R, C, n, 2, HEAD) for W in (query, key))  # (R, C, n, 2, 20)
    A = (q @ k.mT).softmax(-1)  # (R, C, n, 2, 2)
    values = (patches @ v).view(R, C, n, 2)  # (R, C, n, 2)
    # f = sum_l sum_a A_la (X v)_a
    return (A.sum(-2) * values).sum(-1), A, values


def loss_of(f: Tensor, y: Tensor) -> Tensor:
    """Mean of log(1 + exp(-y f)): (R, C, n), (R, n) -> (R, C)."""
    return functional.softplus(-y[:, None] * f).mean(-1)


class State(NamedTuple):
    """theta: the copies that OPTIMIZERS train, (R, 3, P). What Adam remembers: mean, square (R, P), updates (R,)."""

    theta: Tensor
    mean: Tensor
    square: Tensor
    updates: Tensor


def make_step(configs: Sequence[Config], samples: Samples) -> Callable[[State, None], State]:
    """One update of all three copies, full batch."""
    lr, lr_gd = per_run(configs, "lr", ndim=2), per_run(configs, "lr_gd", ndim=2)  # (R, 1)
    gradient = value_and_grad(lambda theta: loss_of(forward(theta, samples.x)[0], samples.y).sum(1))

    def step(state: State, _: None) -> State:
        sign, of_adam, gd = state.theta.unbind(1)  # (R, P) each
        g_sign, g_adam, g_gd = gradient(state.theta)[1].unbind(1)
        moved = adam(Adam(of_adam, *state[1:]), g_adam, lr.double())
        # theta <- theta - lr sign(g); theta <- theta - lr_gd g
        copies = torch.stack([sign - lr * g_sign.sign(), moved.theta, gd - lr_gd * g_gd], 1)  # (R, 3, P)
        return State(copies, *moved[1:])

    return step


def initial(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """All weights N(0, init_scale^2/500), (R, P)."""
    drawn = Stream(seeds, "init").normal(DIMENSION * (2 * HEAD + VALUES))
    return drawn * per_run(configs, "init_scale", ndim=2) / math.sqrt(DIMENSION)


STAGE_1 = range(1, 11)  # steps over which the growth of the noise's value is measured
CHECKPOINT = 400  # step at which sign descent's attention is judged, before it leaves float32


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train three copies of R networks from one start on one data set; values: see `measure`."""
    steps = configs[0].steps
    training = training_samples(configs, seeds)
    test = draw(configs, seeds, "test", TEST_SAMPLES)
    theta, *remembered = Adam.start(initial(configs, seeds))
    start = State(theta[:, None].repeat(1, 3, 1), *remembered)
    record = sorted({*geometrically(steps, 60), *STAGE_1, min(CHECKPOINT, steps)})
    return train(
        start,
        make_step(configs, training),
        full_batch,
        record,
        lambda k, state: measure(state, training, test),
    )


# ---- What is measured, claims ----


def measure(state: State, training: Samples, test: Samples) -> dict[str, Array]:
    """What a frame shows, of sign descent, Adam and gradient descent in turn.

    train, test: loss. error: share of test samples with y f <= 0. attention: mean over training samples of what the
    noise patch takes from the signal patch. value_noise: mean of y (noise patch . v) over training samples;
    value_signal: signal v_1. All (R, 3). on_signal: of each training sample what signal and noise patch take from the
    signal patch, (R, 3, n, 2).
    """
    f, A, values = forward(state.theta, training.x)
    f_test, _, _ = forward(state.theta, test.x)
    sides = training.x[:, None, :, 0, 0].sign()  # of the signal, (R, 1, n)
    found = {
        "train": loss_of(f, training.y),
        "test": loss_of(f_test, test.y),
        "error": (test.y[:, None] * f_test <= 0).double().mean(-1),
        "attention": A[..., 1, 0].mean(-1),
        "value_noise": (training.y[:, None] * values[..., 1]).mean(-1),
        "value_signal": (sides * values[..., 0]).mean(-1),
        "on_signal": A[..., 0],
    }
    return {name: value.double().numpy() for name, value in found.items()}


def overlap(n: int, sparsity: int) -> float:
    """E 1/sqrt(1 + B), B ~ Binomial(n - 1, sparsity/499): how many others share a coordinate of the noise."""
    p = sparsity / (DIMENSION - 1)
    return sum(math.comb(n - 1, b) * p**b * (1 - p) ** (n - 1 - b) / math.sqrt(1 + b) for b in range(n))


def growth(config: Config) -> float:
    """By how much value_noise grows in a step of sign descent at first.

    Each coordinate of v moves by 2 lr; where N samples share one, its sign follows the sum of their y xi.
    """
    alone = 2 * config.lr * config.sparsity * config.noise_scale * math.sqrt(2 / math.pi)
    return alone * overlap(config.n_train, config.sparsity)


FIT = 0.05  # training loss below which a copy has fitted
TINY = 1e-30  # attention below is taken for this: float32 ends there


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names of each run, (R,): last values and steps to fit of all three, and four of sign descent.

    value_ratio: slope of value_noise over steps 1-10 over theory's, value_ratio_naive over that without overlap.
    decay_rate, decay_r2: of ln attention between 1e-4 and .3, per step. test_range: largest over smallest test loss
    from step 20 on. attention_400: the larger one of sign descent's at step 400 and Adam's at the end.
    """
    steps = history.at("train") if "train" in history else np.empty(0)
    last = {name: _last(history, name) for name in ("train", "test", "error", "attention")}  # (R, 3)
    found = {f"{name}_{of}": value[:, c] for name, value in last.items() for c, of in enumerate(OPTIMIZERS)}
    if not len(steps):
        nothing = np.full(len(history.seeds), np.nan)
        return {**found, **dict.fromkeys([f"t_fit_{of}" for of in OPTIMIZERS] + DERIVED, nothing)}
    attention = history["attention"][:, :, 0]  # (T, R), of sign descent
    rate, r2 = _decay(steps, attention)
    slope = _slope(steps, history["value_noise"][:, :, 0])
    theory = np.array([growth(c) for c in history.configs])
    shared = np.array([overlap(c.n_train, c.sparsity) for c in history.configs])
    late = history["test"][steps >= min(20, steps[-1])]  # (T', R, 3)
    with np.errstate(all="ignore"):  # of a run that is about to diverge
        ranges = late.max(0) / late.min(0)  # (R, 3)
    return {
        **found,
        **{f"t_fit_{of}": first_below(steps, history["train"][:, :, c], FIT) for c, of in enumerate(OPTIMIZERS)},
        "attention_400": np.maximum(attention[steps <= CHECKPOINT][-1], found["attention_adam"]),
        "value_ratio": slope / theory,
        "value_ratio_naive": slope / theory * shared,
        "decay_rate": rate,
        "decay_r2": r2,
        "test_range": ranges[:, 0],
        "test_range_gd": ranges[:, 2],
    }


DERIVED = [
    "attention_400",
    "value_ratio",
    "value_ratio_naive",
    "decay_rate",
    "decay_r2",
    "test_range",
    "test_range_gd",
]


def _last(history: History, name: str) -> Array:
    return newest(history, name, len(OPTIMIZERS))


def _slope(steps: Array, values: Array) -> Array:
    """Least-squares slope of values (T, R) over the frames at steps 1-10, (R,); NaN before there are two."""
    first = (steps >= STAGE_1[0]) & (steps <= STAGE_1[-1])
    if first.sum() < 2:
        return np.full(values.shape[1], np.nan)
    return np.asarray(np.polyfit(steps[first], values[first], 1)[0])


def _decay(steps: Array, attention: Array) -> tuple[Array, Array]:
    """Rate of decay per step of attention (T, R), and R^2 of the line through its logarithm, (R,) each."""
    rates, squares = np.full((2, attention.shape[1]), np.nan)
    for r, course in enumerate(attention.T):
        among = (course > 1e-4) & (course < 0.3)
        if among.sum() > 2:
            x, y = steps[among], np.log(course[among])
            slope, start = np.polyfit(x, y, 1)
            rates[r], squares[r] = -slope, 1 - ((y - slope * x - start) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    return rates, squares


CLEAN = {"noise_scale": 0.05}

CLAIMS = (
    Claim(
        id="sign_overfits",
        statement="Sign descent fits (training loss at most 0.01) and errs on a third of the test samples at least.",
        metric="error_sign",
        value=metric_where("error_sign", "train_sign", most=0.01),
        bound=at_least(0.35),
        where=defaults(),
        controls=(
            Control("gradient descent", metric="error_gd"),
            Control("hardly any noise", CLEAN, metric="error_sign"),
        ),
    ),
    Claim(
        id="adam_alike",
        statement="Adam does the same (training loss at most 0.05).",
        metric="error_adam",
        value=metric_where("error_adam", "train_adam", most=0.05),
        bound=at_least(0.35),
        where=defaults(),
        controls=(
            Control("gradient descent", metric="error_gd"),
            Control("hardly any noise", CLEAN, metric="error_adam"),
        ),
    ),
    Claim(
        id="attends_to_noise",
        statement="Noise patches come to take nothing from the signal: sign descent by step 400, Adam by the end.",
        metric="attention_400",
        bound=at_most(0.01),
        where=defaults(),
        controls=(
            Control("gradient descent", metric="attention_gd"),
            Control("hardly any noise", CLEAN, metric="attention_sign"),
        ),
    ),
    Claim(
        id="value_noise_linear",
        statement="First the values memorize: what they make of the noise grows as fast as theory says.",
        metric="value_ratio",
        bound=between(0.85, 1.15),
        where=defaults(),
        controls=(Control("theory without samples that share coordinates", metric="value_ratio_naive"),),
    ),
    Claim(
        id="exponential",
        statement="Then attention to the signal falls exponentially (R² at least 0.9): rate per step.",
        metric="decay_rate",
        value=metric_where("decay_rate", "decay_r2", least=0.9),
        bound=at_least(0.03),
        where=defaults(),
        controls=(Control("gradient descent: it rises above a half", bound=above(0.5), metric="attention_gd"),),
    ),
    Claim(
        id="test_flat",
        statement="Meanwhile the test loss hardly moves: largest over smallest from step 20 on.",
        metric="test_range",
        bound=at_most(1.6),
        where=defaults(),
        controls=(Control("gradient descent", metric="test_range_gd"),),
    ),
)


# ---- Figure ----

LABELS = {"sign": "sign", "adam": "Adam", "gd": "GD"}
COLORS = {"sign": BLUE, "adam": ORANGE, "gd": GREEN}
STAGES = 60  # steps of the panel on values


def panels(history: History) -> list[Panel]:
    """Losses, test error, attention and values of the three optimizers; of run 1, the attention of every sample."""
    step = Axis("step", range=(0, history.config.steps))
    return [
        Panel("Training loss", step, Axis("log(1 + exp(−y f))", log=True), _courses(history, "train")),
        Panel("Test loss", step, Axis("log(1 + exp(−y f))", log=True), _courses(history, "test")),
        Panel(
            "Test error",
            step,
            Axis("error rate", range=(-0.02, 0.6)),
            [*_courses(history, "error"), Level("guessing", y=0.5)],
        ),
        Panel(
            "Attention of noise to signal",
            step,
            Axis("A₂₁", log=True, range=(1e-9, 1.5)),
            [*_courses(history, "attention", least=TINY), Level("start", y=0.5)],
        ),
        _values(history),
        _map(history),
    ]


def _courses(history: History, name: str, least: float = -np.inf) -> list[Mark]:
    """The three optimizers; medians and bands over several runs."""
    lines: list[Mark] = []
    for c, of in enumerate(OPTIMIZERS):
        line = recorded_line(history, name, LABELS[of], COLORS[of], column=c)
        lines.append(line if math.isinf(least) else _clamped(line, least))
    return lines


def _clamped(line: Line, least: float) -> Line:
    """A curve that does not leave the numbers of a logarithmic axis."""
    low, high = (None if band is None else np.maximum(band, least) for band in (line.low, line.high))
    return Line(line.name, line.x, np.maximum(line.y, least), line.color, low=low, high=high)


def _values(history: History) -> Panel:
    """What the values make of noise and signal with sign descent and gradient descent; theory of the noise."""
    lines: list[Mark] = []
    for name, label in (("value_noise", "noise"), ("value_signal", "signal")):
        steps, values = recorded(history, name)
        early = steps <= STAGES
        for c, of in ((0, "sign"), (2, "gd")):
            y = medians(values[early][:, :, c]) if len(steps) else np.empty(0)
            color = COLORS[of] if name == "value_noise" else {"sign": SKY, "gd": PURPLE}[of]
            lines.append(Line(f"{label}, {LABELS[of]}", steps[early], y, color))
    at = np.array([0.0, STAGES])
    lines.append(Line("theory, noise", at, growth(history.config) * at, GREY, dash=True))
    return Panel("Values, stage 1", Axis("step", range=(0, STAGES)), Axis("y (patch · v)"), lines)


def _map(history: History) -> Panel:
    """What each training sample's noise patch and signal patch take from the signal patch, sorted by the first."""
    n = history.config.n_train
    z = np.full((6, n), np.nan)
    if "on_signal" in history:
        now = history.last("on_signal")[0]  # (3, n, 2)
        z = now[:, np.argsort(now[0, :, 1], kind="stable")].transpose(0, 2, 1)[:, ::-1].reshape(6, n)
    rows = [f"{LABELS[of]}: {patch}" for of in OPTIMIZERS for patch in ("noise", "signal")]
    return Panel(
        "Attention to the signal patch",
        Axis("training sample"),
        Axis("patch that looks"),
        [Heat("weight", np.arange(1, n + 1), rows, z, low=0, high=1)],
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="attention.sign_descent",
    title="Sign descent learns the noise",
    question="Why does a transformer that sign descent or Adam fitted fail on new samples, unlike gradient descent's?",
    paper="2410.04870",
    seconds=1.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    predictions={"value_ratio": lambda config: 1.0},
)
