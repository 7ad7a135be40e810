"""After the first third of training, does the tangent kernel stop, or does it go on moving inside a narrow cone?

arXiv 2505.13900: after chaos, the empirical tangent kernel keeps changing but stays in a narrow cone; arXiv 2503.16316.
Said there of VGG-16 and ResNet-20 on CIFAR-10, which are not tried here; these are small networks on scikit-learn's
digits.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import Momentum, momentum
from dyntoolkit.engine.without_infinity import without_infinity
from dyntoolkit.experiment import Claim, Control, Experiment, Preset, at_least, defaults, number
from dyntoolkit.figure.family import sequential
from dyntoolkit.figure.panels import (
    BLUE,
    KERNEL,
    ORANGE,
    TRAIN,
    Axis,
    Bars,
    Heat,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
    medians,
    positive,
)
from dyntoolkit.figure.recorded import newest, recorded_line
from dyntoolkit.laboratory.losses import cross_entropy
from dyntoolkit.laboratory.problem import Problem
from dyntoolkit.phenomena.chaos import _training
from dyntoolkit.phenomena.chaos._training import Batch, network
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.kernel_distance import kernel_angle, kernel_distance
from dyntoolkit.probes.tangent_kernel import tangent_kernel

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(_training.Config):
    """Settings of one training whose tangent kernel is watched."""

    lr: float = number(0.03, 0.003, 0.15, label="learning rate η", help="step size", log=True, main=True)
    label_noise: float = number(0.2, 0.0, 0.4, label="wrong labels", help="share of wrong training labels", main=True)
    steps: int = number(3000, 500, 4000, label="steps", help="updates", log=True, structural=True)


CLEAN = {"label_noise": 0.0}
WIDE = {"lr": 0.1}

PRESETS = {
    "cone": Preset("A far way at first; then it goes on, and stays close to where it is."),
    "frozen": Preset("All labels right: the kernel stands still once they are fitted.", CLEAN),
    "wide": Preset("Three times the learning rate: no cone, the last third is still half as wide as the first.", WIDE),
    "slow": Preset("A third of the learning rate: a cone, too, after a shorter way.", {"lr": 0.01}),
}


# ---- Data, model, step ----

# Data, network, heavy ball and batches: `chaos._training`

KERNELS = 31  # from the first step to the last
IMAGES = 64  # test images on which the kernel is taken


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks, and take their tangent kernel at 31 even steps.

    Values: distance (R, 31), of this kernel from every one so far, NaN from later ones; train_loss, test_accuracy (R,).
    """
    problem, model = _training.draw(configs, seeds), network(configs[0])
    lr, mu = per_run(configs, "lr"), per_run(configs, "momentum")  # (R,) each
    runs = torch.arange(len(seeds), dtype=torch.int64)[:, None]  # (R, 1)
    loss_and_gradient = value_and_grad(lambda theta, x, y: cross_entropy(model(theta, x), y))
    kernels: list[Tensor] = []  # so far, (R, 64, 64) each

    def step(state: Momentum, batch: Batch) -> Momentum:
        x, y = problem.x[runs, batch.samples], problem.y[runs, batch.samples]  # (R, B, 64), (R, B)
        _, g = loss_and_gradient(state.theta, x, y)
        # b <- momentum b + g, theta <- theta - eta_t b
        return momentum(state, g, lr * batch.factor, mu)

    def measure(_: int, state: Momentum) -> dict[str, Array]:
        # H(x, x') = sum_c grad f_c(x).grad f_c(x')
        kernels.append(tangent_kernel(model, state.theta, problem.test_x[:, :IMAGES]))
        # S_ij = 1 - <H_i, H_j>/(|H_i||H_j|)
        distance = torch.full((len(seeds), KERNELS), torch.nan, dtype=torch.float64)
        distance[:, : len(kernels)] = kernel_distance(torch.stack(kernels, 1), kernels[-1][:, None])
        return {"distance": without_infinity(distance), **performance(state.theta, configs[0], problem)}

    start = Momentum.start(_training.initial(configs, seeds))
    record = evenly(configs[0].steps, KERNELS)
    return train(start, step, _training.batches(configs, seeds), record, measure)


def performance(theta: Tensor, config: Config, problem: Problem) -> dict[str, Array]:
    """train_loss, on all training images as they are labelled, and test_accuracy, (R,) each."""
    model = network(config)
    loss = cross_entropy(model(theta, problem.x), problem.y).double()
    return {
        "train_loss": without_infinity(loss),
        "test_accuracy": accuracy(model(theta, problem.test_x), problem.test_y),
    }


# ---- What is measured, claims ----

