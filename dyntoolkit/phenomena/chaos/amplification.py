"""How far apart do two trainings end that differed by a hundredth of a percent at one step?

arXiv 2505.13900: training is chaotic at first, and stable later. Said there of VGG-16 and ResNet-20 on CIFAR-10, which
are not tried here; these are small networks on scikit-learn's digits.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Momentum, momentum
from dyntoolkit.engine.without_infinity import without_infinity
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    at_least,
    at_most,
    defaults,
    metric_where,
    number,
)
from dyntoolkit.figure.family import sequential
from dyntoolkit.figure.panels import MEASURED, RED, TRAIN, Axis, Level, Line, Panel, median_line, medians
from dyntoolkit.figure.recorded import newest, recorded, recorded_line
from dyntoolkit.laboratory.losses import cross_entropy
from dyntoolkit.laboratory.problem import Problem
from dyntoolkit.phenomena.chaos import _training
from dyntoolkit.phenomena.chaos._training import network
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.amplification import amplification
from dyntoolkit.probes.barrier import along_segment
from dyntoolkit.probes.crossing_times import first_below
from dyntoolkit.probes.disagreement import disagreement

Tensor = torch.Tensor

# ---- Settings and presets ----

KICKS = (0, 0.005, 0.015, 0.05, 0.1, 0.2, 0.4, 0.75)  # of all steps


class Config(_training.Config):
    """Settings of one training and of its eight perturbed copies."""

    eps: float = number(
        1e-4, 1e-6, 1e-2, label="size of the kick ε", help="relative to all weights", log=True, main=True
    )

    @property
    def kicks(self) -> list[int]:
        """The steps t0 at which a copy is made and kicked."""
        return [round(self.steps * share) for share in KICKS]


NOISY = {"label_noise": 0.2}
SOFTMAX = {"hidden": 0}

PRESETS = {
    "chaos": Preset("A kick at the start is amplified until it saturates; one at the end is not."),
    "softmax": Preset("Without hidden layers the problem is convex, and kicks shrink.", SOFTMAX),
    "gentle": Preset("A tenth of the learning rate: a hundredfold only, and soon over.", {"lr": 0.01}),
    "noisy": Preset("A fifth of the labels wrong: chaos to the end.", NOISY),
    "noisy_cosine": Preset("The same with a rate that decays: chaos, then stable.", {**NOISY, "decay": "cosine"}),
    "tiny_kick": Preset("A kick of a millionth: its growth can be watched.", {"eps": 1e-6}),
}


# ---- Data, model, step ----

# Data, network, heavy ball and batches: `chaos._training`

EVERY, SELDOM = 20, 200  # steps between two frames, and between two looks at the test images


class Batch(NamedTuple):
    """What the updates of a block see. factor: (K,) of the learning rate. samples: (K, R, B) training images.

    kicked: (K, C) whether a copy is made after this update; the first of the C is the training itself.
    """

    factor: Tensor
    samples: Tensor
    kicked: Tensor


def kick(state: Momentum, now: Tensor, eps: Tensor, u: Tensor) -> Momentum:
    """Make the copies for which now (C,) is true from the first network, momentum included, and kick them.

    state: theta, velocity (R, C, P). eps: (R,). u: unit vectors (R, C, P).
    """
    theta, velocity = state.theta[:, :1], state.velocity[:, :1]  # (R, 1, P)
    # theta <- theta + eps |theta| u
    kicked = theta + eps[:, None, None] * torch.linalg.vector_norm(theta, dim=2, keepdim=True) * u
    return Momentum(torch.where(now[:, None], kicked, state.theta), torch.where(now[:, None], velocity, state.velocity))


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train a network and its copies, each kicked at its step, on the same batches; a frame every 20 steps.

    A copy that is not made yet trains along unseen, so that one program serves from the first step to the last.
    Values: see `measure`.
    """
    config, problem, model = configs[0], _training.draw(configs, seeds), network(configs[0])
    copies = 1 + len(config.kicks)  # C
    lr, mu, eps = (per_run(configs, name) for name in ("lr", "momentum", "eps"))  # (R,) each
    runs = torch.arange(len(seeds), dtype=torch.int64)[:, None]  # (R, 1)
    u = Stream(seeds, "kicks").normal(copies, model.parameters)  # (R, C, P)
    u = u / torch.linalg.vector_norm(u, dim=2, keepdim=True)
    loss_and_gradient = value_and_grad(lambda theta, x, y: cross_entropy(model(theta, x), y))

    def step(state: Momentum, batch: Batch) -> Momentum:
        x, y = problem.x[runs, batch.samples], problem.y[runs, batch.samples]  # (R, B, 64), (R, B)
        x, y = of_copies(x, copies), of_copies(y, copies)  # (R C, B, 64), (R C, B)
        weights = Momentum(state.theta.flatten(0, 1), state.velocity.flatten(0, 1))  # (R C, P)
        _, g = loss_and_gradient(weights.theta, x, y)
        # b <- momentum b + g, theta <- theta - eta_t b
        weights = momentum(weights, g, of_copies(lr * batch.factor, copies), of_copies(mu, copies))
        moved = Momentum(weights.theta.view(state.theta.shape), weights.velocity.view(state.theta.shape))
        return kick(moved, batch.kicked, eps, u)

    drawn = _training.batches(configs, seeds)
    after = torch.tensor([-1, *config.kicks], dtype=torch.int64)  # (C,): the training itself is never kicked

    def batches(k0: int, k1: int) -> Batch:
        kicked = torch.arange(k0 + 1, k1 + 1, dtype=torch.int64)[:, None] == after  # (K, C)
        return Batch(*drawn(k0, k1), kicked)

    start = Momentum.start(_training.initial(configs, seeds)[:, None].repeat(1, copies, 1))  # (R, C, P)
    start = kick(start, after == 0, eps, u)
    record = sorted({*range(0, config.steps, EVERY), config.steps, *config.kicks})
    return train(start, step, batches, record, lambda k, state: measure(k, state.theta, configs, problem))


