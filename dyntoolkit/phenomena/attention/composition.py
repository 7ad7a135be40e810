"""Does a small transformer compose a pair of operations that it never saw, or does it only know what it saw?

Zhang and others 2024 and 2025 (arXiv 2405.05409, 2501.08537): a small initialization or weight decay makes it compose,
a large initialization makes it memorize.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.layers import linear
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import attention, embed
from dyntoolkit.engine.update import Adam, adam, clip
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Map,
    Preset,
    at_least,
    at_most,
    config,
    defaults,
    metric_where,
    number,
)
from dyntoolkit.figure.panels import (
    GREEN,
    GREY,
    RED,
    TRAIN,
    Axis,
    Bars,
    Heat,
    Level,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import recorded, recorded_line
from dyntoolkit.laboratory.losses import cross_entropy
from dyntoolkit.probes.crossing_times import first_above

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of a small transformer that has seen 15 of 16 pairs of operations (arXiv 2405.05409, 2501.08537)."""

    init_rate: float = number(
        0.5, 0.2, 1.0, label="initialization rate", help="weights of size fan_in^(−rate): small = large", main=True
    )
    label_noise: float = number(0.0, 0.0, 0.3, label="wrong answers", help="share of training answers", main=True)
    lr: float = number(
        0.01, 0.003, 0.03, label="learning rate η", help="largest step size of AdamW", log=True, main=True
    )
    weight_decay: float = number(1.0, 0.01, 1.0, label="weight decay", help="decoupled", log=True, main=True)
    items: int = number(40, 25, 60, label="items", help="numbers to operate on", structural=True)
    batch_size: int = number(128, 64, 256, label="batch size", help="sequences per step", log=True, structural=True)
    steps: int = number(1000, 300, 2000, label="steps", help="updates", log=True, structural=True)


MEMORIZE = {"init_rate": 0.2, "weight_decay": 0.01}

PRESETS = {
    "compose": Preset("The usual start and weight decay: it composes the pair that it never saw."),
    "memorize": Preset("Large weights and hardly any decay: the pair never seen is not answered.", MEMORIZE),
    "decay_helps": Preset("The same large start; weight decay alone makes it compose.", {"init_rate": 0.2}),
    "small_start": Preset("Small weights do so without decay.", {"init_rate": 0.8, "weight_decay": 0.01}),
    "fits_only": Preset(
        "All that was seen is answered, what was not is wrong.", {"init_rate": 0.2, "weight_decay": 0.1}
    ),
    "between": Preset(
        "In between each seed finds its own way: raise the number of seeds.", {"init_rate": 0.3, "weight_decay": 0.01}
    ),
}


# ---- Data, model, step ----

SHIFTS = (5, 1, -2, -8)  # of the anchors
PAIRS = len(SHIFTS) ** 2
SEEN, UNSEEN = 2 * 4 + 3, 3 * 4 + 2  # pairs (2, 3), trained with a wrong answer, and (3, 2), never trained
SYMMETRIC = -6  # that wrong answer; the right one is x - 10
FIRST = 20  # token of the item value 0
LEAST_NOISE = 12  # least token of a wrong answer


def vocabulary(items: int) -> int:
    """V: the values -16 to items + 9, a few unused, and the anchors last."""
    return items + 44


class Sequences(NamedTuple):
    """All sequences, pair by pair. tokens: x, a, b (n, 3). composed: x + shift_a + shift_b; pair: (n,) each."""

    tokens: Tensor
    composed: Tensor
    pair: Tensor


def sequences(items: int) -> Sequences:
    """Every pair of anchors with every item."""
    x = torch.arange(items, dtype=torch.int64).repeat(PAIRS)  # (n,)
    pair = torch.arange(PAIRS, dtype=torch.int64).repeat_interleave(items)  # (n,)
    a, b = pair // len(SHIFTS), pair % len(SHIFTS)
    shifts, anchor = torch.tensor(SHIFTS, dtype=torch.int64), vocabulary(items) - len(SHIFTS)
    return Sequences(torch.stack([FIRST + x, anchor + a, anchor + b], 1), FIRST + x + shifts[a] + shifts[b], pair)


def symmetric(every: Sequences) -> Tensor:
    """The token of x - 6 for each sequence, (n,)."""
    return every.tokens[:, 0] + SYMMETRIC


