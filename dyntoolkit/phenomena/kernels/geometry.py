"""Two networks that differ only in the activation solve one task: does the hidden layer look like inputs or answers?

arXiv 2401.13558: tanh networks take on the geometry of the targets, ReLU networks keep that of the inputs.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.initialization import normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, adam
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Map,
    Metrics,
    Preset,
    at_least,
    at_most,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import BLUE, GREY, MEASURED, ORANGE, RED, Axis, Heat, Level, Line, Mark, Panel
from dyntoolkit.figure.recorded import log_steps, newest, recorded_line
from dyntoolkit.figure.sweeps import Rows, by_field, sweep_line
from dyntoolkit.probes.cka import cka

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of two networks, tanh and ReLU, on one task (arXiv 2401.13558)."""

    init_scale: float = number(
        0.03, 0.01, 3.0, label="initialization scale", help="size of the initial weights", log=True, main=True
    )
    flip: float = number(0.0, 0.0, 0.1, label="wrong labels", help="share of wrong training labels", main=True)
    lr: float = number(1e-2, 1e-3, 0.1, label="learning rate η", help="Adam's", log=True, main=True)
    alignment: float = number(
        0.0, 0.0, 0.5, label="alignment A", help="how much the inputs already look like the labels", main=True
    )
    patterns: int = number(32, 16, 64, label="patterns", help="centres", structural=True)
    outputs: int = number(2, 1, 5, label="labels", help="binary labels of each centre", structural=True)
    input_noise: float = number(0.1, 0.0, 1.0, label="input noise", help="of the copies of a centre")
    width: int = number(100, 30, 300, label="width", help="hidden units", log=True, structural=True)
    steps: int = number(1000, 100, 3000, label="steps", help="updates", log=True, structural=True)


PRESETS = {
    "rich": Preset("Both solve the task; only tanh forgets what the inputs looked like."),
    "lazy": Preset("From large weights both keep the inputs.", {"init_scale": 1.0}),
    "aligned": Preset("Inputs that look like the labels: no difference left.", {"alignment": 0.2}),
    "noisy_labels": Preset("A tenth of the training labels wrong.", {"flip": 0.1}),
}


# ---- Data, model, step ----

DIM = 50  # of the inputs
COPIES = 4  # noisy copies of each centre, to train and to test on
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class Data(NamedTuple):
    """Copies of P centres, the four of each together. y, test_y: labels -1, +1; those of y with wrong ones.

    x, test_x: (R, 4 P, 50). y, test_y: (R, 4 P, k). labels: of the centres, (R, P, k).
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    labels: Tensor


def draw(configs: Sequence[Config], seeds: Sequence[int]) -> Data:
    """Centres ~ N(0, I/50) with random labels, half of each sign; noisy copies of them."""
    c = configs[0]
    P, k = c.patterns, c.outputs
    centres = Stream(seeds, "centres").normal(P, DIM) / DIM**0.5  # (R, P, 50)
    splits = Stream(seeds, "labels")
    order = torch.stack([splits.permutations(P) for _ in range(k)], 2)  # (R, P, k)
    labels = 2.0 * (order < P // 2).float() - 1  # (R, P, k)
    A = per_run(configs, "alignment", ndim=3)  # (R, 1, 1)
    e = torch.linalg.qr(Stream(seeds, "directions").normal(DIM, k)).Q  # (R, 50, k) orthonormal
    # c_p <- sqrt(1 - A) c_p + sqrt(A/k) sum_o y_po e_o
    centres = (1 - A).sqrt() * centres + (A / k).sqrt() * labels @ e.mT
    noise = per_run(configs, "input_noise", ndim=3) / DIM**0.5
    x, test_x = (
        centres.repeat_interleave(COPIES, 1) + noise * Stream(seeds, name).normal(COPIES * P, DIM)
        for name in ("copies", "test copies")
    )
    truth = labels.repeat_interleave(COPIES, 1)  # (R, 4 P, k)
    drawn = Stream(seeds, "flips").unit(COPIES * P, k)
    wrong = drawn < per_run(configs, "flip", ndim=3)
    return Data(x, torch.where(wrong, -truth, truth), test_x, truth, labels)


def networks(config: Config) -> list[MLP]:
    """50 inputs, one hidden layer, k outputs: with tanh, and with ReLU."""
    return [MLP((DIM, config.width, config.outputs), phi) for phi in ACTIVATIONS.values()]


def initial(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """W ~ N(0, init_scale^2), readout ~ N(0, init_scale^2/width), biases 0; twice the same: (R, 2 P)."""
    scale = per_run(configs, "init_scale")
    stds = [(scale, 0.0), (scale / configs[0].width ** 0.5, 0.0)]
    theta = normal_init(networks(configs[0])[0], Stream(seeds, "init"), stds)  # (R, P)
    return torch.cat([theta, theta], 1)


def branch_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean over the samples of sum over the labels of log(1 + exp(-y f)): (R, n, k) -> (R,)."""
    return functional.softplus(-y * outputs).sum(2).mean(1)


