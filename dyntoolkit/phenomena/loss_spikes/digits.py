"""Adam on handwritten digits: do alarms precede the bumps of the loss on real data, too?

The question of `mlp` (Bai et al. 2025, arXiv 2506.04805) in a network too large for a dense Hessian at every step: the
curvature along the gradient costs one product with it.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.data import datasets
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
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
    below,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import BLUE, Axis, Level, Panel, median_line, positive
from dyntoolkit.phenomena.loss_spikes import _spikes as spikes
from dyntoolkit.phenomena.loss_spikes._panels import STEP, gradient_and_memory, marked_loss, minimum_against_alarm
from dyntoolkit.phenomena.loss_spikes._spikes import TEN, THREE
from dyntoolkit.phenomena.loss_spikes._theory import forgetting
from dyntoolkit.phenomena.loss_spikes._trace import trace, traced
from dyntoolkit.probes.gradient_curvature import gradient_curvature, loss_gradient_product
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one full-batch Adam run on handwritten digits (Bai et al. 2025, arXiv 2506.04805)."""

    lr: float = number(0.03, 0.003, 0.1, label="learning rate η", help="step size of Adam", log=True, main=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="memory of the gradient", main=True)
    beta2: float = number(
        0.999, 0.5, 0.9999, label="β₂", help="memory of the squared gradient", near_one=True, main=True
    )
    eps: float = number(1e-8, 1e-8, 0.1, label="ε", help="added to √v in the denominator", log=True, main=True)
    width: int = number(16, 8, 64, label="width", help="hidden units", structural=True)
    n_train: int = number(200, 50, 500, label="training images n", help="the first n digits", structural=True)
    steps: int = number(2500, 500, 5000, label="steps", help="updates", log=True, structural=True)


SHORT_MEMORY = {"beta2": 0.8}

PRESETS = {
    "spikes": Preset("Long memory of the squared gradients: after an alarm the loss of real images bumps up."),
    "beta2_0.8": Preset("Short memory: a smooth curve, and never an alarm.", SHORT_MEMORY),
}


# ---- Data, model, step ----

PIXELS, CLASSES = 64, 10


class Data(NamedTuple):
    """Images (n, 64) with pixels in [0, 1], and their one-hot labels (n, 10), float32."""

    x: Tensor
    y: Tensor


def load_data(n: int) -> Data:
    """The first n digits of scikit-learn in the order of its file, the same for all runs."""
    digits = datasets.load_digits()
    x = torch.tensor(digits.data[:n] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target[:n], dtype=torch.int64)
    return Data(x, torch.eye(CLASSES, dtype=torch.float32)[labels])


def initial_theta(config: Config, seeds: Sequence[int]) -> Tensor:
    """W ~ N(0, 1/64), A ~ N(0, 1/width), biases 0, as rows (W, b, A, c) of P = 75 width + 10 numbers, (R, P)."""
    h, stream = config.width, Stream(seeds, "init")
    W = stream.normal(PIXELS * h) / PIXELS**0.5  # (R, 64 h)
    A = stream.normal(h * CLASSES) / h**0.5  # (R, 10 h)
    b = torch.zeros(len(seeds), h, dtype=torch.float32)
    c = torch.zeros(len(seeds), CLASSES, dtype=torch.float32)
    return torch.cat([W, b, A, c], dim=1)


