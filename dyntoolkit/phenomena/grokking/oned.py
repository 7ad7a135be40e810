"""One dimension: if many points lie where sin 6x looks like sin x, is sin x learned first and unlearned later?

Zhou, Zhang and Xu 2024, "A rationale from frequency perspective for grokking in training neural network" (arXiv
2405.17479): training prefers low frequencies, and points that are few or badly placed make a high one look low.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    at_least,
    at_most,
    below,
    choice,
    config,
    defaults,
    metric_where,
    number,
)
from dyntoolkit.figure.panels import GREY, TEST, TRAIN, Axis, Line, Panel
from dyntoolkit.figure.recorded import log_steps, newest, recorded, recorded_line
from dyntoolkit.phenomena.grokking._figure import delay_marks, map_by_step
from dyntoolkit.phenomena.grokking._training import adamw
from dyntoolkit.probes.crossing_times import delay, first_below
from dyntoolkit.probes.nudft import nudft

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run on sin 6x, sampled where it looks like sin x (Zhou et al. 2024, arXiv 2405.17479)."""

    n_aliased: int = number(
        100, 0, 150, label="aliased points", help="points where sin 6x looks like sin x", main=True, structural=True
    )
    n_uniform: int = number(
        20, 10, 1000, label="even points", help="evenly spaced points", log=True, main=True, structural=True
    )
    init_scale: float = number(
        3.0, 0.3, 30.0, label="initialization scale", help="half-width of the input weights", log=True, main=True
    )
    lr: float = number(3e-3, 3e-4, 1e-1, label="learning rate η", help="step size", log=True, main=True)
    noise_std: float = number(
        0.0, 0.0, 0.4, label="label noise σ", help="of the training labels, drawn once", main=True
    )
    n_aliased3: int = number(
        0, 0, 50, label="points aliased with 3", help="points where sin 6x looks like sin 3x", structural=True
    )
    activation: str = choice("tanh", ("tanh", "sin", "relu"), label="activation", help="of the hidden units")
    width: int = number(100, 20, 400, label="width", help="hidden units", log=True, structural=True)
    readout_scale: float = number(
        0.1, 0.01, 1.0, label="readout scale", help="half-width of the output weights", log=True
    )
    weight_decay: float = number(0.0, 0.0, 1.0, label="weight decay", help="decoupled decay")
    steps: int = number(4000, 500, 10000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="memory of the gradient")
    beta2: float = number(0.999, 0.9, 0.9999, label="β₂", help="memory of the squared gradient", near_one=True)
    eps: float = number(1e-8, 1e-12, 1e-3, label="ε", help="added to √v in the denominator", log=True)


UNIFORM = {"n_aliased": 0, "n_uniform": 120}

PRESETS = {
    "aliased": Preset("The losses part: sin x is learned first, and leaves the test points again."),
    "uniform": Preset("As many points, evenly spaced: both losses fall together.", UNIFORM),
    "paper_65": Preset(
        "A mix of 65 points as in the paper: a bump of the test loss, no delay.",
        {"n_aliased": 20, "n_aliased3": 10, "n_uniform": 35},
    ),
    "too_little_data": Preset("Ten even points are too few: a long delay, and never clean.", {"n_uniform": 10}),
    "low_frequency_start": Preset("Smaller input weights: slower, and a longer delay.", {"init_scale": 1.0}),
}


# ---- Data, model, step ----

CANDIDATES = 10_000  # evenly spaced points among which the aliased ones are chosen
FRAMES = 100  # points of the geometric grid of recorded steps


def target(x: Array) -> Array:
    """sin 6x."""
    return np.asarray(np.sin(6 * x))


def lookalikes(n: int, k: int) -> Array:
    """The n of 10,000 evenly spaced points in [-pi, pi] at which sin kx is nearest to sin 6x, (n,) float64."""
    grid = np.linspace(-np.pi, np.pi, CANDIDATES)
    return grid[np.argsort(np.abs(np.sin(k * grid) - target(grid)), kind="stable")[:n]]


