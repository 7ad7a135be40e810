"""Does dividing every matrix by its spectral norm keep attention from collapsing at a high learning rate?

Zhai and others 2023, "Stabilizing transformer training by preventing attention entropy collapse" (arXiv 2303.06296):
sigma-reparametrization. Their bound on the entropy is not tested here; QK-norm is `loss_spikes.logit_growth`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import GAINS, Transformer, cross_entropy
from dyntoolkit.engine.update import Adam, adam, clip
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    above,
    at_least,
    at_most,
    config,
    defaults,
    metric_where,
    number,
)
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    ORANGE,
    SERIES,
    SKY,
    Axis,
    Heat,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
    medians,
)
from dyntoolkit.figure.recorded import recorded, recorded_line
from dyntoolkit.figure.sweeps import Rows, by_field, sweep_line
from dyntoolkit.phenomena._attention_measures import attention_measures
from dyntoolkit.phenomena._number_text import vocabulary
from dyntoolkit.phenomena._text_training import (
    BETA1,
    BETA2,
    CONTEXT,
    MOST_GRADIENT,
    check_width,
    next_token_loss,
    schedule,
    training_starts,
    validation_windows,
    windows,
)

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of a tiny transformer that is trained twice, plain and sigma-reparametrized (arXiv 2303.06296)."""

    init_scale: float = number(
        1.0, 0.1, 10.0, label="initialization scale", help="factor on the usual start", log=True, main=True
    )
    target_noise: float = number(
        0.0, 0.0, 0.4, label="wrong targets", help="share of random next characters in training", main=True
    )
    lr: float = number(0.3, 0.003, 0.3, label="learning rate η", help="largest step size of AdamW", log=True, main=True)
    batch_size: int = number(8, 4, 32, label="batch size", help="windows of 32 characters per step", structural=True)
    width: int = number(32, 16, 64, label="width", help="of the network; a multiple of 4", structural=True)
    steps: int = number(200, 50, 400, label="steps", help="updates", log=True, structural=True)

    def check(self) -> None:
        """Two heads of even size."""
        check_width(self.width)


PRESETS = {
    "collapse": Preset("Plain attention narrows to single places and the loss stays high; reparametrized it learns."),
    "gentle": Preset("At a usual learning rate nothing collapses, and there is no difference.", {"lr": 0.003}),
    "medium": Preset("Ten times that: the plain network is the better one.", {"lr": 0.03}),
    "edge": Preset("The plain network's entropy collapses, yet it mostly learns.", {"lr": 0.1}),
}


# ---- Data, model, step ----

# The text, its windows and the schedule of AdamW: `_text_training`; the network: `engine.transformer`

BRANCHES = ("plain", "sigma")
MATRICES = ("query", "key", "value", "output", "w1", "w2")  # of each layer, those that are reparametrized


class State(NamedTuple):
    """Two networks of each run, plain and reparametrized, and what AdamW remembers of both.

    theta, mean, square: (R, 2, P + M), the weights and a factor gamma for each of M matrices, which the plain network
    never uses. updates: (R,). left: a unit vector u for each matrix, one after the other, (R, 2, U).
    """

    theta: Tensor
    mean: Tensor
    square: Tensor
    updates: Tensor
    left: Tensor


class Batch(NamedTuple):
    """tokens, targets: (K, 2 R, B, 32) int64, the same for both networks of a run."""

    tokens: Tensor
    targets: Tensor


