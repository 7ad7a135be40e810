"""SAM late in training: how late can one switch from SGD to sharpness-aware minimization, and what does it change?

Zhou, Wang, Mao, Li and Yan 2024, "Sharpness-aware minimization efficiently selects flatter minima late in training"
(arXiv 2410.10373), whose abstract, code and public summaries are taken as hypotheses; on digits with wrong labels.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    above,
    at_least,
    at_most,
    below,
    between,
    choice,
    config,
    defaults,
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
    Axis,
    Level,
    Mark,
    Panel,
    median_line,
    medians,
)
from dyntoolkit.figure.recorded import newest, recorded
from dyntoolkit.laboratory.losses import right
from dyntoolkit.laboratory.training import Epochs
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
from dyntoolkit.phenomena.flatness._theory import edge
from dyntoolkit.probes.barrier import barrier
from dyntoolkit.probes.relative_distance import relative_distance

Tensor = torch.Tensor


# ---- Settings and presets ----

MOST_SAMPLES = {"digits": 600, "breast_cancer": 400, "wine": 120}  # to train on; the rest tests


class Config(config.Config):
    """Settings of one run: six schedules of SGD and SAM from one start (arXiv 2410.10373)."""

    rho: float = number(0.2, 1e-4, 0.5, label="SAM's radius ρ", help="how far SAM climbs first", log=True, main=True)
    label_noise: float = number(0.3, 0.0, 0.4, label="wrong labels", help="share of wrong training labels", main=True)
    lr: float = number(0.05, 0.01, 0.1, label="learning rate η", help="step size", log=True, main=True)
    init_scale: float = number(
        1.0, 0.3, 2.0, label="initialization scale", help="factor on the initial weights", log=True, main=True
    )
    steps: int = number(1500, 500, 3000, label="steps", help="updates", log=True, main=True, structural=True)
    data: str = choice("digits", [*MOST_SAMPLES], label="data", help="all of scikit-learn", main=True)
    n_train: int = number(300, 80, 600, label="training samples n", help="the rest tests", log=True, structural=True)
    batch: int = number(32, 16, 128, label="batch size", help="samples per step", doubling=True, structural=True)
    width: int = number(64, 16, 128, label="width", help="units per hidden layer", log=True, structural=True)
    hidden: int = number(1, 1, 2, label="hidden layers", help="of tanh units", structural=True)

    def check(self) -> None:
        """No more samples than there are, and no batch larger than all of them."""
        most = MOST_SAMPLES[self.data]
        if self.n_train > most:
            raise InputError(f"n_train takes at most {most} where data is {self.data}, got {self.n_train}.", "n_train")
        if self.batch > self.n_train:
            raise InputError(f"batch takes at most n_train, here {self.n_train}, got {self.batch}.", "batch")

    def warnings(self) -> list[str]:
        """Where SAM from the start was seen to diverge: in two of four runs at lr 0.1, rho 0.2."""
        if self.lr < 0.08 or self.rho < 0.15:
            return []
        return ["with a learning rate and a radius this large, SAM from the start diverges for some seeds."]


PRESETS = {
    "noisy": Preset("Three of ten labels wrong: a late switch to SAM is flatter, and better on test data."),
    "clean": Preset("All labels right: flatter as well, and not better.", {"label_noise": 0.0}),
    "tiny_rho": Preset("SAM that hardly climbs is SGD again, to three digits.", {"rho": 1e-4}),
    "breast_cancer": Preset(
        "Tumours by thirty measures: the late switch helps here, too.",
        {"data": "breast_cancer", "label_noise": 0.2, "rho": 0.5, "n_train": 200},
    ),
    "wine": Preset(
        "Wines by thirteen measures, eighty of them: the same.",
        {"data": "wine", "label_noise": 0.2, "rho": 0.5, "n_train": 80},
    ),
}


# ---- Data, model, step ----

# Data, network, loss and what becomes of a copy that diverges: `_copies`

SWITCHES = {"50": 0.5, "75": 0.75, "90": 0.9, "97": 0.97}  # schedule -> the share of the steps before its switch
SCHEDULES = ("sgd", "sam", *SWITCHES)
ENDS = ("other", "sam", *SWITCHES)  # what a segment from the end of sgd leads to
PLAIN = 2  # columns of a state without SAM: "other", which is SGD from another start, and "sgd"
WATCHED = 30  # steps after a switch


class Schedules(NamedTuple):
    """Seven copies of a network: "other", then SCHEDULES; one that has not switched yet is the same as "sgd".

    theta: (R, 7, P). norms: sum of |g| over the updates (R, 7). left: the update at which a copy diverged (R, 7), 0 for
    never. updates: (R,).
    """

    theta: Tensor
    norms: Tensor
    left: Tensor
    updates: Tensor

    @classmethod
    def start(cls, theta: Tensor) -> Self:
        """Before the first update."""
        R, S, _ = theta.shape
        none = torch.zeros(R, S, dtype=torch.int64)
        return cls(theta, torch.zeros(R, S, dtype=torch.float32), none, torch.zeros(R, dtype=torch.int64))


class Batch(NamedTuple):
    """What the updates of a block see. samples: (K, R, B), the same for all copies. climbs: (K, 5), 1 for SAM, 0 for
    SGD, of SCHEDULES without sgd.
    """

    samples: Tensor
    climbs: Tensor


def switches(steps: int) -> list[int]:
    """The steps at which sam, 50, 75, 90, 97 begin with SAM."""
    return [0, *(round(steps * share) for share in SWITCHES.values())]


def make_batches(configs: Sequence[Config], seeds: Sequence[int]) -> Callable[[int, int], Batch]:
    """A fresh order of each run's samples in each epoch, cut into batches; and who does SAM."""
    config = configs[0]
    epochs = Epochs(config.n_train, config.batch, Stream(seeds, "batches"))
    begin = torch.tensor(switches(config.steps), dtype=torch.int64)  # (5,)

    def batches(k0: int, k1: int) -> Batch:
        climbs = torch.arange(k0, k1, dtype=torch.int64)[:, None] >= begin  # (K, 5)
        return Batch(epochs.take(k1 - k0), climbs.float())

    return batches


