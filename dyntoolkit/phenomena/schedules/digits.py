"""Does a real network catch up as well? Handwritten digits, a small batch that becomes large, noise on the targets.

After arXiv 2602.14208, whose networks are language models, on the digits that come with scikit-learn.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.data import one_hot_digits
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.initialization import lecun, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Claim, Control, Experiment, Preset, at_least, at_most, config, number, settings
from dyntoolkit.figure.panels import GREEN, ORANGE, Axis, Level, Mark, Panel, median_line
from dyntoolkit.figure.recorded import healthy
from dyntoolkit.laboratory.problem import Problem, own_split
from dyntoolkit.phenomena.schedules._switch import COLORS, SCHEDULES, apart, check_batches, weights, why_no_gap, window

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run: a small batch, a large one, and a switch between them, with equally many steps."""

    lr: float = number(0.05, 0.01, 0.2, label="learning rate η", help="step size", log=True, main=True)
    noise_std: float = number(
        1.0, 0.0, 2.0, label="label noise σ", help="of the targets, fresh with every sample", main=True
    )
    init_scale: float = number(
        1.0, 0.1, 3.0, label="initialization scale", help="factor on the initial weights", log=True, main=True
    )
    small_batch: int = number(
        4, 1, 16, label="small batch", help="batch before the switch", doubling=True, structural=True
    )
    large_batch: int = number(
        64, 16, 128, label="large batch", help="batch after the switch", doubling=True, structural=True
    )
    switch: float = number(0.75, 0.1, 0.95, label="switch", help="share of the steps before the switch", main=True)
    width: int = number(64, 16, 128, label="width", help="hidden units", log=True, structural=True)
    n_train: int = number(1200, 300, 1500, label="training images n", help="the rest tests", structural=True)
    steps: int = number(3000, 500, 4000, label="steps", help="updates", log=True, structural=True)

    def check(self) -> None:
        """The large batch is larger."""
        check_batches(self.small_batch, self.large_batch)

    def warnings(self) -> list[str]:
        """A learning rate that a small batch does not bear."""
        if self.lr > 0.15 and self.small_batch <= 4:
            return [f"a learning rate of {self.lr:g} diverges with batches of {self.small_batch}."]
        return []

    @property
    def switch_step(self) -> int:
        """K, the first step with the large batch."""
        return round(self.switch * self.steps)


CLEAN = {"noise_std": 0.0}

PRESETS = {
    "noisy": Preset("After the switch most of the gap closes within 300 steps, but not all of it."),
    "small_start": Preset("From a small start it joins the large-batch curve.", {"init_scale": 0.3}),
    "clean": Preset("Without noise on the targets a small batch costs little.", CLEAN),
    "early": Preset("Switched after a quarter of the steps.", {"switch": 0.25}),
    "late": Preset("Switched at the very end: hardly any samples used.", {"switch": 0.9}),
}


# ---- Data, model, step ----

EVERY = 25  # steps between two frames
EARLY = (1, 2, 4, 8, 16)  # further ones, of a run that is about to diverge


def draw_data(config: Config, seeds: Sequence[int]) -> Problem:
    """The 1797 digits in an order of each run's own, pixels in [0, 1] and one-hot labels: n_train to train on."""
    x, y = one_hot_digits()
    return own_split(x, y, config.n_train, 0, Stream(seeds, "split"))


def network(config: Config) -> MLP:
    """64-width-10, tanh, with biases and a linear output."""
    return MLP((64, config.width, 10), torch.tanh)


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """W ~ N(0, init_scale^2/fan_in), biases 0, (R, P)."""
    net = network(configs[0])
    return normal_init(net, Stream(seeds, "init"), lecun(net, per_run(configs, "init_scale")))


class State(NamedTuple):
    """The weights of the three schedules, (R, 3, P)."""

    theta: Tensor


class Batch(NamedTuple):
    """B = large_batch images by number, noise on their targets, and the weight of each in each schedule's batch."""

    images: Tensor  # (R, B)
    noise: Tensor  # (R, B, 10)
    weight: Tensor  # (R, 3, B)