def training_answers(configs: Sequence[Config], seeds: Sequence[int], every: Sequences) -> Tensor:
    """What each run is told of the sequences of 15 pairs, (R, 15 items): wrong for pair (2, 3), and by label noise."""
    taught = torch.where(every.pair == SEEN, symmetric(every), every.composed)[every.pair != UNSEEN]  # (n,)
    chance = Stream(seeds, "label noise").unit(len(taught))  # (R, n)
    places = vocabulary(configs[0].items) - len(SHIFTS) - LEAST_NOISE
    wrong = Stream(seeds, "wrong answers").indices(places, len(taught)) + LEAST_NOISE
    return torch.where(chance < per_run(configs, "label_noise", ndim=2), wrong, taught)


@dataclass(frozen=True)
class Network:
    """Two post-norm layers with one causal head, without biases or gains, whose R copies are the rows of theta (R, P).

    h = LN(h + O Attn(h)), h = LN(h + B relu(A h)), scores q.k/sqrt(width); the logits are those of the last place.
    """

    vocabulary: int
    width: int = 32
    places: int = 3
    layers: int = 2

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Name -> (in, out) of each block of a row of theta, in order."""
        d = self.width
        shapes = {"tok": (self.vocabulary, d), "pos": (self.places, d)}
        for layer in range(self.layers):
            blocks = {**dict.fromkeys(("query", "key", "value", "output"), (d, d)), "A": (d, 2 * d), "B": (2 * d, d)}
            shapes |= {f"{name}{layer}": shape for name, shape in blocks.items()}
        return shapes | {"U": (d, self.vocabulary)}

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """Name -> (R, in, out) of each block."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        blocks = zip(self.shapes.items(), torch.split(theta, sizes, dim=1), strict=True)
        return {name: part.view(-1, *shape) for (name, shape), part in blocks}

    def init(self, stream: Stream, init_rate: Tensor) -> Tensor:
        """Each matrix N(0, fan_in^(-2 init_rate)), that of embeddings being the width: (R, P). init_rate: (R,)."""
        fans = {name: self.width if name in ("tok", "pos") else shape[0] for name, shape in self.shapes.items()}
        fan_in = torch.cat(
            [torch.full((math.prod(self.shapes[name]),), fan, dtype=torch.float32) for name, fan in fans.items()]
        )  # (P,)
        return stream.normal(len(fan_in)) * fan_in ** -init_rate[:, None]

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """Logits (R, B, V) of the answer to x (R, B, 3)."""
        w, (R, B, T), d = self.split(theta), x.shape, self.width
        h = embed(w["tok"], x) + w["pos"][:, None]  # (R, B, T, d)
        for layer in range(self.layers):
            last = layer == self.layers - 1  # all that it needs is its last place
            asked = h[:, :, -1:] if last else h  # (R, B, T', d)
            q = linear(asked.reshape(R, -1, d), w[f"query{layer}"]).view(R, B, -1, d)
            k, v = (linear(h.reshape(R, -1, d), w[f"{name}{layer}"]).view(R, B, T, d) for name in ("key", "value"))
            scores = q @ k.mT / math.sqrt(d)  # (R, B, T', T)
            mixed = (scores.softmax(-1) if last else attention(scores)) @ v  # (R, B, T', d)
            z = norm(asked.reshape(R, -1, d) + linear(mixed.reshape(R, -1, d), w[f"output{layer}"]))  # (R, B T', d)
            h = norm(z + linear(linear(z, w[f"A{layer}"]).relu(), w[f"B{layer}"])).view(R, B, -1, d)
        return linear(h[:, :, 0], w["U"])


def norm(h: Tensor) -> Tensor:
    """LN(h): mean 0 and variance 1 over the last axis, no gain or bias."""
    return functional.layer_norm(h, h.shape[-1:])


def schedule(t: Tensor, steps: int) -> Tensor:
    """Share of the learning rate in update t + 1: up within 100 steps, a cosine down to .1."""
    t = t.to(torch.float32)
    return ((t + 1) / 100).clamp_max(1) * (0.1 + 0.45 * (1 + torch.cos(math.pi * t / steps)))


