"""The escape: when does SAM leave a minimum that gradient descent is happy with, how fast, and where does it stop?

Zhou et al. 2024 (arXiv 2410.10373) see SAM leave the minimum exponentially fast, then converge to a flatter one in the
same valley. On the full batch of a small problem this can be computed: `_theory`, after Long and Bartlett 2023 (arXiv
2309.12488).
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    above,
    at_least,
    at_most,
    between,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    SKY,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
    medians,
    positive,
)
from dyntoolkit.figure.recorded import newest, recorded
from dyntoolkit.figure.sweeps import Rows, by_field, sweep_line
from dyntoolkit.phenomena.flatness._copies import (
    WAY,
    Loss,
    Samples,
    Sharpness,
    draw,
    initial,
    loss_between,
    marked,
    moved,
    named,
    network,
    of_healthy,
    squares,
)
from dyntoolkit.phenomena.flatness._theory import edge, factor, threshold
from dyntoolkit.probes.barrier import barrier

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run: full-batch gradient descent, then SAM from where it is (arXiv 2410.10373)."""

    rho_relative: float = number(
        2.0, 0.2, 8.0, label="radius ρ / ρ*", help="in units of the predicted threshold", log=True, main=True
    )
    label_noise: float = number(0.0, 0.0, 0.4, label="wrong labels", help="share of wrong training labels", main=True)
    lr: float = number(0.05, 0.01, 0.1, label="learning rate η", help="step size", log=True, main=True)
    init_scale: float = number(
        1.0, 0.3, 2.0, label="initialization scale", help="factor on the initial weights", log=True, main=True
    )
    kick: float = number(
        1e-4, 1e-6, 1e-2, label="kick", help="displacement along the sharpest direction", log=True, main=True
    )
    steps: int = number(
        1500, 500, 2000, label="steps before the switch", help="of gradient descent", log=True, structural=True
    )
    sam_steps: int = number(
        300, 50, 600, label="steps after the switch", help="of gradient descent and SAM", log=True, structural=True
    )
    n_train: int = number(300, 100, 400, label="training images n", help="the rest tests", log=True, structural=True)
    width: int = number(32, 16, 64, label="width", help="units per hidden layer", log=True, structural=True)
    hidden: int = number(1, 1, 2, label="hidden layers", help="of tanh units", structural=True)


PRESETS = {
    "escape": Preset("Twice the threshold: the loss rises tenfold in ten steps, and comes back flatter."),
    "below": Preset("Below the threshold: nothing happens.", {"rho_relative": 0.8}),
    "just_above": Preset("Just above it: a slow, clean exponential.", {"rho_relative": 1.25}),
    "noisy": Preset(
        "Three of ten labels wrong: nearer to its own edge, and at the predicted rate, too.", {"label_noise": 0.3}
    ),
}


# ---- Data, model, step ----

# Data (the digits), network, loss and what becomes of a copy that diverges: `_copies`

COPIES = ("gd", "gd_kick", "sam", "sam_kick")  # after the switch; "_kick": begun a little off, along v
PLAIN = 2  # so many of them are without SAM
LEAST_RADIUS = (
    0.002  # of the threshold that rho_relative is a multiple of, where gradient descent is itself at the edge
)


class Copies(NamedTuple):
    """Copies of a network. theta: (R, S, P). updates: (R,).

    left: the update at which a copy diverged (R, S), 0 for never.
    """

    theta: Tensor
    left: Tensor
    updates: Tensor

    @classmethod
    def start(cls, theta: Tensor) -> Self:
        """Before the first update."""
        R, S, _ = theta.shape
        return cls(theta, torch.zeros(R, S, dtype=torch.int64), torch.zeros(R, dtype=torch.int64))