# ---- What is measured, claims ----

FIT = 0.01  # training loss below which the labels count as fitted
FIT_EVERY = 100  # steps at which that is asked
CHAOTIC = 10.0  # amplification from which on a kick counts as amplified
LEAST = 1e-12  # in place of no difference at all, which has no logarithm
SATURATED = 0.6  # of |theta|: about how far apart two trainings end at most


def measure(k: int, theta: Tensor, configs: Sequence[Config], problem: Problem) -> dict[str, Array]:
    """What a frame at step k shows of a training and its K copies, theta (R, 1 + K, P).

    amplification: (R, K) of each copy, NaN before it is made. train_loss: (R,) of the training itself, on all training
    images. Every 200 steps and at the end test_accuracy (R,), and disagreement (R, K): the share of test images that a
    copy puts into another class. At the end barrier (R, K): how far the training loss rises on the straight way between
    a copy and the training itself.
    """
    config, model = configs[0], network(configs[0])
    trunk, copies = theta[:, 0], theta[:, 1:]  # (R, P), (R, K, P)
    made = torch.tensor(config.kicks) <= k  # (K,)
    grown = amplification(copies, trunk, per_run(configs, "eps"))  # (R, K)
    values = {
        "amplification": torch.where(made, grown, torch.nan),
        "train_loss": cross_entropy(model(trunk, problem.x), problem.y).double(),
    }
    if k % SELDOM == 0 or k == config.steps:
        runs, networks, _ = theta.shape
        outputs = model(theta.flatten(0, 1), of_copies(problem.test_x, networks)).view(runs, networks, -1, 10)
        values["test_accuracy"] = torch.from_numpy(accuracy(outputs[:, 0], problem.test_y))
        values["disagreement"] = torch.where(made, disagreement(outputs[:, 1:], outputs[:, :1]), torch.nan)
    if k == config.steps:
        values["barrier"] = barriers(copies, trunk, config, problem)
    return {name: without_infinity(value) for name, value in values.items()}