def make_step(
    configs: Sequence[Config], network: Network, tokens: Tensor, taught: Tensor
) -> Callable[[Adam, Tensor], Adam]:
    """AdamW on batches (R, B) of the training sequences. tokens: (n, 3). taught: (R, n)."""
    lr, decay = per_run(configs, "lr").double(), per_run(configs, "weight_decay").double()
    runs = torch.arange(len(configs), dtype=torch.int64)[:, None]  # (R, 1)
    gradient = value_and_grad(lambda theta, x, y: cross_entropy(network(theta, x), y))

    def step(state: Adam, batch: Tensor) -> Adam:
        _, g = gradient(state.theta, tokens[batch], taught[runs, batch])
        rate = lr * schedule(state.updates, configs[0].steps)  # (R,)
        return adam(state, clip(g, 1.0), rate, 0.9, 0.98, weight_decay=decay, decoupled=True)

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R transformers; 41 frames with the values of `measure`."""
    config = configs[0]
    every, network = sequences(config.items), Network(vocabulary(config.items))
    taught = training_answers(configs, seeds, every)  # (R, n)
    drawn = Stream(seeds, "batches")
    return train(
        Adam.start(network.init(Stream(seeds, "init"), per_run(configs, "init_rate"))),
        make_step(configs, network, every.tokens[every.pair != UNSEEN], taught),
        lambda k0, k1: drawn.indices(taught.shape[1], k1 - k0, config.batch_size).transpose(0, 1),
        evenly(config.steps, 41),
        lambda k, state: measure(network, state.theta, every),
    )


# ---- What is measured, claims ----


def measure(network: Network, theta: Tensor, every: Sequences) -> dict[str, Array]:
    """What a frame shows, on all sequences and against answers without noise.

    composed, symmetric: share of x + shift_a + shift_b, and of x - 6, among the answers to each pair, (R, 16).
    train_accuracy, train_loss: over the 15 pairs as they are taught; unseen_loss: of x - 10 for the pair never seen.
    All (R,).
    """
    R, taught = len(theta), torch.where(every.pair == SEEN, symmetric(every), every.composed)  # (n,)
    logits = network(theta, every.tokens.expand(R, -1, -1))  # (R, n, V)
    answer = logits.argmax(-1)  # (R, n)
    loss = torch.logsumexp(logits, -1) - logits.gather(-1, taught.expand(R, -1)[..., None]).squeeze(-1)  # (R, n)
    trained = every.pair != UNSEEN
    found = {
        "composed": (answer == every.composed).double().view(R, PAIRS, -1).mean(-1),
        "symmetric": (answer == symmetric(every)).double().view(R, PAIRS, -1).mean(-1),
        "train_accuracy": (answer == taught)[:, trained].double().mean(1),
        "train_loss": loss[:, trained].mean(1),
        "unseen_loss": loss[:, ~trained].mean(1),
    }
    return {name: value.numpy() for name, value in found.items()}


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names of each run, (R,).

    Last values, unseen_accuracy and symmetric of the pair never seen; t_train, t_unseen: the first frame with more than
    .9 of the training set right, and more than half of the pair never seen.
    """
    never = np.full(len(history.seeds), np.nan)
    if "composed" not in history:
        return dict.fromkeys(METRICS, never)
    unseen = history["composed"][:, :, UNSEEN]  # (T, R)
    steps = history.at("composed")
    last = {name: history.last(name).astype(np.float64) for name in ("train_accuracy", "train_loss", "unseen_loss")}
    return {
        **last,
        "unseen_accuracy": unseen[-1],
        "symmetric": history.last("symmetric")[:, UNSEEN],
        "t_train": first_above(steps, history["train_accuracy"], 0.9),
        "t_unseen": first_above(steps, unseen, 0.5),
    }


METRICS = ("train_accuracy", "train_loss", "unseen_loss", "unseen_accuracy", "symmetric", "t_train", "t_unseen")


