"""Does the loss descend by plateaus, at losses of narrower networks, while directions multiply?

Condensation: Zhang and Xu 2022 (arXiv 2207.05952), Xu et al. 2025 (arXiv 2504.09484). A wide network of small weights
rests where a narrow one would stay, for a critical point of a narrow network is one of every wider network as well.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import relu, sin, tanh

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    at_least,
    at_most,
    choice,
    config,
    defaults,
    mean_of,
    number,
)
from dyntoolkit.figure.panels import BLUE, GREEN, GREY, MEASURED, RED, TRAIN, Axis, Level, Line, Panel
from dyntoolkit.figure.recorded import newest, recorded_line
from dyntoolkit.phenomena.condensation import _two_layer as two_layer
from dyntoolkit.phenomena.condensation._neurons import neurons_panel, of_largest
from dyntoolkit.phenomena.condensation._two_layer import State
from dyntoolkit.probes.effective_neurons import effective_neurons

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run of full-batch gradient descent on 40 points."""

    target: str = choice(
        "relu3",
        ("relu3", "relu_zig", "tanh_bump", "tanh_mix"),
        label="target",
        help="sets data and activation",
        main=True,
    )
    width: int = number(100, 1, 200, label="width m", help="hidden neurons", log=True, main=True, structural=True)
    init_scale: float = number(
        1e-3,
        1e-6,
        1.0,
        label="initialization scale",
        help="standard deviation of the initial weights",
        log=True,
        main=True,
    )
    lr: float = number(
        0.05, 0.005, 0.3, label="learning rate η", help="step size of gradient descent", log=True, main=True
    )
    steps: int = number(12000, 1000, 30000, label="steps", help="updates", log=True, structural=True)


PRESETS = {
    "staircase": Preset("The loss rests where a straight line fits best, then goes on with more directions."),
    "tiny_init": Preset("Smaller still: a longer rest, for some seeds for good.", {"width": 50, "init_scale": 1e-4}),
    "lazy": Preset("A large start: no steps, many directions.", {"init_scale": 0.5}),
    "zig": Preset("Another zigzag, on a wider interval.", {"target": "relu_zig", "lr": 0.03}),
    "bump": Preset("A bump, learned by tanh neurons.", {"target": "tanh_bump", "lr": 0.1}),
    "mix": Preset("Two sines, learned by tanh neurons.", {"target": "tanh_mix", "lr": 0.1}),
    "narrow": Preset("A single neuron: what its loss ends at is a level.", {"width": 1, "init_scale": 0.05}),
}

# ---- Data, model, step ----

N_TRAIN = 40
LOSS_EVERY = 5  # steps
WITHIN = 5.0  # degrees over which two directions count as one


class Target(NamedTuple):
    """A function on [-reach, reach], and the activation of the network that learns it."""

    function: Callable[[Tensor], Tensor]
    reach: float
    activation: str


TARGETS = {
    "relu3": Target(lambda x: 2 * relu(x) - 4 * relu(x - 0.5) + 2 * relu(-x - 0.3), 1.0, "relu"),
    "relu_zig": Target(lambda x: relu(x + 1) - 2 * relu(x) + 2 * relu(x - 1), 2.0, "relu"),
    "tanh_bump": Target(lambda x: tanh(8 * x + 4) - tanh(8 * x - 4), 1.0, "tanh"),
    "tanh_mix": Target(lambda x: sin(torch.pi * x) + 0.5 * sin(3 * torch.pi * x + 1), 1.0, "tanh"),
}


def draw_target(config: Config) -> tuple[Tensor, Tensor]:
    """40 evenly spaced points x and the target's values y, float64 (40,)."""
    target = TARGETS[config.target]
    x = torch.linspace(-target.reach, target.reach, N_TRAIN, dtype=torch.float64, device="cpu")
    return x, target.function(x)


def load_data(config: Config) -> tuple[Tensor, Tensor]:
    """The same in the network's float32."""
    x, y = draw_target(config)
    return x.to(torch.float32), y.to(torch.float32)


def affine_loss(x: Tensor, y: Tensor) -> float:
    """The mean squared error of the straight line that fits best. x, y: (n,)."""
    line = np.polynomial.Polynomial.fit(x.numpy(), y.numpy(), 1)
    return float(np.mean((line(x.numpy()) - y.numpy()) ** 2))