def barriers(copies: Tensor, trunk: Tensor, config: Config, problem: Problem) -> Tensor:
    """Largest of the training loss at 11 points from each copy (R, K, P) to the trunk (R, P), minus its ends' mean."""
    model, count = network(config), copies.shape[1]
    x, y = of_copies(problem.x, count), of_copies(problem.y, count)
    path = along_segment(
        lambda theta: cross_entropy(model(theta, x), y).double(), copies.flatten(0, 1), of_copies(trunk, count)
    )  # (R K, 11)
    return (path.amax(1) - (path[:, 0] + path[:, -1]) / 2).view(copies.shape[:2])


def fit_time(history: History) -> Array:
    """The first of the steps 0, 100, 200, ... with a training loss below .01, (R,); NaN for never."""
    steps, losses = recorded(history, "train_loss")
    asked = steps % FIT_EVERY == 0
    return first_below(steps[asked], losses[asked], FIT)


def metrics(history: History) -> dict[str, Array]:
    """What became of the kicks by the end, name -> (R,); NaN for "never", and for what is not measured yet.

    amp_<t0>: log10 of the amplification of the kick at step t0; amp_first, amp_last: of the first and the last kick;
    drop: their difference. transition: the smallest t0 from which on no kick is amplified tenfold. disagreement_first,
    disagreement_last, barrier_first, barrier_last: see `measure`. t_fit: first of the steps 0, 100, 200, ... with
    training loss below .01. train_loss, test_accuracy: of the training itself, the newest.
    """
    kicks = history.config.kicks
    grown, changed, barrier = (newest(history, of, len(kicks)) for of in ("amplification", "disagreement", "barrier"))
    amp = np.log10(np.maximum(grown, LEAST))  # (R, K)
    calm = np.logical_and.accumulate(grown[:, ::-1] < CHAOTIC, axis=1)[:, ::-1]  # from t0 on
    return {
        **{f"amp_{t0}": amp[:, k] for k, t0 in enumerate(kicks)},
        "amp_first": amp[:, 0],
        "amp_last": amp[:, -1],
        "drop": amp[:, 0] - amp[:, -1],
        "transition": np.where(calm.any(1), np.array(kicks, dtype=np.float64)[calm.argmax(1)], np.nan),
        "disagreement_first": changed[:, 0],
        "disagreement_last": changed[:, -1],
        "barrier_first": barrier[:, 0],
        "barrier_last": barrier[:, -1],
        "t_fit": fit_time(history),
        "train_loss": newest(history, "train_loss"),
        "test_accuracy": newest(history, "test_accuracy"),
    }


SOFTMAX_CONTROL = Control("no hidden layer", SOFTMAX)
NOISY_CONTROL = Control("a fifth of the labels wrong", NOISY)

CLAIMS = (
    Claim(
        id="chaotic_start",
        statement="A kick at step 0 is amplified a thousandfold by the end.",
        metric="amp_first",
        bound=at_least(3),
        where=defaults(),
        controls=(SOFTMAX_CONTROL, Control("learning rate 0.01", {"lr": 0.01})),
    ),
    Claim(
        id="stable_end",
        statement="A kick after three quarters of the training is not: it grows threefold at most.",
        metric="amp_last",
        bound=at_most(0.5),
        where=defaults(),
        controls=(NOISY_CONTROL,),
    ),
    Claim(
        id="two_phases",
        statement="So there are two phases: the first kick grows at least 300 times as much as the last.",
        metric="drop",
        bound=at_least(2.5),
        where=defaults(),
        controls=(SOFTMAX_CONTROL, NOISY_CONTROL),
    ),
    Claim(
        id="seen_in_outputs",
        statement="The outputs show it: after the first kick at least 8 of 1000 test images get another answer, "
        "after the last one at most 2.",
        metric="disagreement_first",
        bound=at_least(0.008),
        where=defaults(),
        controls=(
            Control("no hidden layer", SOFTMAX, metric="disagreement_first"),
            Control("the last kick", bound=at_most(0.002), metric="disagreement_last"),
        ),
        value=metric_where("disagreement_first", "disagreement_last", most=0.002),
    ),
    Claim(
        id="cosine_stabilises",
        statement="With a decaying rate the stable phase comes back, although the wrong labels are never fitted.",
        metric="drop",
        bound=at_least(2),
        where=defaults(**NOISY, decay="cosine"),
        controls=(Control("constant learning rate", {"decay": "constant"}),),
        preset="noisy_cosine",
    ),
)