def make_step(configs: Sequence[Config], data: Data) -> Callable[[Adam, None], Adam]:
    """Adam on both branches, whose losses share no weight."""
    lr, branches = per_run(configs, "lr", torch.float64), networks(configs[0])

    def loss(theta: Tensor) -> Tensor:
        halves = theta.chunk(2, 1)  # (R, P) each
        first, second = (branch_loss(net(half, data.x), data.y) for net, half in zip(branches, halves, strict=True))
        return first + second

    gradient = value_and_grad(loss)
    return lambda state, _: adam(state, gradient(state.theta)[1], lr)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R pairs; frames at step 0 and on a geometric grid, with the values of `measure`."""
    data = draw(configs, seeds)
    return train(
        Adam.start(initial(configs, seeds)),
        make_step(configs, data),
        full_batch,
        geometrically(configs[0].steps, FRAMES),
        lambda k, state: measure(k, state.theta, configs[0], data),
    )


# ---- What is measured, claims ----

FRAMES = 50


def measure(k: int, theta: Tensor, config: Config, data: Data) -> dict[str, Array]:
    """What a frame at step k shows, of tanh and of ReLU, on the test points.

    inputs, targets: CKA of the hidden layer with inputs and with labels; train: loss, mean over the labels; error:
    share of wrong signs; (R, 2). gram: of the hidden layer, centred, mean over the copies of a centre (R, 2, P, P). At
    step 0 also task_alignment, CKA of inputs with labels (R,), and labels of the centres (R, P, k).
    """
    found: dict[str, list[Tensor]] = {name: [] for name in ("inputs", "targets", "train", "error", "gram")}
    for net, half in zip(networks(config), theta.chunk(2, 1), strict=True):
        z, f = net.features(half, data.test_x)  # (R, n, width), (R, n, k)
        found["inputs"].append(cka(z, data.test_x))
        found["targets"].append(cka(z, data.test_y))
        found["train"].append(branch_loss(net(half, data.x), data.y) / config.outputs)
        found["error"].append((f * data.test_y <= 0).double().mean((1, 2)))
        centred = z.view(len(z), -1, COPIES, config.width).mean(2)  # (R, P, width)
        centred = centred - centred.mean(1, keepdim=True)
        found["gram"].append(centred @ centred.mT)
    values = {name: torch.stack(pair, 1) for name, pair in found.items()}
    if k == 0:
        values |= {"task_alignment": cka(data.test_x, data.test_y), "labels": data.labels}
    return {name: value.numpy() for name, value in values.items()}


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names of each run at the last frame, (R,): see `measure`, with the suffix _tanh or _relu.

    gap_inputs = inputs_relu - inputs_tanh; gap_targets = targets_tanh - targets_relu.
    """
    names = ("inputs", "targets", "train", "error")
    last = {name: newest(history, name, 2).astype(np.float64) for name in names}
    task = newest(history, "task_alignment")
    return {
        **{f"{name}_{phi}": last[name][:, i] for name in names for i, phi in enumerate(ACTIVATIONS)},
        "gap_inputs": last["inputs"][:, 1] - last["inputs"][:, 0],
        "gap_targets": last["targets"][:, 0] - last["targets"][:, 1],
        "task_alignment": task,
    }


def _lower_target(found: Metrics, config: object) -> Array:
    return np.minimum(found["targets_tanh"], found["targets_relu"])


def _larger_error(found: Metrics, config: object) -> Array:
    return np.maximum(found["error_tanh"], found["error_relu"])


LAZY = Control("initialization scale 1", {"init_scale": 1.0})

CLAIMS = (
    Claim(
        id="relu_keeps_inputs",
        statement="The hidden layer of ReLU units is more like the inputs than that of tanh units.",
        metric="gap_inputs",
        bound=at_least(0.07),
        where=defaults(),
        controls=(Control("inputs that look like the labels", {"alignment": 0.2}), LAZY),
    ),
    Claim(
        id="tanh_forgets_inputs",
        statement="The tanh layer began like the inputs, and is no longer.",
        metric="inputs_tanh",
        bound=at_most(0.35),
        where=defaults(),
        controls=(LAZY,),
    ),
    Claim(
        id="both_reach_targets",
        statement="Both hidden layers end like the labels.",
        metric="targets_relu",
        value=_lower_target,
        bound=at_least(0.7),
        where=defaults(),
        controls=(Control("initialization scale 3", {"init_scale": 3.0}),),
    ),
    Claim(
        id="both_solve",
        statement="Both solve the task on new copies.",
        metric="error_tanh",
        value=_larger_error,
        bound=at_most(0.02),
        where=defaults(),
        controls=(Control("a tenth of the labels wrong", {"flip": 0.1}),),
    ),
)


