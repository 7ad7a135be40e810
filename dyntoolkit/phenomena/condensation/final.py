"""Is a trained ReLU network condensed where it began small, and only there?

Zhou et al. 2022, "Towards understanding the condensation of neural networks at initial training" (arXiv 2105.11686),
and Luo et al. 2021 (arXiv 2007.07497). Four points of a function of two neurons, fitted by hundreds of them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    above,
    at_least,
    below,
    between,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import BASELINE, GREEN, GREY, MEASURED, PURPLE, TEST, TRAIN, Axis, Level, Line, Panel
from dyntoolkit.figure.recorded import recorded_line
from dyntoolkit.phenomena.condensation._neurons import neurons_panel, of_largest
from dyntoolkit.phenomena.condensation._two_layer import State, loss, make_step, ntk_step
from dyntoolkit.probes.effective_neurons import effective_neurons
from dyntoolkit.probes.relative_distance import relative_distance

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run of gradient descent on four points, until the loss is below the tolerance."""

    width: int = number(500, 20, 1000, label="width m", help="hidden neurons", log=True, main=True, structural=True)
    init_exponent: float = number(
        1.0,
        0.25,
        1.25,
        label="initialization exponent t",
        help="the initial weights have the standard deviation m^(−t); t = γ/2 of the phase diagram",
        main=True,
    )
    lr_factor: float = number(
        1.0, 0.1, 2.0, label="step size", help="times the step of the kernel", log=True, main=True
    )
    lr_damping: float = number(2.0, 0.5, 20.0, label="damping", help="constant in the step size", log=True)
    steps: int = number(6000, 100, 10000, label="steps", help="at most", log=True, structural=True)
    tol: float = number(1e-7, 1e-9, 1e-3, label="tolerance", help="stop below this loss", log=True, main=True)


PRESETS = {
    "condensed": Preset("Small weights: nearly all neurons end in one of two directions.", {"init_exponent": 1.0}),
    "lazy": Preset("Large weights: the same fit from a cloud of neurons that hardly moves.", {"init_exponent": 0.25}),
    "critical": Preset("In between: the weights move a little, and do not condense.", {"init_exponent": 0.5}),
    "near": Preset("Two directions, but not sharp.", {"init_exponent": 0.75}),
}

# ---- Data, model, step ----

FRAMES = 60
WITHIN = 5.0  # degrees over which two directions count as one


def target(x: Tensor) -> Tensor:
    """0.2 relu(x - 1/3) + 0.2 relu(-x - 1/3): two neurons."""
    return 0.2 * torch.relu(x - 1 / 3) + 0.2 * torch.relu(-x - 1 / 3)


