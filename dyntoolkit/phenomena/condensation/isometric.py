"""Does isometric splitting commute with training? A network and its split image trained side by side.

"Isometric splitting" of neurons: arXiv 2505.12419. f(x) = sum_k a_k sigma(w_k . x), no biases.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Sgd, adam
from dyntoolkit.experiment import Claim, Control, Experiment, Preset, above, below, choice, config, defaults, number
from dyntoolkit.figure.panels import GREY, MEASURED, ORANGE, PURPLE, TRAIN, Axis, Level, Line, Panel, median_line
from dyntoolkit.figure.recorded import recorded, recorded_line

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one network and its split image, trained side by side (arXiv 2505.12419)."""

    splitting: str = choice(
        "isometric", ("isometric", "plain"), label="splitting", help="which map T from narrow to wide", main=True
    )
    copies: int = number(2, 2, 3, label="copies", help="of each neuron", structural=True)
    activation: str = choice(
        "relu", ("relu", "leaky", "tanh"), label="activation σ", help="leaky: slope 0.1 below zero", main=True
    )
    optimizer: str = choice("gd", ("gd", "adam"), label="optimizer", help="full batch", main=True)
    lr: float = number(0.1, 0.001, 0.5, label="learning rate η", help="0.01 suits Adam", log=True, main=True)
    steps: int = number(600, 50, 2000, label="steps", help="updates", log=True, structural=True)
    width: int = number(8, 2, 64, label="width m", help="neurons before splitting", log=True, structural=True)
    input_dim: int = number(5, 2, 20, label="input dimension d", help="Gaussian inputs", structural=True)
    n_train: int = number(60, 10, 200, label="training points n", help="labelled −1 or 1", log=True, structural=True)
    init_scale: float = number(
        0.3,
        0.01,
        1.0,
        label="initialization scale",
        help="standard deviation of the initial weights",
        log=True,
        main=True,
    )


PRESETS = {
    "isometric": Preset("Split and train, or train and split: the same wide network to the last digits."),
    "plain": Preset("A splitting that keeps the function, but not the lengths: the two part.", {"splitting": "plain"}),
    "adam": Preset("Adam does not see lengths: the two part.", {"optimizer": "adam", "lr": 0.01}),
    "tanh": Preset("tanh is not homogeneous: the two part.", {"activation": "tanh"}),
}

# ---- Data, model, step ----

EVERY = 20  # steps between two measurements
SHARES = {2: (0.36, 0.64), 3: (0.2, 0.3, 0.5)}  # c_k^2 of the copies


class Data(NamedTuple):
    """Inputs (R, n, d) and labels -1 or 1 (R, n)."""

    x: Tensor
    y: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """x ~ N(0, I), y = sign(relu(x_1) + relu(-x_2) - 0.8)."""
    x = Stream(seeds, "data").normal(config.n_train, config.input_dim, dtype=torch.float64)
    return Data(x, torch.sign(torch.relu(x[..., 0]) + torch.relu(-x[..., 1]) - 0.8))


def loss(theta: Tensor, data: Data, activation: str) -> Tensor:
    """Mean of softplus(-y f(x)), (R,). theta: (R, m, d + 1), each neuron's w and a."""
    z = data.x @ theta[:, :, :-1].mT  # (R, n, m)
    hidden = torch.tanh(z) if activation == "tanh" else functional.leaky_relu(z, 0.1 if activation == "leaky" else 0.0)
    f = (hidden @ theta[:, :, -1:]).squeeze(2)  # (R, n)
    return functional.softplus(-data.y * f).mean(1)


