"""Why does the error on a combination that was never seen fall, rise again, and only then vanish?

Structured identity mapping (arXiv 2410.08309): a linear network learns to copy points on the axes, and is tested on
their sum. Full-batch descent on the exact expectation; nothing is sampled but the start.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Map,
    Metrics,
    Preset,
    at_least,
    at_most,
    between,
    config,
    defaults,
    metric_where,
    number,
)
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
)
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.probes.crossing_times import first_step

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one linear network that learns to copy concepts (arXiv 2410.08309)."""

    init_scale: float = number(
        0.1, 0.001, 0.3, label="initialization scale", help="size of the start", log=True, main=True
    )
    perturb: float = number(0.1, 0.0, 1.0, label="noise in the start", help="random share of the start", main=True)
    lr: float = number(0.08, 0.008, 0.8, label="learning rate", help="as a share of the edge", log=True, main=True)
    correlation: float = number(
        0.99, -0.999, 0.999, label="correlation", help="how much the start mixes the concepts", main=True
    )
    ratio: float = number(
        2.0, 1.0, 4.0, label="ratio of strengths", help="of each concept over the one before", main=True
    )
    concepts: int = number(2, 2, 3, label="concepts", help="number of concepts", structural=True)
    sigma: float = number(0.05, 0.0, 1.0, label="width of the clusters", help="noise around each point")
    layers: int = number(2, 1, 2, label="layers", help="depth: U Uᵀ, or M itself", structural=True)
    steps: int = number(1500, 200, 6000, label="steps", help="updates", log=True, structural=True)

    def check(self) -> None:
        """Three concepts of ratio 4 would be 16 times as strong."""
        if self.concepts == 3 and self.ratio > 3:
            raise InputError(f"ratio takes a number from 1 to 3 with three concepts, got {self.ratio:g}.", "ratio")

    @property
    def strengths(self) -> Array:
        """mu (s,): how far from the origin the concepts lie."""
        return self.ratio ** np.arange(self.concepts)

    @property
    def moments(self) -> Array:
        """a (s,), the diagonal of E x x^T."""
        return self.strengths**2 / self.concepts + self.sigma**2

    @property
    def step_size(self) -> float:
        """eta, of which lr = 1 is the largest that is stable at the end: 4 a eta = 2 for the strongest concept."""
        return self.lr / (2 * float(self.moments.max()))


PRESETS = {
    "swing": Preset("The test loss falls, rises again, and only then vanishes."),
    "no_swing": Preset("A start that does not mix the concepts: no swing.", {"correlation": 0.0}),
    "opposite": Preset("Mixed with the opposite sign: no swing either.", {"correlation": -0.99}),
    "one_layer": Preset("One layer learns each concept for itself.", {"layers": 1}),
    "three": Preset("Three concepts: each weaker one swings by.", {"concepts": 3}),
    "equal": Preset("Two concepts as strong: they are learned together.", {"ratio": 1.0}),
}


# ---- Data, model, step ----


class State(NamedTuple):
    """weights: U of M = U U^T, or M itself with one layer; (R, s, s)."""

    weights: Tensor