def loss(theta: Tensor, data: Data) -> Tensor:
    """The squared error of A tanh(W x + b) + c, mean over images and the 10 classes: theta (R, P) -> (R,)."""
    h = (theta.shape[1] - CLASSES) // (PIXELS + 1 + CLASSES)
    W, b, A, c = torch.split(theta, [PIXELS * h, h, h * CLASSES, CLASSES], dim=1)
    hidden = torch.tanh(data.x @ W.view(-1, PIXELS, h) + b.unsqueeze(1))  # (R, n, h)
    error = hidden @ A.view(-1, h, CLASSES) + c.unsqueeze(1) - data.y  # (R, n, 10)
    return error.square().mean((1, 2))


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks; a frame every 50 steps with the values at each of these steps, (R, 50) float64 (see `trace`).

    Names as in `curvatures`. Training and curvature are computed in float32.
    """
    data = load_data(configs[0].n_train)
    lr, beta1, beta2, eps = (per_run(configs, name, torch.float64) for name in ("lr", "beta1", "beta2", "eps"))
    gradient = value_and_grad(partial(loss, data=data))

    def step(state: Adam, _: None) -> Adam:
        return adam(state, gradient(state.theta)[1], lr, beta1, beta2, eps)

    start = Adam.start(initial_theta(configs[0], seeds))
    return traced(start, step, full_batch, configs[0].steps, partial(curvatures, configs, data))


# ---- What is measured, claims ----

HELD = 2**22  # hidden activations that one product with the Hessian may hold at once, 16 MB
SKIP = 150  # steps at the start in which neither bumps nor alarms count


def curvatures(configs: Sequence[Config], data: Data, before: Adam, after: Adam, first: int) -> dict[str, Tensor]:
    """What is measured at every step, each (T, R) float64.

    loss; gradient_norm = |g|; root_v = mean over parameters of sqrt(v); along_gradient = mu g^T D H g / g^T g, whose
    stability limit is 2/lr.
    """
    runs = len(configs)
    beta1, beta2, eps = (per_run(configs, name, torch.float64) for name in ("beta1", "beta2", "eps"))
    # v_hat = v_n/(1 - beta2^n)
    v = after.square / (1 - beta2**after.updates).unsqueeze(-1).float()  # (T, R, P)
    D = 1 / (v.sqrt() + eps.float().unsqueeze(1))  # (T, R, P)
    rows = max(1, HELD // (configs[0].n_train * configs[0].width))  # rows of weights in one product
    chunks = zip(*(torch.split(each.flatten(0, 1), rows) for each in (before.theta, D)), strict=True)
    parts = [along_gradient(theta, preconditioner, data) for theta, preconditioner in chunks]
    value, norm, curvature = (torch.cat(column).double().view(-1, runs) for column in zip(*parts, strict=True))
    # mu_i = (1 - beta1)/((1 + beta1)(1 - beta1^n)), n = i + 1
    updates = torch.arange(first + 1, first + 1 + len(v), dtype=torch.float64).unsqueeze(1)  # (T, 1)
    mu = momentum_factor(beta1, updates)  # (T, R)
    return {
        "loss": value,
        "gradient_norm": norm,
        "root_v": v.sqrt().mean(2).double(),
        "along_gradient": mu * curvature,
    }


def along_gradient(theta: Tensor, preconditioner: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, gradient norm and g . H(D g)/g . g, all (N,), of N rows of weights theta and diagonals D, both (N, P)."""
    value, g, product = loss_gradient_product(partial(loss, data=data), theta)  # (N,), (N, P)
    # g^T D H g = g . (H (D g)), one product with the Hessian
    return value, torch.linalg.vector_norm(g, dim=1), gradient_curvature(product, g, preconditioner)


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run, name -> (R,); NaN where there is nothing to measure, as without bumps.

    spikes3, spikes10: number of 3x and 10x spikes; height: decades of the largest excess. alarms: number of alarm
    groups. recall3, recall10, chance: shares of 3x spikes, 10x spikes and arbitrary moments after an alarm. precision3:
    share of alarm groups before a 3x spike. onset_lead: median steps from the first alarm to the minimum before a 3x
    spike. rise, rise_below: shares of steps after which the loss is higher five steps later, above 2/lr and below.
    """
    losses, along = trace(history, "loss"), trace(history, "along_gradient")  # (N, R)
    rows = [_one_run(losses[:, r], along[:, r], config.lr) for r, config in enumerate(history.configs)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _one_run(loss: Array, along: Array, lr: float) -> dict[str, float]:
    low = spikes.find_spikes(loss, THREE, SKIP)
    tall = spikes.find_spikes(loss, TEN, SKIP)
    above_usual = spikes.excess(loss)
    state = spikes.alarm_state(along, lr)
    groups = spikes.alarm_groups(state, SKIP)
    leads = spikes.leads(low, groups)
    rise, rise_below = spikes.rises(loss, along, lr, SKIP)
    return {
        "spikes3": len(low),
        "spikes10": len(tall),
        "height": float(above_usual[SKIP:].max()) if len(above_usual) > SKIP else np.nan,
        "alarms": len(groups),
        "recall3": spikes.recall(low, state),
        "recall10": spikes.recall(tall, state),
        "chance": spikes.chance(state),
        "precision3": spikes.precision(groups, above_usual, THREE),
        "onset_lead": float(np.median(leads[:, 1])) if len(leads) else np.nan,
        "rise": rise,
        "rise_below": rise_below,
    }


# where it was measured: the defaults, and twice as many steps
MEASURED = defaults(steps=at_least(2500))

CLAIMS = (
    Claim(
        id="bumps",
        statement="On real images, too, Adam's loss bumps up: threefold at least 3 times.",
        metric="spikes3",
        bound=at_least(3),
        where=MEASURED,
        controls=(Control("β₂ = 0.8", SHORT_MEMORY, at_most(0)),),
    ),
    Claim(
        id="alarm_recall",
        statement="An alarm, curvature along the gradient above 2/η for three steps, precedes at least 9 of 10 bumps.",
        metric="recall3",
        bound=at_least(0.9),
        where=MEASURED,
        controls=(
            Control("arbitrary moments", {}, below(0.9), metric="chance"),
            Control("β₂ = 0.8 gives no alarm", SHORT_MEMORY, at_most(0), metric="alarms"),
        ),
    ),
    Claim(
        id="alarm_means_rise",
        statement="After more than eight in ten steps above 2/η the loss is higher five steps later.",
        metric="rise",
        bound=above(0.8),
        where=MEASURED,
        controls=(Control("below 2/η", {}, below(0.35), metric="rise_below"),),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Loss with bumps and alarms; gradient and sqrt(v) with its decay; curvature; minimum against alarm.

    Bumps, alarms and decay are marked for the first run; the last panel counts the bumps of all of them.
    """
    losses, along, root = (trace(history, name) for name in ("loss", "along_gradient", "root_v"))
    found = [
        (spikes.find_spikes(loss, THREE, SKIP), spikes.alarm_groups(spikes.alarm_state(curvature, config.lr), SKIP))
        for loss, curvature, config in zip(losses.T, along.T, history.configs, strict=True)
    ]
    decay = forgetting_corrected(root[:, 0], history.config.beta2)
    return [
        marked_loss(losses, found[0], "3x spike"),
        gradient_and_memory(trace(history, "gradient_norm"), root, decay, "v only forgets, by β₂"),
        _curvature(history, along),
        minimum_against_alarm(found, "bumps", "3x spikes"),
    ]


def forgetting_corrected(root: Array, beta2: float) -> Array:
    """Bias-corrected sqrt(v) (N,) as it would fall from each peak of the uncorrected one, if no gradient came in.

    The correction matters here: at beta2 = 0.999 it still shrinks in the first thousands of steps.
    """
    bias = np.sqrt(1 - beta2 ** np.arange(1, len(root) + 1))
    return np.asarray(forgetting(root * bias, beta2) / bias)


def _curvature(history: History, along: Array) -> Panel:
    scaled = along * np.array([config.lr for config in history.configs]) / 2  # (N, R)
    return Panel(
        "Curvature × η/2",
        STEP,
        Axis("λ η / 2", log=True, range=(1e-3, 10)),
        [
            median_line("along the gradient", np.arange(len(along)), positive(scaled), BLUE, width=1.2),
            Level("stability limit", y=1.0),
        ],
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="loss_spikes.digits",
    title="Adam's bumps on real data",
    question="Do alarms of the curvature along the gradient precede Adam's loss bumps on handwritten digits, too?",
    paper="2506.04805",
    seconds=1.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
