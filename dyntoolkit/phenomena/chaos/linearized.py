"""What is lost if the network is replaced, from some step on, by its linearization there?

arXiv 2503.16316: training inside the cone has an advantage over fully linearized training. Said there of networks and
data that are not tried here; these are small networks on scikit-learn's digits.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.layers import MLP, linear
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import Momentum, momentum
from dyntoolkit.engine.without_infinity import without_infinity
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    above,
    at_least,
    at_most,
    defaults,
    number,
)
from dyntoolkit.figure.family import sequential
from dyntoolkit.figure.panels import MEASURED, RED, TEST, Axis, Level, Line, Mark, Panel, median_line, medians, positive
from dyntoolkit.figure.recorded import newest, recorded
from dyntoolkit.laboratory.losses import cross_entropy
from dyntoolkit.laboratory.problem import Problem
from dyntoolkit.phenomena.chaos import _training
from dyntoolkit.phenomena.chaos._training import network
from dyntoolkit.probes.accuracy import accuracy

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(_training.Config):
    """Settings of one training and of its linearized copies."""

    lr: float = number(0.03, 0.003, 0.15, label="learning rate η", help="step size", log=True, main=True)
    init_scale: float = number(
        0.5, 0.1, 2.0, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    n_train: int = number(500, 200, 1000, label="training images n", help="the rest tests", log=True, structural=True)


SOFTMAX = {"hidden": 0}

PRESETS = {
    "small_start": Preset("Linearized at the start it fits worse and generalizes worse; from step 300 on it does not."),
    "standard_start": Preset("Weights twice as large at the start: nearer to its linearization.", {"init_scale": 1.0}),
    "noisy": Preset("A fifth of the labels wrong: the linearized network fits them more slowly.", {"label_noise": 0.2}),
    "softmax": Preset("Without hidden layers the network is its linearization.", SOFTMAX),
}


# ---- Data, model, step ----

# Data, network, heavy ball and batches: `chaos._training`

STARTS = (0, 30, 100, 300, 1000)  # steps t0 at which a copy is linearized
EVERY = 100  # steps between two frames


def starts(steps: int) -> list[int]:
    """The steps t0 of the copies of a training of so many steps."""
    return [t0 for t0 in STARTS if t0 < steps]


class State(NamedTuple):
    """The training itself, and its C copies f(x; base) + J(x; base) delta.

    theta, velocity: (R, P). base, delta, delta_velocity: (R, C, P).
    """

    theta: Tensor
    velocity: Tensor
    base: Tensor
    delta: Tensor
    delta_velocity: Tensor


class Batch(NamedTuple):
    """What the updates of a block see. factor: (K,) of the learning rate. samples: (K, R, B) training images.

    linearized: (K, C) whether a copy is linearized after this update.
    """

    factor: Tensor
    samples: Tensor
    linearized: Tensor


def tangent_pass(model: MLP, base: Tensor, delta: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """f(x; base) + J(x; base) delta, (M, n, 10), and the input of every layer at base. base, delta: (M, P)."""
    h, dh = x, torch.zeros_like(x)  # (M, n, 64)
    inputs = []
    layers = list(zip(model.split(base), model.split(delta), strict=True))
    for k, ((W, b), (dW, db)) in enumerate(layers):
        inputs.append(h)
        # dZ_l = H_{l-1} dW_l + db_l + dH_{l-1} W_l
        z, dz = linear(h, W, b), linear(h, dW, db) + dh @ W  # (M, n, width)
        if k < len(layers) - 1:
            # dH_l = dZ_l 1(Z_l > 0)
            h, dh = z.relu(), dz * (z > 0)
    return z + dz, inputs


def linearized_gradient(model: MLP, base: Tensor, delta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Gradient (M, P) of the mean cross-entropy of `tangent_pass` by delta. y: (M, n)."""
    outputs, inputs = tangent_pass(model, base, delta, x)
    one_hot = (y[:, :, None] == torch.arange(10, dtype=y.dtype)).to(x.dtype)  # (M, n, 10)
    error = (outputs.softmax(2) - one_hot) / x.shape[1]  # by the outputs
    blocks: list[Tensor] = []
    for h, (W, _) in zip(reversed(inputs), reversed(model.split(base)), strict=True):
        blocks = [(h.mT @ error).flatten(1), error.sum(1), *blocks]  # W, b
        error = (error @ W.mT) * (h > 0)  # before the activation; of no use at the images
    return torch.cat(blocks, 1)