def training_points(config: Config) -> Array:
    """Points that look like sin x, points that look like sin 3x, and evenly spaced ones, together (n,) float64."""
    even = np.linspace(-np.pi, np.pi, config.n_uniform)
    return np.concatenate([lookalikes(config.n_aliased, 1), lookalikes(config.n_aliased3, 3), even])


def test_points() -> Array:
    """1000 evenly spaced points in [-pi, pi], (1000,) float64."""
    return np.linspace(-np.pi, np.pi, 1000)


class Data(NamedTuple):
    """Training points (n,) for all runs and the labels of each, (R, n) float32; test points and labels (1000,)."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def draw_data(configs: Sequence[Config], seeds: Sequence[int]) -> Data:
    """sin 6x at the training points, with each run's own noise, and at 1000 even points without."""
    x = torch.from_numpy(training_points(configs[0]))  # (n,) float64
    test_x = torch.from_numpy(test_points())  # (1000,) float64
    noise = Stream(seeds, "noise").normal(len(x), dtype=torch.float64)  # (R, n)
    std = per_run(configs, "noise_std", torch.float64, ndim=2)  # (R, 1)
    y = torch.sin(6 * x) + std * noise  # (R, n)
    return Data(x.float(), y.float(), test_x.float(), torch.sin(6 * test_x).float())


def network(config: Config) -> MLP:
    """f(x) = sum_i a_i phi(w_i x + b_i) + c."""
    return MLP((1, config.width, 1), ACTIVATIONS[config.activation])


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """w uniform within init_scale of 0, b within 3.14 init_scale, a within readout_scale, c = 0: (R, 3 width + 1)."""
    m, stream = configs[0].width, Stream(seeds, "init")
    scale, readout = (per_run(configs, name, ndim=2) for name in ("init_scale", "readout_scale"))  # (R, 1)
    w, b, a = (stream.uniform(m) for _ in range(3))  # (R, m)
    c = torch.zeros(len(seeds), 1, dtype=torch.float32)
    return torch.cat([scale * w, 3.14 * scale * b, readout * a, c], dim=1)