LAST = KERNELS - 1
WINDOWS = {"early": (0, LAST // 3), "cone": (LAST // 3, LAST), "late": (2 * LAST // 3, LAST)}  # first and last kernel


def distances(history: History) -> Array:
    """S_ij of all kernels of each run, (R, 31, 31); NaN for those that are not there yet."""
    found = np.full((len(history.seeds), KERNELS, KERNELS), np.nan)
    if "distance" in history:
        rows = history["distance"].swapaxes(0, 1)  # (R, T, 31)
        found[:, : rows.shape[1]] = rows
    return np.where(np.isnan(found), found.swapaxes(1, 2), found)


def angles(distance: Array) -> Array:
    """arccos(1 - S), in radians."""
    return np.asarray(kernel_angle(torch.from_numpy(distance)))


def speeds(S: Array) -> Array:
    """The angle from each kernel to the next, (R, 30) radians; S (R, 31, 31)."""
    return np.asarray(angles(S)[:, range(LAST), range(1, KERNELS)])


def metrics(history: History) -> dict[str, Array]:
    """How far the kernel goes, name -> (R,); NaN for what is not there yet, and for ratios where it stands still.

    S_total: distance from the first kernel to the last. width_early, width_cone, width_late: the largest distance
    within the first third, the last two thirds, the last third of the kernels. cone_ratio = S_total/width_cone.
    narrowing = width_early/width_late. path_<window>, net_<window>: the angles between neighbouring kernels of a window
    added up, and that between its ends, in radians. train_loss, test_accuracy: the newest.
    """
    S = distances(history)  # (R, 31, 31)
    alpha, pace = angles(S), speeds(S)
    found = {"S_total": S[:, 0, LAST]}
    for name, (first, last) in WINDOWS.items():
        inside = slice(first, last + 1)
        found[f"width_{name}"] = S[:, inside, inside].max((1, 2))
        found[f"path_{name}"] = pace[:, first:last].sum(1)
        found[f"net_{name}"] = alpha[:, first, last]
    found["cone_ratio"] = _ratio(found["S_total"], found["width_cone"])
    found["narrowing"] = _ratio(found["width_early"], found["width_late"])
    return found | {name: newest(history, name) for name in ("train_loss", "test_accuracy")}


def _ratio(far: Array, near: Array) -> Array:
    return np.asarray(np.divide(far, near, out=np.full(len(far), np.nan), where=near > 0))


WIDE_CONTROL = Control("learning rate 0.1", WIDE)

CLAIMS = (
    Claim(
        id="cone",
        statement="In the last two thirds all kernels lie close together: "
        "the way from the start is at least 3.5 times as far.",
        metric="cone_ratio",
        bound=at_least(3.5),
        where=defaults(),
        controls=(WIDE_CONTROL,),
    ),
    Claim(
        id="narrows",
        statement="The first third was at least four times as wide as the last third is.",
        metric="narrowing",
        bound=at_least(4),
        where=defaults(),
        controls=(WIDE_CONTROL,),
    ),
    Claim(
        id="keeps_moving",
        statement="And yet the kernel does not stop: in the last two thirds it walks at least 0.7 radians.",
        metric="path_cone",
        bound=at_least(0.7),
        where=defaults(),
        controls=(Control("all labels right", CLEAN),),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Distances of all kernels; from three of them on; speed and training loss; ways walked and ways gained."""
    config: Config = history.config
    S = distances(history)
    steps = np.array(evenly(config.steps, KERNELS))
    step = Axis("step", range=(0, config.steps))
    shown = medians(np.moveaxis(S, 0, -1))  # (31, 31)
    farthest = float(np.max(shown, where=np.isfinite(shown), initial=0)) or 1.0
    third = Level("the cone begins", x=float(steps[LAST // 3]))
    still = "" if config.hidden else "Without hidden layers the kernel never changes."
    speed = median_line(f"radians in {steps[1]} steps", steps[1:], positive(speeds(S)).T, KERNEL)
    loss = recorded_line(history, "train_loss", "training loss (nats)", TRAIN)
    return [
        Panel(
            "Distance of any two kernels",
            Axis("step"),
            Axis("step"),
            [Heat("distance S", steps, steps, shown, low=0.0, high=farthest)],
        ),
        Panel("Distance from one kernel", step, Axis("distance S", log=True), [*_from(S, steps), third], still),
        Panel("Speed, and what drives it", step, Axis("angle; cross-entropy", log=True), [speed, loss, third]),
        Panel("Walked and gained", Axis("part of the training"), Axis("angle (radians)"), _ways(history)),
    ]


def _from(S: Array, steps: Array) -> list[Line]:
    """Distance from the kernel at the start, after a third, and after two thirds, to the later ones."""
    lines = []
    for k, color in zip((0, LAST // 3, 2 * LAST // 3), sequential(3), strict=True):
        lines.append(median_line(f"from step {steps[k]:,}", steps[k + 1 :], positive(S[:, k, k + 1 :]).T, color))
    return lines


def _ways(history: History) -> list[Mark]:
    """The walked and the gained angle in each part, medians over the runs."""
    found = metrics(history)
    names = {"early": "first third", "cone": "last two thirds", "late": "last third"}
    return [
        Bars(label, list(names.values()), np.array([float(medians(found[f"{way}_{part}"])) for part in names]), color)
        for way, label, color in (("path", "walked", BLUE), ("net", "gained", ORANGE))
    ]


# ---- The record ----

EXPERIMENT = Experiment(
    name="chaos.cone",
    title="The cone of kernels",
    question="After the first third of training, does the kernel stop, or does it keep moving inside a narrow cone?",
    paper="2505.13900",
    seconds=0.9,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: network(history.config),
)