def make_step(
    configs: Sequence[Config], samples: Samples, loss: Loss, copies: int, rho: Tensor | None = None
) -> Callable[[Copies, None], Copies]:
    """The update of all copies of R runs on all samples. rho: radius (R,) of those from PLAIN on, if they do SAM."""
    both = value_and_grad(loss)
    lr = per_run(configs, "lr", torch.float64, ndim=3)  # (R, 1, 1)
    x, y = of_copies(samples.x, copies), of_copies(samples.y, copies)  # (R S, n, d), (R S, n, C)
    sam_x, sam_y = of_copies(samples.x, copies - PLAIN), of_copies(samples.y, copies - PLAIN)

    def step(state: Copies, _: None) -> Copies:
        g = both(state.theta.flatten(0, 1), x, y)[1].view(state.theta.shape)  # (R, S, P)
        if rho is not None:
            # SAM: theta <- theta - lr grad L(theta + rho grad L(theta))
            climbed = (state.theta + rho[:, None, None] * g)[:, PLAIN:]  # (R, S - 2, P)
            of_sam = both(climbed.flatten(0, 1), sam_x, sam_y)[1].view(climbed.shape)
            g = torch.cat([g[:, :PLAIN], of_sam], 1)
        updates = state.updates + 1
        theta, left = moved(state.theta, -lr * g, state.left, updates)
        return Copies(theta, left, updates)

    return step