def initial(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """M0 = init_scale [(1 - |c|) I + |c| s s^T] with s = (1, 1, ...), alternating for c < 0; U its square root.

    Each entry of U (of M, with one layer) times 1 + perturb N(0, 1): (R, s, s), float64.
    """
    size = configs[0].concepts
    starts = []
    for c in configs:
        signs = np.sign(c.correlation) ** np.arange(size) if c.correlation else np.ones(size)
        mixed = np.outer(signs, signs)
        M0 = c.init_scale * ((1 - abs(c.correlation)) * np.eye(size) + abs(c.correlation) * mixed)
        eigenvalues, vectors = np.linalg.eigh(M0)
        starts.append(M0 if c.layers == 1 else vectors * np.sqrt(np.maximum(eigenvalues, 0)) @ vectors.T)
    noise = Stream(seeds, "init").normal(size, size, dtype=torch.float64)  # (R, s, s)
    return torch.from_numpy(np.stack(starts)) * (1 + per_run(configs, "perturb", torch.float64, ndim=3) * noise)


def product(weights: Tensor, layers: int) -> Tensor:
    """M (R, s, s)."""
    return weights @ weights.mT if layers == 2 else weights


def make_step(configs: Sequence[Config]) -> Callable[[State, None], State]:
    """Gradient descent on 1/2 E |M x - x|^2 = 1/2 tr (M - I) A (M - I)^T."""
    layers = configs[0].layers
    a = torch.from_numpy(np.stack([c.moments for c in configs]))[:, None]  # (R, 1, s)
    eta = torch.tensor([c.step_size for c in configs], dtype=torch.float64)[:, None, None]  # (R, 1, 1)
    one = torch.eye(configs[0].concepts, dtype=torch.float64)

    def step(state: State, _: None) -> State:
        # E = (M - I) A
        error = (product(state.weights, layers) - one) * a  # (R, s, s)
        if layers == 1:
            return State(state.weights - eta * error)
        # U <- U - eta (E + E^T) U
        return State(state.weights - eta * (error + error.mT) @ state.weights)

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks in float64; a frame at every step with the values of `measure`."""
    config = configs[0]
    a = torch.from_numpy(np.stack([c.moments for c in configs]))  # (R, s)
    strengths = torch.from_numpy(np.stack([c.strengths for c in configs]))  # (R, s)
    return train(
        State(initial(configs, seeds)),
        make_step(configs),
        full_batch,
        range(config.steps + 1),
        lambda k, state: measure(product(state.weights, config.layers), a, strengths),
    )


# ---- What is measured, claims ----


def measure(M: Tensor, a: Tensor, strengths: Tensor) -> dict[str, Array]:
    """What a frame shows. train, test: losses (R,). M: (R, s, s). a: (R, s). strengths: mu (R, s), the test point."""
    off = M - torch.eye(M.shape[1], dtype=M.dtype)  # (R, s, s)
    return {
        "train": ((off.square() * a[:, None]).sum((1, 2)) / 2).numpy(),
        "test": ((off @ strengths[..., None]).square().sum((1, 2)) / 2).numpy(),
        "M": M.numpy(),
    }


def bracket(M: Array, configs: Sequence[Config]) -> Array:
    """Theory's rate o'/o of the mixed entry o = M_12 of two concepts: (T, R, 2, 2) -> (T, R).

    From M' = -(S M + M S) with S = E + E^T, exact for small steps. It is positive while both concepts are small, and
    negative once the stronger one is learned.
    """
    a1, a2 = np.stack([c.moments for c in configs]).T  # (R,) each
    weak, strong = M[..., 0, 0], M[..., 1, 1]  # (T, R)
    # o' = o [2 a1 (1 - M11) + 2 a2 (1 - M22) - (a1 + a2)(M11 + M22)]
    return np.asarray(2 * a1 * (1 - weak) + 2 * a2 * (1 - strong) - (a1 + a2) * (weak + strong))


def swing(test: Array) -> tuple[Array, Array, Array]:
    """Largest rise of the test loss (T, R) over its least value before, the step of that, and of the least value."""
    least = np.minimum.accumulate(test, 0)
    rise = test - least
    peak = rise.argmax(0)  # (R,)
    runs = np.arange(test.shape[1])
    low = (test == least[peak, runs]).argmax(0)  # the first step with that least value
    return rise[peak, runs], peak, low


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names of each run, (R,).

    bump: largest rise of the test loss above its least value before, over its start; t_peak, t_min: where. train_up:
    largest rise of the training loss in one step, over its start. off_max: largest |M_12|, t_off its step; t_theory:
    first step at which `bracket` is negative (t_off and t_theory: two concepts only). order: step at which M_11 > .5
    over that of M_22. end: last test loss over the first.
    """
    if "M" not in history:
        return dict.fromkeys(METRICS, np.full(len(history.seeds), np.nan))
    train, test, M = history["train"], history["test"], history["M"]  # (T, R), (T, R), (T, R, s, s)
    steps = history.at("M")
    rise, peak, low = swing(test)
    off = np.abs(M[..., 0, 1])  # (T, R)
    two = history.config.concepts == 2
    never = np.full(len(history.seeds), np.nan)
    weak, strong = (first_step(steps, M[..., i, i] > 0.5) for i in (0, 1))
    ups = np.diff(train, axis=0).max(0, initial=0.0)  # (R,)
    return {
        "bump": rise / test[0],
        "t_peak": steps[peak].astype(float),
        "t_min": steps[low].astype(float),
        "train_up": ups / train[0],
        "off_max": off.max(0),
        "t_off": steps[off.argmax(0)].astype(float) if two else never,
        "t_theory": first_step(steps, bracket(M, history.configs) < 0) if two else never,
        "order": np.divide(weak, strong, out=never.copy(), where=strong > 0),
        "end": test[-1] / test[0],
    }


METRICS = ("bump", "t_peak", "t_min", "train_up", "off_max", "t_off", "t_theory", "order", "end")


def _peak_of_mixing(found: Metrics, config: object) -> Array:
    """t_off - t_theory where the test loss is least 0 to 12 steps later, NaN elsewhere."""
    later = found["t_min"] - found["t_off"]
    return np.where((later >= 0) & (later <= 12), found["t_off"] - found["t_theory"], np.nan)


UNMIXED = Control("a start that does not mix", {"correlation": 0.0})
ONE_LAYER = Control("one layer", {"layers": 1})
EQUAL = Control("concepts as strong", {"ratio": 1.0})

CLAIMS = (
    Claim(
        id="swing",
        statement="The test loss rises by a twentieth of its start at least, and vanishes in the end.",
        metric="bump",
        value=metric_where("bump", "end", most=0.01),
        bound=at_least(0.05),
        where=defaults(),
        controls=(UNMIXED, Control("mixed with the opposite sign", {"correlation": -0.99}), ONE_LAYER, EQUAL),
    ),
    Claim(
        id="train_never_rises",
        statement="The training loss never rises, while the test loss swings.",
        metric="train_up",
        bound=at_most(1e-9),
        where=defaults(),
        controls=(Control("the test loss does", metric="bump"),),
    ),
    Claim(
        id="off_diagonal",
        statement="The mixed entry peaks where theory says, to two steps; at most 12 later the test loss is least.",
        metric="t_off",
        value=_peak_of_mixing,
        bound=between(-2, 2),
        where=defaults(),
        controls=(ONE_LAYER, UNMIXED),
    ),
    Claim(
        id="strong_first",
        statement="The stronger concept is learned at least four times as early.",
        metric="order",
        bound=at_least(4),
        where=defaults(),
        controls=(EQUAL,),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Losses; where the network puts the test point; the entries of M; growth of the mixed entry against theory."""
    return [_losses(history), _path(history), _entries(history), _growth(history)]


def _losses(history: History) -> Panel:
    lines = [
        recorded_line(history, "test", "all concepts at once (never seen)", TEST, start=1),
        recorded_line(history, "train", "one concept at a time", TRAIN, start=1),
    ]
    return Panel("Loss", log_steps(history), Axis("½|Mx − x|²"), [*lines])


def _path(history: History) -> Panel:
    """M x of the first run, in the plane of the first two concepts."""
    _, M = recorded(history, "M")
    strengths = history.config.strengths
    path = M[:, 0] @ strengths if len(M) else np.empty((0, len(strengths)))  # (T, s)
    weak, strong = (np.array([value]) for value in strengths[:2])
    return Panel(
        "Where it puts the sum",
        Axis("weak concept (1)"),
        Axis("strong concept (2)" if len(strengths) == 2 else "middle concept (2)"),
        [
            Line("M x during training", path[:, 0], path[:, 1], BLUE),
            Line("now", path[-1:, 0], path[-1:, 1], ORANGE, markers="points"),
            Line("target x", weak, strong, GREY, markers="points"),
        ],
    )


def _entries(history: History) -> Panel:
    steps, M = recorded(history, "M", 1)
    s = history.config.concepts
    entries = M.reshape(len(M), len(history.seeds), s * s)  # (T, R, s s)
    if s == 2:
        shown = {"M₁₁ weak": (0, TRAIN), "M₂₂ strong": (3, ORANGE), "M₁₂ mixed": (1, PURPLE)}
    else:
        shown = {"M₁₁ weak": (0, TRAIN), "M₂₂ middle": (4, GREEN), "M₃₃ strong": (8, ORANGE)}
        shown |= {"M₁₂ mixed": (1, PURPLE), "M₁₃": (2, SKY), "M₂₃": (5, RED)}
    lines: list[Mark] = [_entry(name, steps, entries, at, color) for name, (at, color) in shown.items()]
    if _has_theory(history):
        found = metrics(history)["t_theory"]
        known = found[np.isfinite(found) & (found > 0)]
        lines.append(Level("theory: M₁₂ peaks", x=float(np.median(known)) if known.size else np.nan))
    return Panel("Entries of M", log_steps(history), Axis("entry"), lines)


def _has_theory(history: History) -> bool:
    """The formula of the mixed entry is for two concepts and two layers."""
    config: Config = history.config
    return config.concepts == 2 and config.layers == 2


def _entry(name: str, steps: Array, entries: Array, at: int, color: str) -> Line:
    """The median over the runs of one entry of M; entries: (T, R, s s)."""
    y = np.median(entries[..., at], axis=1) if entries.size else np.empty(0)
    return Line(name, steps, y, color)


def _growth(history: History) -> Panel:
    """How fast the mixed entry of the first run grows in a step, and what theory says."""
    steps, M = recorded(history, "M")
    two = history.config.concepts == 2
    measured = predicted = np.full(max(len(M) - 1, 0), np.nan)
    if two and len(M) > 1:
        off = M[:, 0, 0, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            measured = np.where(np.abs(off[:-1]) > SMALLEST, off[1:] / off[:-1] - 1, np.nan)
        theory = bracket(M[:-1, :1], history.configs[:1])[:, 0] * history.config.step_size
        predicted = theory if _has_theory(history) else predicted
    return Panel(
        "Growth of the mixed entry",
        log_steps(history),
        Axis("ΔM₁₂ / M₁₂ per step"),
        [
            Line("measured", steps[1:], measured, PURPLE),
            Line("theory (small steps)", steps[1:], predicted, GREY, dash=True),
            Level("none", y=0.0 if two else np.nan),
        ],
        "" if two else "The formula is for two concepts.",
    )


SMALLEST = 1e-10  # mixed entries below it are rounding


# ---- The record ----

EXPERIMENT = Experiment(
    name="kernels.swing_by",
    title="The swing by a combination never seen",
    question="Why does the error on a combination that was never seen fall, rise again, and only then vanish?",
    paper="2410.08309",
    seconds=0.3,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    map=Map(
        title="Swing of the test loss",
        label="bump",
        x="correlation",
        y="init_scale",
        xs=(-0.99, 0.0, 0.5, 0.8, 0.9, 0.95, 0.99),
        ys=(0.001, 0.01, 0.03, 0.1, 0.2, 0.3),
        simulate=simulate,
        value=lambda history: metrics(history)["bump"],
    ),
)