def uphill(g: Tensor) -> Tensor:
    """g/|g|, the direction in which SAM climbs; gradients g (R, S, P)."""
    length: Tensor = torch.linalg.vector_norm(g, dim=2, keepdim=True)  # (R, S, 1)
    return g / length.clamp_min(1e-12)


def make_step(
    configs: Sequence[Config], samples: Samples, loss: Loss, climb: Callable[[Tensor], Tensor] = uphill
) -> Callable[[Schedules, Batch], Schedules]:
    """The update of all copies of R runs. climb: from gradients (R, S, P) to the directions in which SAM goes first."""
    both = value_and_grad(loss)
    lr, rho = (per_run(configs, name, ndim=3) for name in ("lr", "rho"))  # (R, 1, 1)
    runs = torch.arange(len(configs), dtype=torch.int64)[:, None]  # (R, 1)

    def gradient(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        S = theta.shape[1]
        return both(theta.flatten(0, 1), of_copies(x, S), of_copies(y, S))[1].view(theta.shape)

    def step(state: Schedules, batch: Batch) -> Schedules:
        x, y = samples.x[runs, batch.samples], samples.y[runs, batch.samples]  # (R, B, d), (R, B, C)
        # g = grad L_B(theta)
        g = gradient(state.theta, x, y)  # (R, 7, P)
        norm = torch.linalg.vector_norm(g, dim=2)  # (R, 7)
        # SAM: theta <- theta - lr grad L_B(theta + rho g/|g|)
        ascent = rho * batch.climbs[:, None] * climb(g[:, PLAIN:])  # (R, 5, P)
        g = torch.cat([g[:, :PLAIN], gradient(state.theta[:, PLAIN:] + ascent, x, y)], 1)
        updates = state.updates + 1
        theta, left = moved(state.theta, -lr * g, state.left, updates)
        return Schedules(theta, state.norms + norm, left, updates)

    return step


def simulate(
    configs: Sequence[Config], seeds: Sequence[int], climb: Callable[[Tensor], Tensor] = uphill
) -> Iterator[Frame]:
    """Train all schedules of R runs on the same batches; frames at 21 even steps, at the switches and at 98 %.

    Values: loss, error, sharpness (R, 6) of SCHEDULES, NaN before a switch; norms, left (R, 6), as in `Schedules`. At
    the 31 steps from a switch on also after_50, ... (R,): the training loss of that schedule. At the end, see
    `Bench.ends`: paths (R, 6, 21), distance (R, 6). A run counts as diverged where its SGD has.
    """
    config = configs[0]
    samples = draw(configs, seeds, config.data, torch.float32)
    model = network(samples, config)
    bench = Bench(config.steps, samples, model)
    one, other = initial(configs, seeds, model, torch.float32)
    start = Schedules.start(torch.stack([other, *[one] * len(SCHEDULES)], 1))
    step, batches = make_step(configs, samples, squares(model), climb), make_batches(configs, seeds)
    return marked(train(start, step, batches, bench.moments(), bench.measure), SCHEDULES.index("sgd"))


# ---- What is measured, claims ----

FRAMES = 21
FIRST, EACH, LAST = 20, 5, 15  # power iterations at the start, in each frame, at the end
QUIET = 0.98  # the share of the steps after which |g| is averaged


class Bench:
    """What is measured of R runs, and when."""

    def __init__(self, steps: int, samples: Samples, model: MLP) -> None:
        self.steps, self.samples, self.model, self.loss = steps, samples, model, squares(model)
        self.sharpness = Sharpness(self.loss, samples)
        self.switches = dict(zip(SWITCHES, switches(steps)[1:], strict=True))
        self.frames = {*evenly(steps, FRAMES), *self.switches.values(), round(QUIET * steps)}

    def moments(self) -> list[int]:
        """The steps at which something is measured."""
        watched = {k for first in self.switches.values() for k in range(first, first + WATCHED + 1) if k <= self.steps}
        return sorted(self.frames | watched)

    def measure(self, k: int, state: Schedules) -> dict[str, Array]:
        """The values of a frame, see `simulate`."""
        values: dict[str, Array] = {}
        for name, first in self.switches.items():
            if first <= k <= first + WATCHED:
                s = 1 + SCHEDULES.index(name)
                loss = self.loss(state.theta[:, s], self.samples.x, self.samples.y)  # (R,)
                values[f"after_{name}"] = of_healthy(loss, state.left[:, s])
        if k in self.frames:
            values |= self.look(k, state)
        if k == self.steps:
            values |= self.ends(state)
        return values

    def look(self, k: int, state: Schedules) -> dict[str, Array]:
        """loss, error, sharpness, norms, left (R, 6); the first three are NaN for schedules that have not begun."""
        S = 2 + sum(first <= k for first in self.switches.values())  # so many have
        theta, left = state.theta[:, 1 : S + 1], state.left[:, 1 : S + 1]  # (R, S, P), (R, S)
        x, y, test_x, test_classes = self.samples
        right_ones = [right(self.model(each, test_x), test_classes) for each in theta.unbind(1)]  # (R, n) each
        found = {
            "loss": self.loss(theta.flatten(0, 1), of_copies(x, S), of_copies(y, S)).view(-1, S),
            "error": 1 - torch.stack([each.double().mean(1) for each in right_ones], 1),
            "sharpness": self.sharpness(theta, FIRST if k == 0 else LAST if k == self.steps else EACH),
        }
        missing = (0, 0), (0, len(SCHEDULES) - S)
        return {
            **{name: np.pad(of_healthy(value, left), missing, constant_values=np.nan) for name, value in found.items()},
            "norms": state.norms[:, 1:].double().numpy(),
            "left": state.left[:, 1:].numpy(),
        }

    def ends(self, state: Schedules) -> dict[str, Array]:
        """From the end of sgd to those of ENDS: paths (R, 6, 21), the training loss at WAY; distance (R, 6).

        distance: how far apart the two ends are, in units of the norm of sgd's.
        """
        order = [0, *range(PLAIN, 1 + len(SCHEDULES))]
        sgd, others = state.theta[:, 1], state.theta[:, order]  # (R, P), (R, 6, P)
        paths = loss_between(self.loss, self.samples, sgd[:, None].expand_as(others), others)
        apart = torch.stack([relative_distance(end, sgd) for end in others.unbind(1)], 1)
        lost = state.left[:, 1:2] + state.left[:, order]  # (R, 6)
        return {"paths": of_healthy(paths, lost[:, :, None]), "distance": of_healthy(apart, lost)}


def metrics(history: History) -> dict[str, Array]:
    """Of each run at the end, name -> (R,); X is sam, 50, 75, 90 or 97.

    sharpness_sgd, sharpness_X, error_sgd, error_X, loss_sgd, loss_X; ratio_X = sharpness_X/sharpness_sgd; over_sam_50,
    ... = sharpness/sharpness_sam; gain_X = error_sgd - error_X; barrier_X, barrier_other: from the end of sgd;
    distance_X. early_stop: the smallest test error of sgd over the 21 even frames, over_early_stop_75 = error_75 -
    early_stop. peak_75: the largest loss in the 30 steps from the switch on over that at the switch, peak_step_75: how
    many steps later. edge_sam, edge_75: sharpness/lambda*, with rho over the mean of |g| in the last 2 % of the steps.
    """
    end = {
        f"{name}_{of}": history.last(name)[:, s]
        for name in ("sharpness", "error", "loss")
        for s, of in enumerate(SCHEDULES)
    }
    X = SCHEDULES[1:]
    after = history["after_75"] / history["after_75"][0]  # (31, R)
    barriers = barrier(history.last("paths"), WAY)  # (R, 6)
    even = np.isin(history.at("error"), evenly(history.total, FRAMES))
    early_stop = np.fmin.reduce(history["error"][even, :, 0])
    lambda_star = edges(history)
    return {
        **{f"ratio_{of}": end[f"sharpness_{of}"] / end["sharpness_sgd"] for of in X},
        **{f"gain_{of}": end["error_sgd"] - end[f"error_{of}"] for of in X},
        **{f"over_sam_{of}": end[f"sharpness_{of}"] / end["sharpness_sam"] for of in SWITCHES},
        **{f"barrier_{of}": barriers[:, k] for k, of in enumerate(ENDS)},
        **{f"distance_{of}": history.last("distance")[:, k] for k, of in enumerate(ENDS)},
        "early_stop": early_stop,
        "over_early_stop_75": end["error_75"] - early_stop,
        "peak_75": after.max(0),
        "peak_step_75": np.where(np.isnan(after).any(0), np.nan, after.argmax(0)),
        **{f"edge_{of}": end[f"sharpness_{of}"] / lambda_star[:, SCHEDULES.index(of)] for of in ("sam", "75")},
        **end,
    }


def edges(history: History) -> Array:
    """lambda* of normalized SAM at the end, rho' = rho/mean of |g| over the last 2 % of the steps: (R, 6)."""
    lr, rho = (np.array([[getattr(config, name)] for config in history.configs]) for name in ("lr", "rho"))  # (R, 1)
    quiet = round(QUIET * history.total)
    first = int(np.flatnonzero(history.at("norms") == quiet)[-1])
    norm = (history.last("norms") - history["norms"][first]) / (history.total - quiet)  # (R, 6)
    return edge(lr, rho / np.maximum(norm, 1e-12))


TABLES = [Config().replace(**PRESETS[name].changes) for name in ("breast_cancer", "wine")]
ANY_LABELS = defaults(label_noise=between(0, 0.4))  # flatter it is without wrong labels, too
CLEAN = Control("all labels right", {"label_noise": 0.0})
TINY = Control("ρ = 0.0001", {"rho": 1e-4})

CLAIMS = (
    Claim(
        id="flatter_late",
        statement="SAM for the last tenth of the steps already flattens: "
        "the sharpness is at most 0.4 of that under SGD.",
        metric="ratio_90",
        bound=at_most(0.4),
        where=ANY_LABELS,
        controls=(TINY,),
    ),
    Claim(
        id="nearly_as_flat",
        statement="SAM for the second half is nearly as flat as SAM throughout: its sharpness is at most 1.6 times.",
        metric="over_sam_50",
        bound=at_most(1.6),
        where=ANY_LABELS,
        controls=(Control("SAM for the last 3 %", metric="over_sam_97"),),
    ),
    Claim(
        id="same_valley",
        statement="No barrier stands between the end of SGD and that of SAM for the last quarter: "
        "on the straight way the training loss rises by at most 0.01.",
        metric="barrier_75",
        bound=at_most(0.01),
        where=defaults(),
        controls=(
            Control("SAM throughout: a slight one", metric="barrier_sam"),
            Control("SGD from another start", metric="barrier_other"),
        ),
    ),
    Claim(
        id="escapes",
        statement="First SAM leaves the minimum: within 30 steps of the switch the loss rises at least threefold.",
        metric="peak_75",
        bound=at_least(3),
        where=ANY_LABELS,
        controls=(TINY,),
    ),
    Claim(
        id="generalises",
        statement="With wrong labels the switch after three quarters lowers the test error by at least 0.015.",
        metric="gain_75",
        bound=at_least(0.015),
        where=defaults(),
        controls=(CLEAN, Control("SAM for the last 3 %", metric="gain_97")),
    ),
    Claim(
        id="generalises_on_tables",
        statement="So it does, by any amount, on two small tables with a fifth of the labels wrong: tumours and wines.",
        metric="gain_75",
        bound=above(0),
        where=lambda config: config in TABLES,
        preset="breast_cancer",
        controls=(TINY,),
    ),
    Claim(
        id="beats_early_stopping",
        statement="In most runs it is better than stopping SGD at its best frame, chosen with the test data: "
        "a lower test error.",
        metric="over_early_stop_75",
        bound=below(0),
        where=defaults(),
        controls=(CLEAN,),
    ),
)


# ---- Figure ----

COLORS = dict(zip(SCHEDULES, (BLUE, RED, ORANGE, GREEN, PURPLE, SKY), strict=True))
LABELS = {"sgd": "SGD", "sam": "SAM", **{name: f"SAM from {name} %" for name in SWITCHES}}


def panels(history: History) -> list[Panel]:
    """Sharpness and test error by step; at the end by switch; loss after a switch; loss on the way between ends."""
    step = Axis("step", range=(0, history.config.steps))
    sharpness = Axis("λ<sub>max</sub>(H)", log=True)
    error = Axis("error rate")
    return [
        Panel("Sharpness", step, sharpness, [*_by_step(history, "sharpness"), *_limits(history)]),
        Panel("Test error", step, error, _by_step(history, "error", start=1)),
        Panel("Sharpness at the end", SHARE, sharpness, _by_switch(history, "sharpness"), _pending(history)),
        Panel("Test error at the end", SHARE, error, _by_switch(history, "error"), _pending(history)),
        _after(history),
        _way(history),
    ]


SHARE = Axis("switch, as share of the steps", range=(0.45, 1.0))


def _pending(history: History) -> str:
    return "" if history.done else "Measured at the end of the run."


def _by_step(history: History, name: str, start: int = 0) -> list[Mark]:
    """A curve of each schedule from its switch on, and from step `start` on."""
    steps, values = recorded(history, name, start)
    values = values if values.ndim > 2 else np.empty((0, len(history.seeds), len(SCHEDULES)))
    labels = [named(history, LABELS[of], s) for s, of in enumerate(SCHEDULES)]
    return [median_line(labels[s], steps, values[:, :, s], COLORS[of]) for s, of in enumerate(SCHEDULES)]


def _limits(history: History) -> list[Mark]:
    """The edges of stability: 2/lr of gradient descent, and that of SAM, both bounds where batches are noisy."""
    of_sam = float(np.nanmedian(edges(history)[:, 1])) if history.done else np.nan
    return [Level("2/η", y=2 / history.config.lr), Level("edge of SAM λ*, a bound", y=of_sam)]


def _by_switch(history: History, name: str) -> list[Mark]:
    """The value at the end against the time of the switch; SGD and SAM throughout as levels."""
    values = history.last(name) if history.done else np.full((len(history.seeds), len(SCHEDULES)), np.nan)
    sgd, sam = medians(values.T)[:2]
    shares = np.array([*SWITCHES.values()])
    return [
        median_line("switched to SAM", shares, values[:, 2:].T, ORANGE, markers="both"),
        Level("SGD", y=float(sgd), color=BLUE),
        Level("SAM throughout", y=float(sam), color=RED),
    ]


def _after(history: History) -> Panel:
    """The training loss in the steps after each switch, over that at the switch."""
    marks: list[Mark] = []
    for name, start in zip(SWITCHES, switches(history.config.steps)[1:], strict=True):
        steps, losses = recorded(history, f"after_{name}")
        losses = losses / losses[:1]
        marks.append(median_line(LABELS[name], steps - start, losses, COLORS[name]))
    axes = Axis("steps after the switch", range=(0, WATCHED)), Axis("loss / loss at switch", log=True)
    return Panel("The escape", *axes, marks, "" if "after_50" in history else "Begins at the first switch.")


def _way(history: History) -> Panel:
    """The training loss on the straight way from the end of SGD to other ends."""
    paths = newest(history, "paths", len(ENDS), len(WAY))  # (R, 6, 21)
    shown = {"75": GREEN, "sam": RED, "other": GREY}
    labels = {**LABELS, "other": "SGD from another start"}
    lines: list[Mark] = [median_line(labels[of], WAY, paths[:, ENDS.index(of)].T, color) for of, color in shown.items()]
    axes = Axis("way from the end of SGD", range=(0, 1)), Axis("training loss")
    return Panel("From valley to valley?", *axes, lines, _pending(history))


# ---- The record ----

EXPERIMENT = Experiment(
    name="flatness.late_sam",
    title="SAM late in training",
    question="How late can one switch from SGD to sharpness-aware minimization, and what does it change?",
    paper="2410.10373",
    seconds=1.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: network(
        draw(history.configs, history.seeds, history.config.data, torch.float32), history.config
    ),
)