X = torch.linspace(-1, 1, 4, dtype=torch.float32)
Y = target(X)
X_TEST = torch.linspace(-1, 1, 201, dtype=torch.float32)
Y_TEST = target(X_TEST)


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """All weights with std width^(-init_exponent), (R, 3, m)."""
    m = configs[0].width
    std = torch.tensor([m**-c.init_exponent for c in configs], dtype=torch.float64).view(-1, 1, 1)  # (R, 1, 1)
    return (std * Stream(seeds, "init").normal(3, m, dtype=torch.float64)).to(torch.float32)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks by gradient descent; each stops by itself at the tolerance, tested every 50 steps.

    Values at 60 log-spaced steps, (R,): loss, test_mse, n_eff (the effective number of neurons, weighted by amplitude,
    directions within 5 degrees counting as one), rd (relative change of input weights and biases), settled_at; and
    (R, m): orientation (degrees, sign of b) and amplitude |a||(w, b)| of each neuron.
    """
    start = initial_theta(configs, seeds)
    factor, damping, tol = (per_run(configs, name) for name in ("lr_factor", "lr_damping", "tol"))  # (R,) each

    def measure(k: int, state: State) -> dict[str, Array]:
        w, a = state.theta[:, :2], state.theta[:, 2]  # (R, 2, m) with the biases, (R, m)
        length = w.norm(dim=1)  # (R, m)
        amplitude = a.abs() * length  # (R, m)
        orientation = torch.sign(w[:, 1]) * torch.rad2deg(torch.acos(w[:, 0] / length))  # (R, m)
        return {
            "loss": loss(state.theta, X, Y, "relu").numpy(),
            "test_mse": loss(state.theta, X_TEST, Y_TEST, "relu").numpy(),
            # N_eff with p_k = |a_k||w_k| / sum_j |a_j||w_j|
            "n_eff": effective_neurons(w.mT, amplitude, WITHIN).numpy(),
            # RD
            "rd": relative_distance(w, start[:, :2]).numpy(),
            "orientation": orientation.numpy(),
            "amplitude": amplitude.numpy(),
        }

    return train(
        State(start),
        make_step(X, Y, ntk_step(start, X, factor, damping), "relu"),
        full_batch,
        geometrically(configs[0].steps, FRAMES),
        measure,
        settled=lambda state: (loss(state.theta, X, Y, "relu") < tol).numpy(),
    )


# ---- What is measured, claims ----


def metrics(history: History) -> dict[str, Array]:
    """n_eff_start, n_eff, test_mse, rd, loss: see `simulate`; at the end, but for the first. Each (R,).

    settled: the step at which the loss was found below the tolerance, NaN for never.
    """
    settled = history.last("settled_at")
    return {
        "n_eff_start": history["n_eff"][0],
        "n_eff": history.last("n_eff"),
        "test_mse": history.last("test_mse"),
        "rd": history.last("rd"),
        "loss": history.last("loss"),
        "settled": np.where(settled < 0, np.nan, settled),
    }


CONDENSED = defaults(steps=at_least(6000))
NEAR = defaults(steps=at_least(6000), init_exponent=between(0.75, 1))
CRITICAL = {"init_exponent": 0.5}
LAZY = {"init_exponent": 0.25}

CLAIMS = (
    Claim(
        id="final_n_eff",
        statement="From small weights the trained network has an effective number of neurons below 3.",
        metric="n_eff",
        bound=below(3),
        where=NEAR,
        controls=(Control("t = 0.5", CRITICAL, above(15)), Control("t = 0.25", LAZY, above(15))),
    ),
    Claim(
        id="final_test_mse",
        statement="The condensed network is the simple function between the training points, too.",
        metric="test_mse",
        bound=below(1e-5),
        where=CONDENSED,
        controls=(Control("t = 0.25", LAZY, above(1e-4)),),
    ),
    Claim(
        id="final_rd",
        statement="The condensed network's input weights move by more than they were.",
        metric="rd",
        bound=above(1),
        where=NEAR,
        controls=(Control("t = 0.25", LAZY, below(0.5)),),
    ),
)

# ---- Figure ----

STEP = Axis("step", log=True)  # without step 0


def panels(history: History) -> list[Panel]:
    """Orientation and amplitude before and now, the two errors, N_eff, and the distance from the start."""
    return [
        _neurons(history),
        Panel(
            "Mean squared error",
            STEP,
            Axis("mean squared error", log=True),
            [
                recorded_line(history, "loss", "training", TRAIN, start=1),
                recorded_line(history, "test_mse", "test", TEST, start=1),
                Level("tolerance", y=history.config.tol),
            ],
        ),
        Panel(
            "Effective number of neurons",
            STEP,
            Axis("N<sub>eff</sub>", range=(0, 30)),
            [
                recorded_line(history, "n_eff", "N<sub>eff</sub>", GREEN, start=1),
                Level("two directions", y=2),
            ],
        ),
        Panel(
            "Relative change of the input weights",
            STEP,
            Axis("‖w − w(0)‖ / ‖w(0)‖", log=True),
            [
                recorded_line(history, "rd", "RD", PURPLE, start=1),
                Level("as much as it was", y=1),
            ],
        ),
    ]


def _neurons(history: History) -> Panel:
    """The neurons of the first run, each with its amplitude beside the largest, and the target's two neurons."""
    lines = []
    for name, row, color in (("before", 0, BASELINE), ("now", -1, MEASURED)):
        angle, amplitude = np.empty(0), np.empty(0)
        if "orientation" in history:
            angle, amplitude = history["orientation"][row, 0], history["amplitude"][row, 0]
        lines.append(Line(name, angle, of_largest(amplitude), color, markers="points"))
    # relu(x - 1/3) and relu(-x - 1/3) have (w, b) = (±1, -1/3)
    angles = -np.degrees(np.arccos(np.array([1, -1]) / np.hypot(1, 1 / 3)))
    spikes = Line("target", np.repeat(angles, 3), np.array([0, 1, np.nan] * 2), GREY, dash=True)
    return neurons_panel([*lines, spikes])


# ---- The record ----

EXPERIMENT = Experiment(
    name="condensation.final",
    title="Condensed or lazy",
    question="Is the trained network condensed where its weights begin small, and not where they begin large?",
    paper="2105.11686",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    borders={"γ = 1: from lazy to condensed": lambda c: c.init_exponent - 0.5},
)