def radius(relative: Array | float, lr: Array, curvature: Array) -> Array:
    """relative rho*, the radius of SAM; relative 0.002 where rho* is less than that."""
    return np.asarray(relative * np.maximum(threshold(lr, curvature), LEAST_RADIUS))


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Gradient descent, 21 frames with loss_before, sharpness_before (R,); then COPIES, a frame at every step.

    left (R, 4): as in `Copies`; a run counts as diverged where gradient descent has. At the switch: curvature, rho
    (R,), the sharpness lambda_0 and the radius; path_other (R, 21), the training loss at WAY to gradient descent from
    another start. Then: loss (R, 4); x (R, 2), the distance along v of gd_kick from gd and of sam_kick from sam; every
    20 steps and at the end sharpness (R, 4); at the end path (R, 21) from gd to sam_kick.
    """
    return marked(_trained(configs, seeds), COPIES.index("gd"))


def _trained(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """The frames of both phases, see `simulate`."""
    config = configs[0]
    samples = draw(configs, seeds, "digits", torch.float64)
    model = network(samples, config)
    loss = squares(model)
    total = config.steps + config.sam_steps
    one, other = initial(configs, seeds, model, torch.float64)
    watch = Sharpness(loss, samples)

    def before(k: int, state: Copies) -> dict[str, Array]:
        gd, left = state.theta[:, 1:], state.left[:, 1]  # (R, 1, P), (R,)
        sharpness = watch(gd, 5 if k else 20)[:, 0]
        return {
            "loss_before": of_healthy(loss(gd[:, 0], samples.x, samples.y), left),
            "sharpness_before": of_healthy(sharpness, left),
            "left": state.left[:, [1] * len(COPIES)].numpy(),
        }

    pair = Copies.start(torch.stack([other, one], 1))
    step = make_step(configs, samples, loss, 2)
    state, marks = yield from train(pair, step, full_batch, evenly(config.steps, FRAMES), before, total=total)
    yield from after_the_switch(configs, samples, loss, state, marks, total)


def after_the_switch(
    configs: Sequence[Config], samples: Samples, loss: Loss, state: Copies, marks: Array, total: int
) -> Generator[Frame, None, None]:
    """The frames from the switch on. state: another start, and gradient descent, (R, 2, P)."""
    config = configs[0]
    gd = state.theta[:, 1]  # (R, P)
    at_switch = Sharpness(loss, samples)
    curvature = at_switch(gd[:, None], 100)[:, 0]  # (R,) lambda_0
    v = at_switch.vectors[:, 0]  # (R, P)
    lr, relative, kick = (per_run(configs, name, torch.float64) for name in ("lr", "rho_relative", "kick"))
    rho = torch.from_numpy(radius(relative.numpy(), lr.numpy(), curvature.numpy()))  # (R,)
    kicked = gd + kick[:, None] * v
    watch = Sharpness(loss, samples)
    watch.vectors = v[:, None].expand(-1, len(COPIES), -1)
    x, y = of_copies(samples.x, len(COPIES)), of_copies(samples.y, len(COPIES))

    def measure(k: int, state: Copies) -> dict[str, Array]:
        theta, left = state.theta, state.left
        off = theta[:, 1::2] - theta[:, ::2]  # (R, 2, P) of gd and sam
        values = {
            "loss": of_healthy(loss(theta.flatten(0, 1), x, y).view(left.shape), left),
            # x = |<theta_kicked - theta, v>|
            "x": of_healthy((off * v[:, None]).sum(2).abs(), left[:, ::2] + left[:, 1::2]),
            "left": left.numpy(),
        }
        if k == 0:
            others = loss_between(loss, samples, gd[:, None], other[:, None])[:, 0]
            values |= {"curvature": of_healthy(curvature, left[:, 0]), "rho": of_healthy(rho, left[:, 0])}
            values |= {"path_other": of_healthy(others, left[:, :1])}
        if k % EVERY == 0 or k == config.sam_steps:
            values["sharpness"] = of_healthy(watch(theta, 5 if k < config.sam_steps else 60), left)
        if k == config.sam_steps:
            path = loss_between(loss, samples, theta[:, :1], theta[:, 3:])[:, 0]  # (R, 21)
            values["path"] = of_healthy(path, left[:, :1] + left[:, 3:])
        return values

    other = state.theta[:, 0]
    four = torch.stack([gd, kicked, gd, kicked], 1)
    start = Copies(four, state.left[:, 1:].expand(-1, len(COPIES)).clone(), state.updates)
    step = make_step(configs, samples, loss, len(COPIES), rho)
    record = range(config.sam_steps + 1)
    yield from train(start, step, full_batch, record, measure, start=config.steps, total=total, diverged=marks)


# ---- What is measured, claims ----

FRAMES = 21  # before the switch
EVERY = 20  # steps after it between two measurements of the sharpness
SMALL = 0.02  # displacements below it count as small
FIRST = 8  # steps


def metrics(history: History) -> dict[str, Array]:
    """Of each run, name -> (R,); NaN where there is nothing to measure.

    curvature: lambda_0; rho; rho_star; lr_curvature = lr lambda_0. predicted = |1 - lr lambda_0 (1 + rho lambda_0)| and
    predicted_gd = |1 - lr lambda_0|; growth, growth_gd: geometric mean of x_(t+1)/x_t over the first 8 steps with
    x_(t+1) < 0.02, of the pair of SAM and of gradient descent; growth_error = growth/predicted - 1, plain_error =
    growth/predicted_gd - 1. peak: largest loss of sam_kick, back: its last loss, both over the loss at the switch.
    settle, settle_gd: the last sharpness of sam_kick and of gd_kick over lambda*. barrier: from the end of gd to that
    of sam_kick; barrier_other: at the switch, to gradient descent from another start.
    """
    lr = np.array([config.lr for config in history.configs])
    curvature, rho = history.last("curvature"), history.last("rho")
    growth_gd, growth = rates(history["x"])  # (R,) each
    predicted, predicted_gd = factor(lr, curvature, rho), factor(lr, curvature)
    loss = history["loss"][:, :, 3] / history["loss"][0, :, 3]  # (T, R)
    lambda_star, sharpness = edge(lr, rho), history.last("sharpness")
    with np.errstate(divide="ignore"):
        plain_error = growth / predicted_gd - 1
    return {
        "growth": growth,
        "growth_gd": growth_gd,
        "growth_error": growth / predicted - 1,
        "plain_error": plain_error,
        "peak": loss.max(0),
        "back": loss[-1],
        "settle": sharpness[:, 3] / lambda_star,
        "settle_gd": sharpness[:, 1] / lambda_star,
        "barrier": barrier(history.last("path"), WAY),
        "barrier_other": barrier(history.last("path_other"), WAY),
        "curvature": curvature,
        "rho": rho,
        "rho_star": threshold(lr, curvature),
        "lr_curvature": lr * curvature,
        "predicted": predicted,
        "predicted_gd": predicted_gd,
    }


def rates(x: Array) -> Array:
    """Geometric means of x_(t+1)/x_t over the first steps in which x is small, of x (T, R, 2): (2, R)."""
    before, after = x[:-1][:FIRST], x[1:][:FIRST]
    small = (after < SMALL) & (after > 0) & (before > 0)
    logs = np.log(np.divide(after, before, out=np.ones_like(after), where=small))  # 0 where it is not
    count = small.sum(0)  # (R, 2)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.exp(logs.sum(0) / np.where(count, count, np.nan)).T)


def size_of_error(metrics: Metrics, config: Config) -> Array:
    """By which part of it the measured growth is off the predicted one, (R,)."""
    return np.asarray(np.abs(metrics["growth_error"]))


BELOW = Control("ρ = 0.8 ρ*", {"rho_relative": 0.8})

CLAIMS = (
    Claim(
        id="threshold",
        statement="Above ρ* a displacement along the sharpest direction grows, below it does not.",
        metric="growth",
        bound=above(1.02),
        where=defaults(rho_relative=between(1.2, 4)),
        controls=(BELOW,),
    ),
    Claim(
        id="threshold_loss",
        statement="At twice ρ* the training loss then at least doubles, below ρ* it does not rise.",
        metric="peak",
        bound=at_least(2),
        where=defaults(rho_relative=between(2, 4)),
        controls=(BELOW,),
    ),
    Claim(
        id="exponential_rate",
        statement="The escape is exponential at the predicted rate, |1 − ηλ₀(1 + ρλ₀)| per step, to 1 %.",
        value=size_of_error,
        bound=at_most(0.01),
        where=defaults(rho_relative=between(0.5, 4)),
        controls=(Control("the rate without SAM's term", metric="plain_error"),),
    ),
    Claim(
        id="settles_at_edge",
        statement="It stops at SAM's own edge: the last sharpness is λ*, to 10 % below and 6 % above.",
        metric="settle",
        bound=between(0.9, 1.06),
        where=defaults(rho_relative=between(2, 4)),
        controls=(Control("gradient descent", metric="settle_gd"),),
    ),
    Claim(
        id="same_valley",
        statement="No barrier stands between the ends of gradient descent and of SAM: "
        "on the straight way the training loss rises by at most 0.01.",
        metric="barrier",
        bound=at_most(0.01),
        where=defaults(rho_relative=between(0.5, 4)),
        controls=(Control("gradient descent from another start", metric="barrier_other"),),
    ),
    Claim(
        id="comes_back",
        statement="After 300 steps the loss is below that at the switch.",
        metric="back",
        bound=at_most(1),
        where=defaults(),
        controls=(Control("at its peak", metric="peak"),),
    ),
)


# ---- Figure ----

SWITCH = "steps after the switch"
WAITING = "Begins at the switch."


def panels(history: History) -> list[Panel]:
    """Sharpness; the displacement; the loss; its growth against the radius; the loss on the way between the ends."""
    return [
        _sharpness(history),
        _displacement(history),
        _loss(history),
        _growth(history),
        _way(history),
    ]


def _theory(history: History) -> dict[str, Array]:
    """lambda_0, rho, lr of each run, (R,); NaN before the switch."""
    found = {name: newest(history, name) for name in ("curvature", "rho")}
    return {**found, "lr": np.array([config.lr for config in history.configs])}


def _sharpness(history: History) -> Panel:
    """Before and after the switch, with the edges of gradient descent and of SAM."""
    config: Config = history.config
    steps, before = recorded(history, "sharpness_before")
    later, values = recorded(history, "sharpness")
    values = values if values.ndim > 2 else np.empty((0, len(history.seeds), len(COPIES)))
    gd, sam = (
        (np.concatenate([steps, later]) - config.steps, np.concatenate([before, values[:, :, 1]])),
        (later - config.steps, values[:, :, 3]),
    )
    known = _theory(history)
    lambda_star = float(medians(edge(known["lr"], known["rho"])))
    return Panel(
        "Sharpness",
        Axis(SWITCH, range=(-config.steps, config.sam_steps)),
        Axis("λ<sub>max</sub>(H)"),
        [
            median_line(named(history, "gradient descent", 1), *gd, BLUE),
            median_line(named(history, "SAM", 3), *sam, RED),
            Level("2/η", y=2 / config.lr),
            Level("λ* of SAM", y=lambda_star, color=ORANGE),
        ],
    )


def _displacement(history: History) -> Panel:
    """How far the kicked copies are off, and the predicted straight lines."""
    steps, x = recorded(history, "x")
    x = positive(x) if x.ndim > 2 else np.empty((0, len(history.seeds), 2))
    known = _theory(history)
    kick = np.array([config.kick for config in history.configs])
    t = np.arange(SHOWN + 1)
    lines = []
    for rho in (0.0, known["rho"]):
        line = medians(kick * factor(known["lr"], known["curvature"], rho) ** t[:, None])  # (T,)
        lines.append(np.where((line > LEAST) & (line < 1), line, np.nan))
    return Panel(
        "Displacement x along v",
        Axis(SWITCH, range=(0, SHOWN)),
        Axis("x", log=True, range=(LEAST, 10)),
        [
            median_line("gradient descent", (steps - history.config.steps)[: SHOWN + 1], x[: SHOWN + 1, :, 0], BLUE),
            median_line("SAM", (steps - history.config.steps)[: SHOWN + 1], x[: SHOWN + 1, :, 1], RED),
            Line("|1 − ηλ₀|<sup>t</sup>", t, lines[0], GREY, dash=True),
            Line("|1 − ηλ₀(1 + ρλ₀)|<sup>t</sup>", t, lines[1], GREY, dash=True),
        ],
        "" if "x" in history else WAITING,
    )


SHOWN = 50  # steps after the switch
LEAST = 1e-12  # displacement that is shown


def _loss(history: History) -> Panel:
    """The training loss after the switch."""
    steps, loss = recorded(history, "loss")
    loss = loss if loss.ndim > 2 else np.empty((0, len(history.seeds), len(COPIES)))
    steps = steps - history.config.steps
    return Panel(
        "Training loss",
        Axis(SWITCH, range=(0, history.config.sam_steps)),
        Axis("½ squared error", log=True),
        [
            median_line(named(history, "gradient descent", 1), steps, loss[:, :, 1], BLUE),
            median_line(named(history, "SAM", 3), steps, loss[:, :, 3], RED),
        ],
        "" if "loss" in history else WAITING,
    )


RADII = np.linspace(0.2, 8, 40)  # in units of the threshold
PREDICTED = "|1 − ηλ₀(1 + ρλ₀)|"


def _growth(history: History) -> Panel:
    """The growth per step at this radius, and the prediction from lambda_0 for all radii."""
    known = _theory(history)
    line = _predicted(known["lr"], known["curvature"])  # (40, R)
    grown = rates(history["x"])[1] if "x" in history else np.full(len(history.seeds), np.nan)
    relative = np.array([config.rho_relative for config in history.configs])
    return Panel(
        "Growth per step",
        Axis("ρ / ρ*", range=(0, 8)),
        Axis("x<sub>t+1</sub> / x<sub>t</sub>"),
        [
            Line("measured", relative, grown, RED, markers="points"),
            median_line(PREDICTED, RADII, line, GREY, dash=True),
            Level("neither grows nor shrinks", y=1.0, color=SKY),
        ],
        "" if "x" in history else WAITING,
    )


def _predicted(lr: Array, curvature: Array) -> Array:
    """The growth by theory at all RADII, of runs with these curvatures (R,): (40, R)."""
    return np.stack([factor(lr, curvature, radius(r, lr, curvature)) for r in RADII])


def _way(history: History) -> Panel:
    """The training loss on the straight way from gradient descent to SAM, and to another start."""
    path, other = (newest(history, name, len(WAY)) for name in ("path", "path_other"))  # (R, 21)
    marks: list[Mark] = [
        median_line("to SAM", WAY, path.T, RED),
        median_line("to gradient descent from another start", WAY, other.T, GREY),
    ]
    axes = Axis("way from gradient descent", range=(0, 1)), Axis("training loss", log=True)
    return Panel("From valley to valley?", *axes, marks, "" if "path_other" in history else WAITING)


def sweep_panels(rows: Rows) -> list[Panel]:
    """Growth per step against the radius in finished runs that differ in nothing else, and theory."""
    groups = by_field(rows, "rho_relative")
    others = max(groups, key=lambda config: len(groups[config]))
    runs = groups[others]
    curvature = np.array([metrics["curvature"] for found in runs.values() for metrics in found])
    line = _predicted(np.full(len(curvature), others.lr), curvature)
    return [
        Panel(
            "Growth per step by radius",
            Axis("ρ / ρ*"),
            Axis("x<sub>t+1</sub> / x<sub>t</sub>"),
            [
                sweep_line("measured", runs, "growth", RED),
                median_line(PREDICTED, RADII, line, GREY, dash=True),
                Level("neither grows nor shrinks", y=1.0, color=SKY),
            ],
        )
    ]


# ---- The record ----

EXPERIMENT = Experiment(
    name="flatness.escape",
    title="The escape in slow motion",
    question="When does SAM leave a minimum that gradient descent is happy with, how fast, and where does it stop?",
    paper="2410.10373",
    seconds=2.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: network(draw(history.configs, history.seeds, "digits", torch.float64), history.config),
    sweep_panels=sweep_panels,
    predictions={"settle": lambda config: 1.0 if config.rho_relative > 1 else np.nan},
    borders={"threshold ρ*": lambda config: float(np.log(config.rho_relative))},
)