def split(theta: Tensor, splitting: str, copies: int) -> Tensor:
    """T: each neuron (w, a) as copies (c w, c a), sum of c^2 = 1; "plain": (w, c^2 a). (R, copies m, d + 1)."""
    w, a = theta[:, :, :-1], theta[:, :, -1:]  # (R, m, d), (R, m, 1)
    if splitting == "isometric":
        return torch.cat([share**0.5 * theta for share in SHARES[copies]], dim=1)
    return torch.cat([torch.cat([w, share * a], dim=2) for share in SHARES[copies]], dim=1)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks and their split images; every 20 steps, (R,) unless said otherwise.

    commute_error = |T(theta) - eta| / |eta|; loss, wide_loss; mapped, wide (R, copies m): lengths |w| of the neurons of
    T(theta) and of eta.
    """
    c, data = configs[0], draw_data(configs[0], seeds)
    lr = per_run(configs, "lr", torch.float64)  # (R,)

    def networks(both: Tensor) -> tuple[Tensor, Tensor]:
        """theta (R, m, d + 1) and eta (R, copies m, d + 1) from the weights of both, (R, P)."""
        neurons = both.view(len(both), -1, c.input_dim + 1)  # (R, (1 + copies) m, d + 1)
        return neurons[:, : c.width], neurons[:, c.width :]

    def losses(both: Tensor) -> Tensor:
        theta, eta = networks(both)
        return loss(theta, data, c.activation) + loss(eta, data, c.activation)  # (R,)

    gradient = value_and_grad(losses)  # of theta and of eta, each of its own loss

    def step(state: Adam | Sgd, _: None) -> Adam | Sgd:
        slope = gradient(state.theta)[1]  # (R, P)
        if isinstance(state, Adam):
            return adam(state, slope, lr)
        return Sgd(state.theta - lr.unsqueeze(1) * slope)

    def measure(_: int, state: Adam | Sgd) -> dict[str, Array]:
        theta, eta = networks(state.theta)
        image = split(theta, c.splitting, c.copies)  # (R, copies m, d + 1)
        values = {
            # |T(theta(t)) - eta(t)| / |eta(t)|
            "commute_error": (image - eta).flatten(1).norm(dim=1) / eta.flatten(1).norm(dim=1),
            "loss": loss(theta, data, c.activation),
            "wide_loss": loss(eta, data, c.activation),
            "mapped": image[:, :, :-1].norm(dim=2),
            "wide": eta[:, :, :-1].norm(dim=2),
        }
        return {name: value.numpy() for name, value in values.items()}

    scale = per_run(configs, "init_scale", torch.float64, ndim=3)  # (R, 1, 1)
    theta = scale * Stream(seeds, "init").normal(c.width, c.input_dim + 1, dtype=torch.float64)  # (R, m, d + 1)
    both = torch.cat([theta, split(theta, c.splitting, c.copies)], dim=1).flatten(1)  # (R, P)
    start = Sgd(both) if c.optimizer == "gd" else Adam.start(both)
    return train(start, step, full_batch, [*range(0, c.steps, EVERY), c.steps], measure)


# ---- What is measured, claims ----


def metrics(history: History) -> dict[str, Array]:
    """commute_error: the largest over all measured steps; loss: of the narrow network at the end. (R,)."""
    return {"commute_error": history["commute_error"].max(0), "loss": history.last("loss")}


CLAIMS = (
    Claim(
        id="isometric_commutes",
        statement="Isometric splitting commutes with gradient descent: splitting first or last gives the same weights.",
        metric="commute_error",
        bound=below(1e-12),
        where=defaults(copies=(2, 3), activation=("relu", "leaky")),
        controls=(
            Control("plain splitting", {"splitting": "plain"}, above(0.05)),
            Control("Adam", {"optimizer": "adam", "lr": 0.01}, above(0.05)),
            Control("tanh", {"activation": "tanh"}, above(0.05)),
        ),
    ),
)

# ---- Figure ----

STEP = Axis("step")


def panels(history: History) -> list[Panel]:
    """The difference of the two ways; their losses; lengths of the wide network's neurons by either way."""
    steps, error = recorded(history, "commute_error")
    mapped, trained = (history.last(name)[0] if name in history else np.empty(0) for name in ("mapped", "wide"))
    most = float(max(mapped.max(initial=0), trained.max(initial=0))) or 1.0
    return [
        Panel(
            "Difference of the two ways",
            STEP,
            Axis("|T(θ) − η| / |η|", log=True, range=(1e-17, 10)),
            [median_line("measured", steps, np.maximum(error, 1e-17), PURPLE), Level("threshold", y=1e-12)],
        ),
        Panel(
            "Loss",
            STEP,
            Axis("loss", log=True),
            [
                recorded_line(history, "loss", "trained, then split", TRAIN),
                replace(recorded_line(history, "wide_loss", "split, then trained", ORANGE), dash=True),
            ],
        ),
        Panel(
            "Lengths of the wide neurons",
            Axis("|w|, trained then split"),
            Axis("|w|, split then trained"),
            [
                Line("neuron", mapped, trained, MEASURED, markers="points"),
                Line("equal", np.array([0, most]), np.array([0, most]), GREY, dash=True),
            ],
        ),
    ]


# ---- The record ----

EXPERIMENT = Experiment(
    name="condensation.isometric",
    title="Splitting that commutes with training",
    question="Does isometric splitting of neurons commute with training?",
    paper="2505.12419",
    seconds=0.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