class Reparametrized:
    """W = gamma V/sigma(V) in place of each matrix V of the second network of each run; W = V in the first one."""

    def __init__(self, network: Transformer) -> None:
        self.network = network
        self.matrices = [name for name in network.shapes if name.startswith(MATRICES)]  # M of them

    def start(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """theta (R, 2, P + M) and left vectors (R, 2, U) of runs that begin with weights (R, P)."""
        blocks = self.network.split(weights)
        left = torch.cat([torch.linalg.svd(blocks[name])[0][..., 0] for name in self.matrices], 1)  # (R, U)
        gamma = torch.ones(len(weights), len(self.matrices), dtype=weights.dtype)  # (R, M)
        one = torch.cat([weights, gamma], 1)  # (R, P + M)
        return one[:, None].repeat(1, 2, 1), left[:, None].repeat(1, 2, 1)

    def follow(self, theta: Tensor, left: Tensor) -> tuple[Tensor, list[Tensor]]:
        """One power iteration from `left` on: the new left vectors (2 R, U), and each matrix's right one (2 R, out).

        theta: (2 R, P + M). No gradient is meant to pass through the vectors.
        """
        blocks = self.network.split(theta[:, : self.network.parameters])
        lefts, rights = [], []
        for name, u in self._each(left):
            V = blocks[name]  # (2 R, in, out)
            # v <- V^T u/|V^T u|, u <- V v/|V v|
            v = unit((u[:, None] @ V).squeeze(1))
            rights.append(v)
            lefts.append(unit((V @ v[..., None]).squeeze(2)))
        return torch.cat(lefts, 1), rights

    def weights(self, theta: Tensor, left: Tensor, rights: Sequence[Tensor]) -> Tensor:
        """The weights that the networks use, (2 R, P), plain and reparametrized ones in turn."""
        P = self.network.parameters
        used = self.network.split(theta[:, :P])
        sigma = torch.arange(len(theta), dtype=torch.int64) % 2 == 1  # (2 R,)
        for m, ((name, u), v) in enumerate(zip(self._each(left), rights, strict=True)):
            V = used[name]
            size = (u * (V @ v[..., None]).squeeze(2)).sum(1)  # sigma(V) = u^T V v, (2 R,)
            used[name] = V * torch.where(sigma, theta[:, P + m] / size, 1.0)[:, None, None]
        return torch.cat([block.flatten(1) for block in used.values()], 1)

    def _each(self, left: Tensor) -> list[tuple[str, Tensor]]:
        """Each matrix's name and u."""
        sizes = [self.network.shapes[name][0] for name in self.matrices]
        return list(zip(self.matrices, torch.split(left, sizes, dim=1), strict=True))


def unit(v: Tensor) -> Tensor:
    """v (R, k) at length 1."""
    length: Tensor = torch.linalg.vector_norm(v, dim=1, keepdim=True)  # (R, 1)
    return v / length


def make_batches(configs: Sequence[Config], seeds: Sequence[int]) -> Callable[[int, int], Batch]:
    """Random windows; a share target_noise of the next characters replaced by random ones."""
    config, characters = configs[0], len(vocabulary())
    shape = (config.steps + 1, config.batch_size)
    starts = training_starts(seeds, "batches", *shape)  # (R, steps + 1, B)
    chance = Stream(seeds, "target noise").unit(*shape, CONTEXT)  # (R, steps + 1, B, 32)
    wrong = chance < per_run(configs, "target_noise", ndim=4)
    drawn = Stream(seeds, "random characters").indices(characters, *shape, CONTEXT)

    def batches(k0: int, k1: int) -> Batch:
        text = windows(starts[:, k0:k1])  # (R, K, B, 33)
        targets = torch.where(wrong[:, k0:k1], drawn[:, k0:k1], text[..., 1:])
        return Batch(*(of_copies(part, 2).transpose(0, 1) for part in (text[..., :-1], targets)))

    return batches


def make_step(configs: Sequence[Config], model: Reparametrized) -> Callable[[State, Batch], State]:
    """AdamW without decay; gradients of V and gamma are clipped together."""
    lr, steps = per_run(configs, "lr").double(), configs[0].steps  # (R,)

    def loss(theta: Tensor, left: Tensor, tokens: Tensor, targets: Tensor, *rights: Tensor) -> Tensor:
        return cross_entropy(model.network(model.weights(theta, left, rights), tokens), targets)

    gradient = value_and_grad(loss)

    def step(state: State, batch: Batch) -> State:
        theta, mean, square, left = (part.flatten(0, 1) for part in (*state[:3], state.left))  # (2 R, ...)
        left, rights = model.follow(theta, left)
        _, g = gradient(theta, left, batch.tokens, batch.targets, *rights)
        rate, updates = lr * schedule(state.updates, steps), state.updates  # (R,)
        both = Adam(theta, mean, square, of_copies(updates, 2))
        moved = adam(both, clip(g, MOST_GRADIENT), of_copies(rate, 2), BETA1, BETA2)
        after, mean, square = (part.view(state.theta.shape) for part in moved[:3])
        return State(after, mean, square, updates + 1, left.view(state.left.shape))

    return step


EVERY = 10  # steps between two measurements


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train both networks of R runs on the same batches; every 10 steps and at the end the values of `measure`."""
    config = configs[0]
    network = Transformer(len(vocabulary()), config.width)
    model, batches = Reparametrized(network), make_batches(configs, seeds)
    scale = torch.where(network.mask(*GAINS), 1.0, per_run(configs, "init_scale", ndim=2))  # (R, P)
    theta, left = model.start(network.init(Stream(seeds, "init")) * scale)
    none = torch.zeros(len(seeds), dtype=torch.int64)
    start = State(theta, torch.zeros_like(theta), torch.zeros_like(theta), none, left)
    held_out = validation_windows(2 * len(seeds))  # (2 R, 32, 33)

    def look(k: int, state: State) -> dict[str, Array]:
        coming = Batch(*(part[0] for part in batches(k, k + 1)))  # the batch of the update that comes next
        return measure(state, model, coming, held_out)

    return train(
        start, make_step(configs, model), batches, sorted({*range(0, config.steps, EVERY), config.steps}), look
    )


# ---- What is measured, claims ----

SETTLED = 10  # step from which on attention counts
EVEN = float(np.log(np.arange(2, CONTEXT + 1)).mean())  # nats, of attention that takes equally from all places so far


def measure(state: State, model: Reparametrized, batch: Batch, held_out: Tensor) -> dict[str, Array]:
    """What attention does on a batch before the update with it, plain and reparametrized, (R, 2, ...).

    logit_max, entropy: (R, 2, layers); loss: (R, 2); attention: (R, 2, 32, 32), see `attention_measures`. validation:
    the loss on 32 fixed windows, (R, 2). gamma: of the reparametrized network, (R, M).
    """
    theta, left = state.theta.flatten(0, 1), state.left.flatten(0, 1)  # (2 R, ...)
    used = model.weights(theta, *model.follow(theta, left))  # (2 R, P)
    found = attention_measures(model.network, used, batch.tokens, batch.targets, held_out[:, :1, :-1])
    found["validation"] = next_token_loss(model.network, used, held_out).numpy()
    runs = len(state.theta)
    by_run = {name: value.reshape(runs, 2, *value.shape[1:]) for name, value in found.items()}
    return {**by_run, "gamma": state.theta[:, 1, model.network.parameters :].numpy()}


def metrics(history: History) -> dict[str, Array]:
    """Of each run, (R,), of the plain network (_plain) and the reparametrized one (_sigma), from step 10 on.

    logit_max: largest |score| of all layers. entropy_min: lowest entropy of a layer, nats. val: the last validation
    loss, nats per character.
    """
    if "logit_max" not in history:
        nothing = np.full(len(history.seeds), np.nan)
        return {f"{name}_{of}": nothing for of in BRANCHES for name in ("logit_max", "entropy_min", "val")}
    late = history.at("logit_max") >= SETTLED  # (T,)
    if not late.any():
        late[-1] = True  # the run has only begun
    logit_max = history["logit_max"][late].max((0, 3)).astype(np.float64)  # (R, 2)
    entropy = history["entropy"][late].min((0, 3)).astype(np.float64)
    val = history.last("validation").astype(np.float64)
    return {
        f"{name}_{of}": value[:, b]
        for b, of in enumerate(BRANCHES)
        for name, value in (("logit_max", logit_max), ("entropy_min", entropy), ("val", val))
    }


GENTLE = {"lr": 0.003}

CLAIMS = (
    Claim(
        id="collapse",
        statement="At this learning rate scores grow beyond 5000, and attention of a layer takes from one place alone.",
        metric="entropy_min_plain",
        value=metric_where("entropy_min_plain", "logit_max_plain", least=5000),
        bound=at_most(0.02),
        where=defaults(),
        controls=(
            Control("η = 0.003: entropy", GENTLE, metric="entropy_min_plain"),
            Control("η = 0.003: scores", GENTLE, at_most(5000), metric="logit_max_plain"),
        ),
    ),
    Claim(
        id="sigma_keeps_entropy",
        statement="With every matrix divided by its spectral norm scores stay within 400, and attention stays wider.",
        metric="entropy_min_sigma",
        value=metric_where("entropy_min_sigma", "logit_max_sigma", most=400),
        bound=at_least(0.1),
        where=defaults(),
        controls=(
            Control("plain: entropy", metric="entropy_min_plain"),
            Control("plain: scores", bound=above(400), metric="logit_max_plain"),
        ),
    ),
    Claim(
        id="sigma_trains",
        statement="It learns where the plain network hardly does (validation loss of that: 1.8 or more).",
        metric="val_sigma",
        value=metric_where("val_sigma", "val_plain", least=1.8),
        bound=at_most(1.5),
        where=defaults(),
        controls=(
            Control("plain", metric="val_plain"),
            Control("η = 0.003: the plain network learns as well", GENTLE, at_most(1.5), metric="val_plain"),
        ),
    ),
)


# ---- Figure ----

LABELS, COLORS = {"plain": "plain", "sigma": "σReparam"}, {"plain": BLUE, "sigma": GREEN}
STEP = Axis("step")


def panels(history: History) -> list[Panel]:
    """Largest score, lowest entropy, losses; of run 1 the narrowest heads and the factors of the matrices."""
    scores, entropies = _reduced(history, "logit_max", np.max), _reduced(history, "entropy", np.min)
    losses: list[Mark] = [
        recorded_line(history, name, f"{label}, {LABELS[of]}", color, column=b)
        for name, label, colors in (("validation", "validation", COLORS), ("loss", "batch", PALE))
        for b, (of, color) in enumerate(colors.items())
    ]
    return [
        Panel("Largest attention score", STEP, Axis("max |q·k|/√head_dim", log=True), scores),
        Panel("Least attention entropy", STEP, Axis("entropy (nats)"), [*entropies, Level("even attention", y=EVEN)]),
        Panel("Loss", STEP, Axis("cross-entropy (nats)"), [*losses, Level("even guessing", y=GUESSING)]),
        _map(history, 0),
        _map(history, 1),
        _factors(history),
    ]


PALE = {"plain": SKY, "sigma": ORANGE}  # of the loss on batches
GUESSING = float(np.log(len(vocabulary())))


def _reduced(history: History, name: str, function: Callable[..., Array]) -> list[Mark]:
    """Of each network the largest or least value of a layer, by step."""
    steps, values = recorded(history, name)  # (T,), (T, R, 2, layers)
    values = function(values, axis=3) if len(steps) else np.empty((0, len(history.seeds), 2))  # (T, R, 2)
    return [median_line(LABELS[of], steps, values[:, :, b], COLORS[of]) for b, of in enumerate(BRANCHES)]


def _map(history: History, branch: int) -> Panel:
    """How much each place takes from each place before it, in the narrowest head, on a fixed validation window."""
    a = history.last("attention")[0, branch] if "attention" in history else np.full((2, 2), np.nan)
    places = np.arange(len(a))
    heat = Heat("weight", places, places, a, low=0, high=1)
    return Panel(f"Narrowest head, {LABELS[BRANCHES[branch]]}", Axis("key place"), Axis("query place"), [heat])


def _factors(history: History) -> Panel:
    """gamma of both layers' matrices by step.

    Only the products of query and key, and of value and output, count: their factors move alike, so one is drawn wide.
    """
    steps, gamma = recorded(history, "gamma")  # (T,), (T, R, 12)
    lines: list[Mark] = []
    for layer in range(2):
        for m, (name, color) in enumerate(zip(MATRICES, SERIES, strict=True)):
            y = medians(gamma[:, :, layer * len(MATRICES) + m]) if len(steps) else np.empty(0)
            width = 2.4 - layer + (4 if name in ("query", "value") else 0)
            lines.append(Line(name, steps, y, color, legend=layer == 0, width=width))
    return Panel("Factors γ (layer 2: thin)", STEP, Axis("γ"), [*lines, Level("start", y=1.0)])


def sweep_panels(rows: Rows) -> list[Panel]:
    """Validation loss, least entropy, largest score against the learning rate. rows: (settings, seed) -> metrics."""
    rate = Axis("learning rate η", log=True)
    runs = max(by_field(rows, "lr").values(), key=len)
    panels = (
        ("Validation loss by learning rate", "val", Axis("cross-entropy (nats)")),
        ("Least entropy by learning rate", "entropy_min", Axis("entropy (nats)")),
        ("Largest score by learning rate", "logit_max", Axis("max |q·k|/√head_dim", log=True)),
    )
    return [
        Panel(title, rate, axis, [sweep_line(LABELS[of], runs, f"{name}_{of}", COLORS[of]) for of in BRANCHES])
        for title, name, axis in panels
    ]


# ---- The record ----

EXPERIMENT = Experiment(
    name="attention.entropy",
    title="Attention that collapses",
    question="Does dividing every matrix by its spectral norm keep attention from collapsing at a high learning rate?",
    paper="2303.06296",
    seconds=3.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
)