def linearize(state: State, now: Tensor) -> State:
    """Begin the copies for which now (C,) is true anew at the training as it is, momentum included."""
    now = now[:, None]  # (C, 1)
    return state._replace(
        base=torch.where(now, state.theta[:, None], state.base),
        delta=torch.where(now, 0, state.delta),
        delta_velocity=torch.where(now, state.velocity[:, None], state.delta_velocity),
    )


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks and their linearized copies on the same batches; a frame every 100 steps.

    Until its step a copy trains unseen, linearized at the start, so that one program serves from the first step to the
    last. Values: see `measure`.
    """
    config, problem, model = configs[0], _training.draw(configs, seeds), network(configs[0])
    after = torch.tensor(starts(config.steps), dtype=torch.int64)  # (C,)
    copies = len(after)
    lr, mu = per_run(configs, "lr"), per_run(configs, "momentum")  # (R,) each
    runs = torch.arange(len(seeds), dtype=torch.int64)[:, None]  # (R, 1)
    loss_and_gradient = value_and_grad(lambda theta, x, y: cross_entropy(model(theta, x), y))

    def step(state: State, batch: Batch) -> State:
        x, y = problem.x[runs, batch.samples], problem.y[runs, batch.samples]  # (R, B, 64), (R, B)
        rate = lr * batch.factor
        _, g = loss_and_gradient(state.theta, x, y)
        # b <- momentum b + g, theta <- theta - eta_t b
        full = momentum(Momentum(state.theta, state.velocity), g, rate, mu)
        delta = Momentum(state.delta.flatten(0, 1), state.delta_velocity.flatten(0, 1))  # (R C, P)
        x, y = of_copies(x, copies), of_copies(y, copies)
        g = linearized_gradient(model, state.base.flatten(0, 1), delta.theta, x, y)  # (R C, P)
        delta = momentum(delta, g, of_copies(rate, copies), of_copies(mu, copies))
        shape = state.delta.shape
        moved = State(*full, state.base, delta.theta.view(shape), delta.velocity.view(shape))
        return linearize(moved, batch.linearized)

    drawn = _training.batches(configs, seeds)

    def batches(k0: int, k1: int) -> Batch:
        linearized = torch.arange(k0 + 1, k1 + 1, dtype=torch.int64)[:, None] == after  # (K, C)
        return Batch(*drawn(k0, k1), linearized)

    theta = _training.initial(configs, seeds)  # (R, P)
    base = theta[:, None].repeat(1, copies, 1)  # (R, C, P)
    start = State(theta, torch.zeros_like(theta), base, torch.zeros_like(base), torch.zeros_like(base))
    record = sorted({*range(0, config.steps, EVERY), config.steps, *after.tolist()})
    return train(start, step, batches, record, lambda k, state: measure(k, state, config, problem))


# ---- What is measured, claims ----


def measure(k: int, state: State, config: Config, problem: Problem) -> dict[str, Array]:
    """What a frame at step k shows: train_loss on all training images as they are labelled, and test_accuracy.

    (R, 1 + 5): of full training, then of the copies linearized at STARTS, NaN before they are there.
    """
    model, (runs, *_) = network(config), state.base.shape
    loss = torch.full((runs, 1 + len(STARTS)), torch.nan, dtype=torch.float64)
    right = loss.clone()
    loss[:, 0] = cross_entropy(model(state.theta, problem.x), problem.y)
    right[:, 0] = torch.from_numpy(accuracy(model(state.theta, problem.test_x), problem.test_y))
    there = sum(t0 <= k for t0 in starts(config.steps))
    base, delta = (part[:, :there].flatten(0, 1) for part in (state.base, state.delta))  # (R C', P)
    x, y, test_x, test_y = (of_copies(part, there) for part in (problem.x, problem.y, problem.test_x, problem.test_y))
    loss[:, 1 : 1 + there] = cross_entropy(tangent_pass(model, base, delta, x)[0], y).view(runs, there)
    found = accuracy(tangent_pass(model, base, delta, test_x)[0], test_y)
    right[:, 1 : 1 + there] = torch.from_numpy(found).view(runs, there)
    return {"train_loss": without_infinity(loss), "test_accuracy": without_infinity(right)}


def metrics(history: History) -> dict[str, Array]:
    """What linearizing at step t0 costs, name -> (R,); NaN for a copy that is not there.

    gap_<t0>: test accuracy of full training minus that of the copy. ratio_<t0>: training loss of the copy over that of
    full training. train_loss, test_accuracy: of full training. All of the newest frame.
    """
    gap, ratio = gaps(history)
    full = {name: newest(history, name, 1)[:, 0] for name in ("train_loss", "test_accuracy")}
    return {
        **{f"gap_{t0}": gap[:, k] for k, t0 in enumerate(STARTS)},
        **{f"ratio_{t0}": ratio[:, k] for k, t0 in enumerate(STARTS)},
        **full,
    }


def gaps(history: History) -> tuple[Array, Array]:
    """Gap in test accuracy and ratio of training losses of the copies in the newest frame, (R, 5) each."""
    if "train_loss" not in history:
        nothing = np.full((len(history.seeds), len(STARTS)), np.nan)
        return nothing, nothing
    loss, right = history.last("train_loss"), history.last("test_accuracy")  # (R, 6)
    full = loss[:, :1]
    ratio = np.divide(loss[:, 1:], full, out=np.full_like(loss[:, 1:], np.nan), where=full > 0)
    return right[:, :1] - right[:, 1:], ratio


def late_gap(found: Metrics, config: object) -> Array:
    """|gap_300| where the training loss is at most twice as large (ratio_300), NaN elsewhere."""
    return np.where(found["ratio_300"] <= 2, np.abs(found["gap_300"]), np.nan)


CLAIMS = (
    Claim(
        id="linear_from_start_hurts",
        statement="Linearized at the start it recognizes at least one in a hundred test images less.",
        metric="gap_0",
        bound=at_least(0.01),
        where=defaults(),
        controls=(
            Control("no hidden layer", SOFTMAX),
            Control("linearized at step 1000", metric="gap_1000"),
        ),
    ),
    Claim(
        id="linear_from_start_fits_worse",
        statement="And its training loss ends at least 50 times as large.",
        metric="ratio_0",
        bound=at_least(50),
        where=defaults(),
        controls=(
            Control("no hidden layer", SOFTMAX),
            Control("linearized at step 1000", metric="ratio_1000"),
        ),
    ),
    Claim(
        id="late_phase_is_linear",
        statement="Linearized at step 300 it does as well: test accuracy within a hundredth, training loss at most "
        "twice as large.",
        metric="gap_300",
        bound=at_most(0.01),
        where=defaults(),
        controls=(
            Control("linearized at the start: gap", metric="gap_0"),
            Control("linearized at the start: ratio of losses", bound=above(2), metric="ratio_0"),
        ),
        value=late_gap,
    ),
)


def exact(value: float, config: Config) -> float:
    """What theory says without hidden layers: the network is its linearization."""
    return value if config.hidden == 0 else np.nan


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Training loss and test error of full training and of all copies; gap in accuracy and ratio against t0."""
    step = Axis("step", range=(0, history.config.steps))
    steps, loss = recorded(history, "train_loss")
    _, right = recorded(history, "test_accuracy")
    gap, ratio = gaps(history)
    ratio = 10 ** np.round(np.log10(positive(ratio)), 4)  # rounding is nothing to look at
    return [
        Panel(
            "Training loss",
            step,
            Axis("cross-entropy (nats)", log=True),
            _courses(steps, loss),
        ),
        Panel("Test error", step, Axis("error rate", log=True), _courses(steps, 1 - right)),
        Panel(
            "Accuracy lost",
            _start_axis(),
            Axis("gap in test accuracy"),
            [_by_start("full − linearized", gap, RED), Level("none", y=0.0)],
        ),
        Panel(
            "Loss against loss",
            _start_axis(),
            Axis("ratio of training losses", log=True),
            [_by_start("linearized / full", ratio, MEASURED), Level("the same", y=1.0)],
        ),
    ]