def mean_squared_error(output: Tensor, y: Tensor) -> Tensor:
    """Mean over the points of outputs (R, n, 1) with labels (R, n) or (n,): (R,)."""
    return (output.squeeze(2) - y).square().mean(1)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks in float32; frames at step 0 and on a geometric grid of 100 steps, with `measure`'s values.

    At step 0 also what `measure_labels` gives.
    """
    data = draw_data(configs, seeds)
    net = network(configs[0])
    x = data.train_x.unsqueeze(1)  # (n, 1)

    def loss(theta: Tensor) -> Tensor:
        return mean_squared_error(net(theta, x), data.train_y)

    def values(k: int, state: Adam) -> dict[str, Array]:
        found = measure(net, state.theta, data)
        return found if k else {**found, **measure_labels(data)}

    start = Adam.start(initial_theta(configs, seeds))
    return train(start, adamw(configs, loss), full_batch, geometrically(configs[0].steps, FRAMES), values)


# ---- What is measured, claims ----

FREQUENCIES = np.arange(16)
LEVEL = 0.2  # of both losses: memorization is partial, so a smaller one would mean something else on each
START = 5  # the first frames, left out of peaks: the random start


def spectrum(values: Tensor, x: Tensor) -> Tensor:
    """|F_k|, k = 0..15, of values (..., n) at the points (n,): (..., 16) float64, see `nudft`."""
    # NUDFT: F_k = |(1/n) sum_j y_j exp(-i k x_j)|
    return nudft(values, x.unsqueeze(1), torch.from_numpy(FREQUENCIES).unsqueeze(1))


def measure(net: MLP, theta: Tensor, data: Data) -> dict[str, Array]:
    """What a frame shows of each run.

    train_loss, test_loss (R,): mean squared error on the training points with their labels, on the test points.
    train_spectrum, test_spectrum (R, 16): see `spectrum`, of the outputs there. output (R, 1000): f on the test points.
    """
    fitted = net(theta, data.train_x.unsqueeze(1))  # (R, n, 1)
    output = net(theta, data.test_x.unsqueeze(1))  # (R, 1000, 1)
    values = {
        "train_loss": mean_squared_error(fitted, data.train_y).double(),
        "test_loss": mean_squared_error(output, data.test_y).double(),
        "train_spectrum": spectrum(fitted.squeeze(2), data.train_x),
        "test_spectrum": spectrum(output.squeeze(2), data.test_x),
        "output": output.squeeze(2),
    }
    return {name: value.numpy() for name, value in values.items()}


def measure_labels(data: Data) -> dict[str, Array]:
    """What does not change: train_x and labels (R, n), and label_spectrum (R, 16), the `spectrum` of the labels."""
    return {
        "train_x": data.train_x.expand_as(data.train_y).numpy(),
        "labels": data.train_y.numpy(),
        "label_spectrum": spectrum(data.train_y, data.train_x).numpy(),
    }


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never".

    t_train, t_test: first frames with loss below .2; delay: their ratio. test_peak: the largest test loss, F1_peak:
    the largest F_1 on the test points, F6_at_F1_peak: F_6 there in the same frame, all without the first five frames.
    F1_end, F6_end: on the test points at the last frame; train_F1_end: on the training points; label_F1: of the
    training labels; F1_error: the distance of these two. train_end, test_end: losses at the last frame.
    """
    steps = history.at("train_loss")  # (T,)
    train, test = history["train_loss"], history["test_loss"]  # (T, R)
    F = history["test_spectrum"]  # (T, R, 16)
    own = history["label_spectrum"][0, :, 1]  # (R,)
    # t(q < c): the first recorded step at which q < c; delay = t(test < .2)/t(train < .2)
    t_train, t_test = first_below(steps, train, LEVEL), first_below(steps, test, LEVEL)
    later = slice(min(START, len(F) - 1), None)  # a run that has just begun has nothing but its start
    peak = F[later, :, 1].argmax(0)  # (R,)
    return {
        "t_train": t_train,
        "t_test": t_test,
        "delay": delay(t_test, t_train),
        "test_peak": test[later].max(0),
        "F1_peak": F[later, :, 1].max(0),
        "F6_at_F1_peak": F[later, np.arange(F.shape[1]), 6][peak, np.arange(F.shape[1])],
        "F1_end": F[-1, :, 1],
        "F6_end": F[-1, :, 6],
        "train_F1_end": history.last("train_spectrum")[:, 1],
        "label_F1": own,
        "F1_error": np.abs(history.last("train_spectrum")[:, 1] - own),
        "train_end": train[-1],
        "test_end": test[-1],
    }


MEASURED = defaults(steps=at_least(4000))  # where the numbers were measured
EVEN = Control("120 even points", UNIFORM)

CLAIMS = (
    Claim(
        id="delay",
        statement="Test loss falls below 0.2 at least 15 times as late as training loss.",
        metric="delay",
        bound=at_least(15),
        where=MEASURED,
        controls=(EVEN,),
    ),
    Claim(
        id="test_peak",
        statement="Before it falls, test loss rises well above 0.5, that of an output of 0.",
        metric="test_peak",
        bound=at_least(0.9),
        where=MEASURED,
        controls=(EVEN,),
    ),
    Claim(
        id="alias_first",
        statement="On the test points the alias, k = 1, comes before the truth: its peak, while k = 6 is at most 0.15.",
        metric="F1_peak",
        bound=at_least(0.35),
        where=MEASURED,
        controls=(Control("120 even points", UNIFORM, metric="F1_peak"),),
        value=metric_where("F1_peak", "F6_at_F1_peak", most=0.15),
    ),
    Claim(
        id="alias_leaves_test",
        statement="In the end the alias is gone from the test points, and k = 6 is there, at least 0.4.",
        metric="F1_end",
        bound=at_most(0.05),
        where=MEASURED,
        controls=(Control("at its peak", metric="F1_peak"),),
        value=metric_where("F1_end", "F6_end", least=0.4),
    ),
    Claim(
        id="alias_stays_on_train",
        statement="On the training points it stays, as large as in their labels: the difference.",
        metric="F1_error",
        bound=at_most(0.02),
        where=MEASURED,
        controls=(Control("120 even points: the labels hold no k = 1", UNIFORM, below(1e-6), metric="label_F1"),),
    ),
)