def make_batches(configs: Sequence[Config], seeds: Sequence[int]) -> Callable[[int, int], Batch]:
    """The batches of steps k0..k1-1, drawn with replacement: the small batch is the first part of the large one."""
    B, n = configs[0].large_batch, configs[0].n_train
    images, noises = Stream(seeds, "images"), Stream(seeds, "noise")
    noise_std = per_run(configs, "noise_std", ndim=4)  # (R, 1, 1, 1)

    def batches(k0: int, k1: int) -> Batch:
        noise = noise_std * noises.normal(k1 - k0, B, 10)  # (R, K, B, 10)
        return Batch(images.indices(n, k1 - k0, B).transpose(0, 1), noise.transpose(0, 1), weights(configs, k0, k1))

    return batches


def loss(output: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """Half the squared error, summed over the 10 outputs, and over images with these weights (N, n): (N,)."""
    return (weight * (output - y).square().sum(2)).sum(1) / 2


def make_step(net: MLP, data: Problem, lr: Tensor) -> Callable[[State, Batch], State]:
    """SGD of all three schedules. lr: (R, 1, 1)."""
    runs = torch.arange(len(data.x), dtype=torch.int64)[:, None]  # (R, 1)
    loss_and_gradient = value_and_grad(lambda theta, x, y, weight: loss(net(theta, x), y, weight))

    def step(state: State, batch: Batch) -> State:
        x = data.x[runs, batch.images]  # (R, B, 64)
        y = data.y[runs, batch.images] + batch.noise  # fresh for every sample and step, (R, B, 10)
        three = (of_copies(part, 3) for part in (x, y))  # (3R, B, ...)
        _, gradient = loss_and_gradient(state.theta.flatten(0, 1), *three, batch.weight.flatten(0, 1))  # (3R, P)
        return State(state.theta - lr * gradient.view(state.theta.shape))

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """The three networks of all runs in one loop, on the same images and noise.

    Values (R, 3) every 25 steps, and at a few early ones: train_loss, test_loss, accuracy (on the test images), against
    clean labels.
    """
    config, data = configs[0], draw_data(configs[0], seeds)
    net = network(config)
    theta = initial_theta(configs, seeds)  # (R, P)
    train_x, train_y, test_x, test_y = (
        of_copies(part, 3) for part in (data.x, data.y, data.test_x, data.test_y)
    )  # (3R, n, ...)

    def measure(k: int, state: State) -> dict[str, Array]:
        theta, shape = state.theta.flatten(0, 1), state.theta.shape[:2]
        output = net(theta, test_x)  # (3R, n, 10)
        found = {
            "train_loss": mean_loss(net(theta, train_x), train_y),
            "test_loss": mean_loss(output, test_y),
            "accuracy": (output.argmax(2) == test_y.argmax(2)).double().mean(1),
        }
        # of a run that is about to diverge they may be infinite
        return {name: value.nan_to_num(torch.nan, torch.nan).view(shape).numpy() for name, value in found.items()}

    return train(
        State(theta[:, None].repeat(1, 3, 1)),
        make_step(net, data, per_run(configs, "lr", ndim=3)),
        make_batches(configs, seeds),
        sorted({*range(0, config.steps, EVERY), *EARLY, config.steps}),
        measure,
    )


def mean_loss(output: Tensor, y: Tensor) -> Tensor:
    """The loss over all images, float64 (N,)."""
    return loss(output, y, torch.full(y.shape[:2], 1 / y.shape[1], dtype=torch.float32)).double()


# ---- What is measured, claims ----

LAST = 8  # frames at the end over which the claims look


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, on the test loss, (R,) each.

    before: small/large - 1 in the last 5 frames before the switch; after300: switched/large - 1 in the 2 frames around
    300 steps after it; end and never: switched/large - 1 and small/large - 1 in the last 8 frames; closed300:
    1 - after300/before. accuracy_small, accuracy_large, accuracy_switched: in the last 8 frames.
    """
    K = np.array([c.switch_step for c in history.configs])
    steps, losses = history.at("test_loss"), history["test_loss"]  # (T,), (T, R, 3)
    small, large, _ = window(steps, losses, K - 5 * EVERY, K).T
    _, large_after, switched_after = window(steps, losses, K + 300 - EVERY, K + 300 + EVERY).T
    small_end, large_end, switched_end = losses[-LAST:].mean(0).T
    accuracy = history["accuracy"][-LAST:].mean(0)  # (R, 3)
    with np.errstate(all="ignore"):  # of a run that is about to diverge
        before, after300 = small / large - 1, switched_after / large_after - 1
        return {
            "before": before,
            "after300": after300,
            "closed300": 1 - after300 / before,
            "end": switched_end / large_end - 1,
            "never": small_end / large_end - 1,
            **{f"accuracy_{name}": accuracy[:, s] for s, name in enumerate(SCHEDULES)},
        }


# where the recipe found it
NOISY = settings(
    lr=0.05,
    noise_std=1.0,
    init_scale=1.0,
    small_batch=4,
    large_batch=64,
    switch=0.75,
    width=64,
    n_train=1200,
    steps=at_least(3000),
)
SMALL_START = settings(**{**NOISY.fields, "init_scale": 0.3})
KEPT = Control("the small batch kept", metric="never")

CLAIMS = (
    Claim(
        id="noise_costs",
        statement="The small batch pays for its noise: its test loss over that of the large one, before the switch.",
        metric="before",
        bound=at_least(0.7),
        where=NOISY,
        controls=(Control("no noise on the targets", CLEAN),),
    ),
    Claim(
        id="catches_up",
        statement="Most of the gap closes within 300 steps of the switch.",
        metric="closed300",
        bound=at_least(0.7),
        where=NOISY,
        controls=(Control("no noise on the targets", CLEAN),),
    ),
    Claim(
        id="stays_close",
        statement="At the end it is close to the large-batch curve.",
        metric="end",
        bound=at_most(0.35),
        where=NOISY,
        controls=(KEPT,),
    ),
    Claim(
        id="joins",
        statement="From a small start it joins the large-batch curve.",
        metric="end",
        bound=at_most(0.1),
        where=SMALL_START,
        preset="small_start",
        controls=(Control("initialization scale 1", {"init_scale": 1.0}), KEPT),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Test loss, accuracy, and what is left of the gap after the switch. The median over several runs, with a band."""
    switch = Level("switch", x=history.config.switch_step)
    losses = _three(history, "test_loss")
    accuracies = _three(history, "accuracy")
    return [
        Panel("Test loss", Axis("step"), Axis("½ squared error", log=True), [*losses, switch]),
        Panel("Test accuracy", Axis("step"), Axis("share of images", range=(0, 1.03)), [*accuracies, switch]),
        _gap(history),
    ]


def _three(history: History, name: str) -> list[Mark]:
    """A line for each schedule."""
    steps, values = healthy(history, name)
    values = values if len(steps) else np.empty((0, len(history.seeds), 3))
    return [
        median_line(schedule, steps[shown], values[shown][:, :, s], color)
        for s, (schedule, color, shown) in enumerate(zip(SCHEDULES, COLORS, apart(history.config, steps), strict=True))
    ]


def _gap(history: History) -> Panel:
    """switched/large - 1 and small/large - 1 from the switch on."""
    first = history.config.switch_step
    steps, losses = healthy(history, "test_loss")
    losses = losses if len(steps) else np.empty((0, len(history.seeds), 3))
    after = steps > first
    with np.errstate(all="ignore"):
        gap = losses[after] / losses[after][:, :, 1:2] - 1  # (T, R, 3)
    small, _, switched = gap.transpose(2, 0, 1)  # (T, R) each
    return Panel(
        "Above the large batch",
        Axis("steps after the switch"),
        Axis("test loss / that of large − 1"),
        [
            median_line("small", steps[after] - first, small, ORANGE, markers="both"),
            median_line("switched", steps[after] - first, switched, GREEN, markers="both"),
            Level("joined", y=0.0),
        ],
        why_no_gap(history),
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="schedules.digits",
    title="Catching up on real digits",
    question="Does a real network catch up with the large batch after a late switch?",
    paper="2602.14208",
    seconds=1.8,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: network(history.config),
)