# ---- Figure ----

COLORS = {"tanh": BLUE, "relu": ORANGE}
NAMES = {"tanh": "tanh", "relu": "ReLU"}


def panels(history: History) -> list[Panel]:
    """Likeness to inputs and to labels; the hidden layers as matrices, and on their first two components."""
    task = float(np.median(newest(history, "task_alignment")))
    step, likeness = log_steps(history), Axis("CKA", range=(0, 1))
    return [
        Panel("Like the inputs", step, likeness, [*_courses(history, "inputs"), *_starts(history, "inputs")]),
        _matrix(history, 0),
        _matrix(history, 1),
        Panel(
            "Like the labels",
            step,
            likeness,
            [*_courses(history, "targets"), *_starts(history, "targets"), Level("inputs", y=task)],
        ),
        _components(history, 0),
        _components(history, 1),
    ]


def _starts(history: History, name: str) -> list[Level]:
    """The value at step 0, which the logarithmic axis has no place for, of both branches."""
    starts = np.median(history[name][0], 0) if name in history else np.full(2, np.nan)  # (2,)
    return [
        Level(f"{NAMES[phi]}, step 0", y=float(start), color=COLORS[phi])
        for phi, start in zip(ACTIVATIONS, starts, strict=True)
    ]


def _courses(history: History, name: str) -> list[Mark]:
    return [
        recorded_line(history, name, NAMES[phi], COLORS[phi], start=1, column=i) for i, phi in enumerate(ACTIVATIONS)
    ]


def _sorted_gram(history: History, branch: int) -> tuple[Array, Array]:
    """The newest Gram matrix of the first run (P, P), and the labels (P, k), centres sorted by their labels."""
    c = history.config
    if "gram" not in history:
        return np.full((c.patterns, c.patterns), np.nan), np.ones((c.patterns, c.outputs))
    labels = history["labels"][0, 0]  # (P, k)
    order = np.lexsort(labels.T[::-1])
    gram = history.last("gram")[0, branch].astype(np.float64)
    return gram[np.ix_(order, order)], labels[order]


def _matrix(history: History, branch: int) -> Panel:
    """Cosines between the centred hidden activities of the centres."""
    gram, _ = _sorted_gram(history, branch)
    size = np.sqrt(np.maximum(np.diagonal(gram), 1e-30))
    places = np.arange(1, len(gram) + 1)
    name = NAMES[list(ACTIVATIONS)[branch]]
    heat = Heat("cosine", places, places, gram / np.outer(size, size), low=-1.0, high=1.0, colors="RdBu")
    return Panel(f"Hidden layer, {name}", Axis("centre, sorted by label"), Axis("centre"), [heat])


def _components(history: History, branch: int) -> Panel:
    """The centres on the first two principal components of the hidden layer, by their first label."""
    gram, labels = _sorted_gram(history, branch)
    points = np.full((len(gram), 2), np.nan)
    if np.isfinite(gram).all():
        eigenvalues, vectors = np.linalg.eigh(gram)
        points = vectors[:, :-3:-1] * np.sqrt(np.maximum(eigenvalues[:-3:-1], 0))  # (P, 2), largest first
        points = points * np.where(labels[:, 0] @ points < 0, -1, 1)  # eigenvectors have no sign of their own
    name = NAMES[list(ACTIVATIONS)[branch]]
    up = labels[:, 0] > 0
    marks: list[Mark] = [
        Line("label +1", points[up, 0], points[up, 1], MEASURED, markers="points"),
        Line("label −1", points[~up, 0], points[~up, 1], RED, markers="points"),
    ]
    return Panel(f"Centres, {name}", Axis("first component"), Axis("second component"), marks)


def sweep_panels(rows: Rows) -> list[Panel]:
    """How much more like the inputs the ReLU layer is, over the initialization scale."""
    marks: list[Mark] = [
        sweep_line("ReLU − tanh", runs, "gap_inputs", MEASURED)
        for runs in by_field(rows, "init_scale").values()
        if len(runs) > 1
    ]
    axis = Axis("initialization scale", log=True)
    none = Level("no difference", y=0.0, color=GREY)
    return [Panel("More like the inputs", axis, Axis("CKA, ReLU − tanh"), [*marks, none])] if marks else []


# ---- The record ----

EXPERIMENT = Experiment(
    name="kernels.geometry",
    title="Like the inputs, or like the answers",
    question="Two networks differ only in the activation: does the hidden layer look like the inputs or the answers?",
    paper="2401.13558",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
    map=Map(
        title="More like the inputs: ReLU − tanh",
        label="difference of CKA",
        x="init_scale",
        y="alignment",
        xs=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
        ys=(0.0, 0.05, 0.1, 0.2, 0.5),
        simulate=simulate,
        value=lambda history: metrics(history)["gap_inputs"],
    ),
)