ZERO = 10  # where the logarithmic axis shows step 0


def _start_axis() -> Axis:
    return Axis(f"linearized at step t₀ (0 is drawn at {ZERO})", log=True, range=(0.8 * ZERO, 1.25 * STARTS[-1]))


def _by_start(label: str, values: Array, color: str) -> Line:
    at = np.array([ZERO, *STARTS[1:]], dtype=np.float64)
    return median_line(label, at, values.T, color, markers="both")


def _courses(steps: Array, values: Array) -> list[Mark]:
    """Full training, and each copy from its t0 on, dark for the first one; the median of several runs.

    steps: (T,). values: (T, R, 6), or (0, R) before there are any.
    """
    courses = medians(values.swapaxes(1, 2)) if len(values) else np.empty((0, 1 + len(STARTS)))  # (T, 6)
    lines: list[Mark] = [
        Line(f"linearized at {t0}", steps, courses[:, 1 + k], color, width=1.6)
        for k, (t0, color) in enumerate(zip(STARTS, sequential(len(STARTS)), strict=True))
    ]
    return [Line("full training", steps, courses[:, 0], TEST, width=2.4), *lines]


# ---- The record ----

EXPERIMENT = Experiment(
    name="chaos.linearized",
    title="Linearized from step t₀ on",
    question="What is lost if the network is replaced, from some step on, by its linearization there?",
    paper="2503.16316",
    seconds=2.6,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: network(history.config),
    predictions={
        **{f"gap_{t0}": lambda config: exact(0.0, config) for t0 in STARTS},
        **{f"ratio_{t0}": lambda config: exact(1.0, config) for t0 in STARTS},
    },
)