def snapshot_steps(steps: int) -> set[int]:
    """Where the directions are measured: floor(10^(i/12)) for i = 8 to 49, and the last step."""
    return {k for i in range(8, 50) if (k := int(10 ** (i / 12))) <= steps} | {0, steps}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks; loss (R,) every 5 steps.

    At `snapshot_steps`: n_eff (R,), weighted by amplitude (of lines for tanh); orientation in degrees and amplitude
    (R, m); output (R, 40). At step 0 affine (R,), the loss of the straight line that fits best.
    """
    c, (x, y) = configs[0], load_data(configs[0])
    kind, shots = TARGETS[c.target].activation, snapshot_steps(c.steps)
    affine = np.full(len(configs), affine_loss(x, y))

    def measure(k: int, state: State) -> dict[str, Array]:
        theta = state.theta  # (R, 3, m)
        found = {"loss": two_layer.loss(theta, x, y, kind)}
        if k in shots:
            size = two_layer.amplitude(theta)  # (R, m)
            found |= {
                # N_eff with p_k = |a_k||w_k| / sum_j |a_j||w_j|
                "n_eff": effective_neurons(theta[:, :2].mT, size, WITHIN, lines=kind == "tanh"),
                "orientation": two_layer.orientation(theta),
                "amplitude": size,
                "output": two_layer.outputs(theta, x, kind),
            }
        values = {name: value.numpy() for name, value in found.items()}
        return values | ({"affine": affine} if k == 0 else {})

    return train(
        State(per_run(configs, "init_scale", ndim=3) * Stream(seeds, "init").normal(3, c.width)),
        two_layer.make_step(x, y, per_run(configs, "lr"), kind),
        full_batch,
        sorted({*range(0, c.steps, LOSS_EVERY), *shots}),
        measure,
    )


# ---- What is measured, claims ----

POINTS, LAG = 200, 4  # points on the logarithmic axis of steps, and how many of them a slope spans
FLAT, LONG = 0.08, 0.35  # largest slope (decades per decade) on a plateau, and its least length in decades
TWO_NEURONS = 0.116  # loss at which two neurons on relu3 end at best (40 runs)


class Plateau(NamedTuple):
    """Steps between which the loss rests, its level, and the least effective number of neurons there."""

    start: float
    end: float
    level: float
    n_eff: float


def plateaus(steps: Array, loss: Array, n_eff_steps: Array, n_eff: Array) -> list[Plateau]:
    """The stretches of a loss curve that are flat on log-log axes. steps, loss: (N,); n_eff: (K,) at n_eff_steps."""
    if steps[-1] < 10:
        return []
    t = np.geomspace(10**0.7, steps[-1], POINTS)
    nearest = np.abs(steps[:, None] - t).argmin(0)
    logs = np.log10(np.clip(loss[nearest].astype(np.float64), 1e-300, 1e300))
    # slope_i = (log10 L_{i+4} - log10 L_i) / (log10 t_{i+4} - log10 t_i)
    slope = (logs[LAG:] - logs[:-LAG]) / (np.log10(t[LAG:]) - np.log10(t[:-LAG]))
    flat = np.concatenate([[False], np.abs(slope) < FLAT, [False]])
    starts, ends = np.flatnonzero(flat[1:] & ~flat[:-1]), np.flatnonzero(flat[:-1] & ~flat[1:])
    found = []
    for i, j in zip(starts.tolist(), ends.tolist(), strict=True):
        start, end = t[i + 2], t[min(j + 2, POINTS - 1)]
        if np.log10(end / start) > LONG:
            level = 10 ** float(np.sort(logs[i:j])[(j - i - 1) // 2])  # by the lower median
            near = n_eff[(n_eff_steps >= 0.9 * start) & (n_eff_steps <= 1.1 * end)]
            found.append(Plateau(float(start), float(end), float(level), float(near.min()) if len(near) else np.nan))
    return found


def found_plateaus(history: History, r: int) -> list[Plateau]:
    """The plateaus of run r so far."""
    return plateaus(history.at("loss"), history["loss"][:, r], history.at("n_eff"), history["n_eff"][:, r])


def metrics(history: History) -> dict[str, Array]:
    """What is measured of each run, (R,).

    affine_gap: relative distance of the affine fit's loss from the nearest plateau with n_eff < 1.5; NaN without one.
    narrow_gap: that of the third plateau from the level of two neurons (relu3 only). plateaus: how many there are.
    n_eff, loss: at the end. grown: 1 where n_eff > 2 and loss < 0.13.
    """
    runs, affine = range(len(history.seeds)), history.last("affine")
    found = [found_plateaus(history, r) for r in runs]
    gaps = [[abs(p.level / affine[r] - 1) for p in found[r] if p.n_eff < 1.5] for r in runs]
    n_eff, loss = history.last("n_eff"), history.last("loss").astype(np.float64)
    third = [p[2].level if len(p) > 2 and history.config.target == "relu3" else np.nan for p in found]
    return {
        "affine_gap": np.array([min(gap, default=np.nan) for gap in gaps]),
        "narrow_gap": np.abs(np.array(third) / TWO_NEURONS - 1),
        "plateaus": np.array([len(p) for p in found], dtype=np.float64),
        "n_eff": n_eff,
        "loss": loss,
        "grown": ((n_eff > 2) & (loss < 0.13)).astype(np.float64),
    }


STAIRCASE = defaults(steps=at_least(12000))

CLAIMS = (
    Claim(
        id="affine_plateau",
        statement="The loss rests within 1 % of the best straight line's, while all neurons point in one direction.",
        metric="affine_gap",
        bound=at_most(0.01),
        where=STAIRCASE,
        controls=(Control("initialization scale 0.5", {"init_scale": 0.5}),),
    ),
    Claim(
        id="directions_grow",
        statement="Then directions multiply and the loss falls below the plateau: in at least 8 of 10 seeds.",
        sweep=mean_of("grown", seeds=10),
        bound=at_least(0.8),
        where=STAIRCASE,
    ),
    Claim(
        id="narrow_levels",
        statement="A third plateau lies within 2 % of the loss of two neurons (seen in some runs only).",
        metric="narrow_gap",
        bound=at_most(0.02),
        where=lambda _: False,
    ),
)

# ---- Figure ----

STEP = Axis("step", log=True)  # without step 0


def panels(history: History) -> list[Panel]:
    """Loss with its plateaus and levels; effective number of neurons; the neurons now; the function now."""
    return [
        _loss(history),
        Panel(
            "Effective number of neurons",
            STEP,
            Axis("N<sub>eff</sub>"),
            [
                recorded_line(history, "n_eff", "N<sub>eff</sub>", GREEN, start=1, markers="both"),
                Level("one direction", y=1.0),
            ],
        ),
        _neurons(history),
        _function(history),
    ]


def _loss(history: History) -> Panel:
    """Loss of all runs, the plateaus of the first one, and the levels on which it may rest."""
    _, y = draw_target(history.config)
    rests = found_plateaus(history, 0) if "n_eff" in history and history.at("loss")[-1] > 0 else []
    x = np.array([value for rest in rests for value in (rest.start, rest.end, np.nan)])
    levels = np.array([value for rest in rests for value in (rest.level, rest.level, np.nan)])
    affine = float(history.last("affine")[0]) if "affine" in history else np.nan
    two = TWO_NEURONS if history.config.target == "relu3" else np.nan
    return Panel(
        "Loss",
        STEP,
        Axis("mean squared error", log=True),
        [
            recorded_line(history, "loss", "loss", TRAIN, start=1),
            Line("plateau", x, levels, RED, width=5.0),
            Level("zero function", y=float(np.mean(y.numpy() ** 2))),
            Level("best straight line", y=affine, color=GREEN),
            Level("two neurons", y=two),
        ],
    )


def _neurons(history: History) -> Panel:
    """The neurons of the first run, each with its amplitude beside the largest."""
    angle, size = np.empty(0), np.empty(0)
    if "orientation" in history:
        angle, size = history.last("orientation")[0], history.last("amplitude")[0]
    return neurons_panel([Line("neuron", angle, of_largest(size), MEASURED, markers="points")])


def _function(history: History) -> Panel:
    """What the network of the first run says now."""
    x, y = (points.numpy() for points in draw_target(history.config))
    now = newest(history, "output", len(x))[0]
    return Panel(
        "Function", Axis("x"), Axis("f(x)"), [Line("network", x, now, BLUE), Line("target", x, y, GREY, dash=True)]
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="condensation.staircase",
    title="A staircase of plateaus",
    question="Does the loss descend by plateaus at narrow networks' losses, while directions multiply?",
    paper="2207.05952",
    seconds=1.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