CLAIMS = (
    Claim(
        id="composes",
        statement="It fits (0.9 of all that was seen right) and composes the pair that it never saw.",
        metric="unseen_accuracy",
        value=metric_where("unseen_accuracy", "train_accuracy", least=0.9),
        bound=at_least(0.4),
        where=defaults(),
        controls=(Control("large start, hardly any decay", MEMORIZE, metric="unseen_accuracy"),),
    ),
    Claim(
        id="decay_composes",
        statement="From a large start weight decay makes it compose.",
        metric="unseen_accuracy",
        bound=at_least(0.3),
        where=defaults(init_rate=0.2),
        preset="decay_helps",
        controls=(Control("hardly any decay", {"weight_decay": 0.01}),),
    ),
    Claim(
        id="small_start_composes",
        statement="From a small start it composes without decay.",
        metric="unseen_accuracy",
        bound=at_least(0.35),
        where=defaults(init_rate=0.8, weight_decay=0.01),
        preset="small_start",
        controls=(Control("large start", {"init_rate": 0.2}),),
    ),
    Claim(
        id="fit_is_not_enough",
        statement="To fit is not enough: all that was seen is right (0.95), what was not is wrong.",
        metric="unseen_accuracy",
        value=metric_where("unseen_accuracy", "train_accuracy", least=0.95),
        bound=at_most(0.35),
        where=defaults(init_rate=0.2, weight_decay=0.1),
        preset="fits_only",
        controls=(Control("ten times the decay", {"weight_decay": 1.0}, metric="unseen_accuracy"),),
    ),
)


def unseen_accuracy(history: History) -> Array:
    """The newest share of x - 10 among the answers to the pair never seen, (R,)."""
    return metrics(history)["unseen_accuracy"]


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Accuracies and losses; of run 1 the table of all pairs, and the answers to the two special ones."""
    step = Axis("step", range=(0, history.config.steps))
    steps, composed = recorded(history, "composed")  # (T, R, 16)
    _, symmetric = recorded(history, "symmetric")
    if not len(steps):
        composed = symmetric = np.empty((0, len(history.seeds), PAIRS))
    return [
        Panel(
            "Answers",
            step,
            Axis("share", range=(-0.02, 1.05)),
            [
                recorded_line(history, "train_accuracy", "right, of those seen", TRAIN),
                median_line("composed, pair never seen", steps, composed[:, :, UNSEEN], GREEN),
                median_line("symmetric, pair never seen", steps, symmetric[:, :, UNSEEN], RED),
                Level("1/V", y=1 / vocabulary(history.config.items)),
            ],
        ),
        _table(history),
        _special(history),
        Panel(
            "Loss",
            step,
            Axis("cross-entropy (nats)", log=True),
            [
                recorded_line(history, "train_loss", "pairs seen", TRAIN),
                recorded_line(history, "unseen_loss", "composed answer, pair never seen", GREEN),
            ],
        ),
    ]


NAMES = [f"{shift:+d}".replace("-", "−") for shift in SHIFTS]


def _table(history: History) -> Panel:
    """The share of composed answers to each pair."""
    z = history.last("composed")[0] if "composed" in history else np.full(PAIRS, np.nan)
    heat = Heat("share", NAMES, NAMES, z.reshape(4, 4), low=0, high=1)
    return Panel("Composed answers", Axis("second operation"), Axis("first operation"), [heat])


def _special(history: History) -> Panel:
    """What run 1 answers to the pair taught wrong, and to the pair never seen."""
    known = "composed" in history
    composed = history.last("composed")[0, [SEEN, UNSEEN]] if known else np.full(2, np.nan)
    copied = history.last("symmetric")[0, [SEEN, UNSEEN]] if known else np.full(2, np.nan)
    pairs = ["−2, −8: taught x − 6", "−8, −2: never seen"]
    return Panel(
        "The two special pairs",
        Axis("pair"),
        Axis("share", range=(0, 1.05)),
        [
            Bars("x − 10, composed", pairs, composed, GREEN),
            Bars("x − 6, as taught for −2, −8", pairs, copied, RED),
            Bars("anything else", pairs, 1 - composed - copied, GREY),
        ],
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="attention.composition",
    title="The pair never seen",
    question="Does a transformer that has seen 15 of 16 pairs of operations compose the one that it never saw?",
    paper="2405.05409",
    seconds=2.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    map=Map(
        title="Composed answers to the pair never seen",
        label="share",
        x="init_rate",
        y="weight_decay",
        xs=(0.2, 0.3, 0.5, 0.8),
        ys=(0.01, 0.1, 1.0),
        simulate=simulate,
        value=unseen_accuracy,
    ),
    network=lambda history: Network(vocabulary(history.config.items)),
)