# ---- Figure ----

STRONGEST = 0.7  # the upper end of the axes of |F|
HALF = 0.5  # |F| of a sine of amplitude 1, evenly sampled


def panels(history: History) -> list[Panel]:
    """Losses and function; spectrum by step on the training points, and now; the same on the test points.

    The maps, the function and the stems show the first run.
    """
    known = "label_spectrum" in history
    labels = history["label_spectrum"][0, 0] if known else np.full(len(FREQUENCIES), np.nan)
    truth = np.where(FREQUENCIES == 6, HALF, 0.0)
    return [
        _losses(history),
        _function(history),
        _map(history, "train_spectrum", "On the training points"),
        _stems(history, "train_spectrum", "Training points now", labels, "labels", TRAIN),
        _map(history, "test_spectrum", "On the test points"),
        _stems(history, "test_spectrum", "Test points now", truth, "sin 6x", TEST),
    ]


def _losses(history: History) -> Panel:
    t_train, t_test = (first_below(*recorded(history, name, 1), LEVEL) for name in ("train_loss", "test_loss"))
    return Panel(
        "Loss",
        log_steps(history),
        Axis("mean squared error", log=True),
        [
            recorded_line(history, "train_loss", "training", TRAIN, start=1),
            recorded_line(history, "test_loss", "test", TEST, start=1),
            *delay_marks(t_train, t_test, f"training < {LEVEL}", f"test < {LEVEL}"),
        ],
    )


def _function(history: History) -> Panel:
    x, known = test_points(), "output" in history
    output = newest(history, "output", len(x))[0]
    x_train = history["train_x"][0, 0] if known else np.empty(0)
    labels = history["labels"][0, 0] if known else np.empty(0)
    return Panel(
        "Function",
        Axis("x", range=(-np.pi, np.pi)),
        Axis("f(x)", range=(-2.2, 2.2)),
        [
            Line("network", x, output, TEST),
            Line("training points", x_train, labels, TRAIN, markers="points"),
            Line("sin 6x", x, target(x), GREY, dash=True, width=1.5),
            Line("sin x, the alias", x, np.sin(x), GREY, dash=True, width=0.8),
        ],
    )


def _map(history: History, name: str, title: str) -> Panel:
    heat = map_by_step(history, name, FRAMES, FREQUENCIES, "|F<sub>k</sub>|", STRONGEST)
    return Panel(title, log_steps(history), Axis("frequency k"), [heat])


def _stems(history: History, name: str, title: str, truth: Array, label: str, color: str) -> Panel:
    """The outputs' spectrum at the last frame as points, that of what they should be as stems from 0."""
    now = newest(history, name, len(FREQUENCIES))[0]
    gap = np.full(len(truth), np.nan)
    stems = np.stack([np.zeros(len(truth)), truth, gap], axis=1).ravel()
    heights = np.stack([FREQUENCIES, FREQUENCIES, gap], axis=1).ravel()
    return Panel(
        title,
        Axis("|F<sub>k</sub>|", range=(0, STRONGEST)),
        Axis("frequency k", range=(-0.5, 15.5)),
        [
            Line("outputs", now, FREQUENCIES.astype(np.float64), color, markers="points"),
            Line(label, stems, heights, GREY, dash=True),
        ],
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="grokking.oned",
    title="Grokking through frequency",
    question="Does a network learn a low frequency that only the training points suggest, and unlearn it later?",
    paper="2405.17479",
    seconds=1.2,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: network(history.config),
)