def saturation(config: Config) -> float:
    """log10 of the largest amplification there can be, where chaos goes so far: .6/eps."""
    chaotic = config.hidden >= 2 and config.lr / (1 - config.momentum) >= 1 - 1e-9
    return float(np.log10(SATURATED / config.eps)) if chaotic else np.nan


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Amplification by the step of the kick, and while it trains; training loss; what it does to the outputs."""
    config: Config = history.config
    fitted = medians(fit_time(history)[None])[0]
    fit = Level("labels fitted", x=float(fitted))
    step = Axis("step", range=(0, config.steps))
    saturated = Level("saturated: 0.6/ε", y=SATURATED / config.eps)
    unchanged = Level("A = 1", y=1.0)
    return [
        Panel(
            "What becomes of a kick, by its step",
            _kick_axis(config),
            Axis("amplification A", log=True),
            [_by_kick(history, "amplification", "A at the end", MEASURED, LEAST), unchanged, saturated, fit],
        ),
        Panel("Kicks while it trains", step, Axis("amplification A", log=True), [*_courses(history), saturated]),
        Panel(
            "Training loss",
            step,
            Axis("cross-entropy (nats)", log=True),
            [recorded_line(history, "train_loss", "training images", TRAIN), Level(f"{FIT:g}", y=FIT), fit],
        ),
        Panel(
            "What the outputs show of it",
            _kick_axis(config),
            Axis("share of test images"),
            [_by_kick(history, "disagreement", "another answer", RED), Level("none", y=0.0), fit],
        ),
    ]


def zero_place(config: Config) -> int:
    """Where the logarithmic axis shows the kick at step 0: left of the next one."""
    return max(1, round(config.kicks[1] / 3))


def _kick_axis(config: Config) -> Axis:
    place = zero_place(config)
    return Axis(f"step of the kick t₀ (0 is drawn at {place})", log=True, range=(0.8 * place, config.steps))


def _by_kick(history: History, name: str, label: str, color: str, least: float = 0.0) -> Line:
    """The newest values of the copies, or `least`, by the step at which they were kicked."""
    config: Config = history.config
    at = np.array([zero_place(config), *config.kicks[1:]], dtype=np.float64)
    values = newest(history, name, len(at)).T  # (K, R)
    return median_line(label, at, np.maximum(values, least), color, markers="both")


def _courses(history: History) -> list[Line]:
    """A(t0, t) of each kick from t0 on, dark for the first one; the median of several runs."""
    steps, grown = recorded(history, "amplification")  # (T,), (T, R, K)
    kicks = history.config.kicks
    grown = medians(grown.swapaxes(1, 2)) if len(grown) else np.empty((0, len(kicks)))  # (T, K)
    return [
        Line(f"t₀ = {t0}", steps, np.maximum(grown[:, k], LEAST), color, width=1.6)
        for k, (t0, color) in enumerate(zip(kicks, sequential(len(kicks)), strict=True))
    ]


# ---- The record ----

EXPERIMENT = Experiment(
    name="chaos.amplification",
    title="A kick too small to see",
    question="How far apart do two trainings end that differed by 0.01 % at one step?",
    paper="2505.13900",
    seconds=1.7,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: network(history.config),
    predictions={"amp_first": saturation},
)
