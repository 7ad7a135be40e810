"""Does permuting hidden units remove the barrier between independent networks?

Ainsworth, Hayase and Srinivasa 2022, "Git Re-Basin: merging models modulo permutation symmetries" (arXiv 2209.04836):
matching by weights and by activations. Feature linearity after it as in Zhou et al. 2023 (arXiv 2307.08286).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.of_copies import of_copies
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    at_least,
    below,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import (
    GREEN,
    MEASURED,
    ORANGE,
    PURPLE,
    RED,
    Axis,
    Bars,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import recorded_line
from dyntoolkit.figure.sweeps import Rows, by_field, sweep_line
from dyntoolkit.phenomena.cross_task_linearity._pair import connectivity, linearity, mean_ratio, walk
from dyntoolkit.phenomena.cross_task_linearity._training import (
    FRAMES,
    LossSinceLast,
    Table,
    Training,
    deadly_noise,
    initial,
    minibatches,
    network,
    sgd_step,
)
from dyntoolkit.probes.barrier import ALPHAS
from dyntoolkit.probes.permutation_matching import activation_matching, permuted, weight_matching

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of two independent networks that are matched unit by unit (arXiv 2209.04836)."""

    width: int = number(64, 16, 256, label="width", help="units per hidden layer", log=True, main=True, structural=True)
    depth: int = number(2, 1, 3, label="hidden layers", help="depth of the network", main=True, structural=True)
    lr: float = number(0.05, 0.003, 0.1, label="learning rate η", help="step size of SGD", log=True, main=True)
    init_scale: float = number(
        1.0, 0.3, 1.5, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    weight_decay: float = number(0.0, 0.0, 0.01, label="weight decay", help="of weights, not biases", main=True)
    steps: int = number(600, 100, 2000, label="steps", help="updates", log=True, structural=True)
    batch_size: int = number(64, 16, 256, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.9, 0.0, 0.9, label="momentum", help="heavy ball: memory of the gradient")

    def warnings(self) -> list[str]:
        """Training that may die."""
        return deadly_noise(self.lr, self.batch_size, self.momentum)


PRESETS = {
    "match": Preset("A barrier between two networks, and hardly any once their units are matched."),
    "narrow": Preset("Half the width: a higher barrier.", {"width": 32}),
    "wide": Preset("Four times the width: little to repair.", {"width": 256}),
    "deep": Preset("Three hidden layers: weights match worse than activations.", {"depth": 3}),
}


# ---- Data, model, step ----


def decay(configs: Sequence[Config], model: MLP) -> Tensor:
    """weight_decay at the weights and 0 at the biases, for both networks of each run, (2R, P)."""
    blocks = [torch.full((rows * columns,), float(rows > 1), dtype=torch.float32) for rows, columns in model.shapes]
    mask = torch.cat(blocks)  # 1 at the weights, 0 at the biases, which have one row, (P,)
    return of_copies(per_run(configs, "weight_decay"), 2).unsqueeze(1) * mask


def layers(model: MLP, theta: Tensor) -> list[tuple[Array, Array]]:
    """Weight (in, out) and bias (out,) of each layer of one network theta (P,), float64."""
    parts = model.split(theta.unsqueeze(0).double())
    return [(weight[0].numpy(), bias[0, 0].numpy()) for weight, bias in parts if bias is not None]


def flat(parts: Sequence[tuple[Array, Array]]) -> Tensor:
    """The weights of such layers in the order of theta, (P,)."""
    return torch.from_numpy(np.concatenate([part.ravel() for layer in parts for part in layer])).float()


def versions(model: MLP, first: Tensor, second: Tensor, random: np.random.Generator) -> Tensor:
    """The second network as it is, matched by weights, matched by activations, and at random: (4, P).

    Activations are those of the 1200 training digits.
    """
    x = rotated_digits(0).train_x
    i, j = layers(model, first), layers(model, second)
    features = [  # of the hidden layers of both networks, (1200, width) each
        [f[0].nan_to_num().double().numpy() for f in model.features(theta[None], x)[:-1]]  # finite if it diverged, too
        for theta in (first, second)
    ]
    orders = [
        weight_matching(i, j, random),
        activation_matching(*features),
        [random.permutation(len(bias)) for _, bias in j[:-1]],
    ]
    return torch.stack([second, *(flat(permuted(j, order)) for order in orders)])


def compared(model: MLP, first: Tensor, others: Tensor) -> dict[str, Array]:
    """`connectivity` and `linearity` of the first network (P,) with each of four others (4, P): leading axis 4."""
    way = walk(model, first.expand(len(others), -1), others)
    return {f"{name}_4": value for name, value in (connectivity(way) | linearity(way)).items()}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train two networks from different starts on batches of their own, then match the second one to the first.

    Values: loss (R, 2), mean of the mini-batches since the frame before; those of `connectivity` (R, ...). At the last
    frame those of `compared`, (R, 4, ...), for the versions plain, weight, activation and random.
    """
    config = configs[0]
    model = network(config)
    digits = rotated_digits(0)
    networks = 2 * len(seeds)
    table = Table(digits.train_x.expand(networks, -1, -1), digits.train_y.expand(networks, -1))
    state = Training.start(initial(configs, seeds, ["init", "init B"]))
    loss = LossSinceLast(state)
    matching = Stream(seeds, "matching")
    step = sgd_step(model, table, per_run(configs, "lr"), per_run(configs, "momentum"), decay(configs, model))

    def measure(k: int, state: Training) -> dict[str, Array]:
        first, second = state.theta.unbind(1)  # (R, P)
        values = connectivity(walk(model, first, second))
        if k:
            values["loss"] = loss(state)
        if k == config.steps:
            runs = [
                compared(model, i, versions(model, i, j, random))
                for i, j, random in zip(first, second, matching.generators, strict=True)
            ]
            values |= {name: np.stack([run[name] for run in runs]) for name in runs[0]}
        return values

    batches = minibatches([Stream(seeds, f"batch {letter}") for letter in "AB"], table.y.shape[1], config.batch_size)
    return train(state, step, batches, evenly(config.steps, FRAMES), measure)


# ---- What is measured, claims ----

VERSIONS = ("plain", "weight", "activation", "random")


def metrics(history: History) -> dict[str, Array]:
    """Of the last frame, name -> (R,), each for the versions plain, weight, activation and random.

    error_*, loss_*: barrier; ratio_*: mean of ctl_l/base_l over the hidden layers; coef_*: of the last hidden layer.
    weight_share, activation_share, random_share: error barrier over that of plain; NaN where plain has none.
    loss: mean training loss of both networks.
    """
    never = np.full((len(history.seeds), len(VERSIONS)), np.nan)
    error = loss = ratio = coef = never
    if "error_barrier_4" in history:
        error, loss = history.last("error_barrier_4"), history.last("loss_barrier_4")
        ratio = mean_ratio(history.last("ctl_l_4"), history.last("base_l_4"))
        coef = history.last("coef_l_4")[:, :, -2]
    plain = error[:, :1]
    share = np.divide(error, plain, out=np.full_like(error, np.nan), where=plain > 0)
    columns = {"error": error, "loss": loss, "ratio": ratio, "coef": coef}
    return {
        **{f"{name}_{version}": values[:, k] for name, values in columns.items() for k, version in enumerate(VERSIONS)},
        **{f"{version}_share": share[:, k] for k, version in enumerate(VERSIONS) if k},
        "loss": history.last("loss").mean(1) if "loss" in history else never[:, 0],
    }


def widest_over_narrowest(rows: Sequence[Metrics]) -> Array:
    """Mean error barrier at the largest width over that at the smallest, (1,)."""
    return np.array([rows[-1]["error_plain"].mean() / rows[0]["error_plain"].mean()])


RANDOM = Control("units permuted at random", metric="random_share")

CLAIMS = (
    Claim(
        id="weight_matching",
        statement="Matched by their weights, the networks have less than 0.4 of their error barrier left.",
        metric="weight_share",
        bound=below(0.4),
        where=defaults(width=(32, 64)),
        controls=(RANDOM,),
    ),
    Claim(
        id="activation_matching",
        statement="Matched by their activations, less than 0.3.",
        metric="activation_share",
        bound=below(0.3),
        where=defaults(width=(32, 64)),
        controls=(RANDOM,),
    ),
    Claim(
        id="wider_is_flatter",
        statement="The wider, the flatter, even unmatched: the mean error barrier at width 256 is below 0.4 of that "
        "at 32.",
        metric="error_plain",
        bound=below(0.4),
        where=defaults(width=at_least(16)),
        sweep=Sweep(tuple({"width": width} for width in (32, 64, 128, 256)), widest_over_narrowest, least_seeds=5),
    ),
)


# ---- Figure ----

COLORS = dict(zip(VERSIONS, (RED, PURPLE, GREEN, ORANGE), strict=True))
LABELS = dict(zip(VERSIONS, ("as trained", "matched by weights", "matched by activations", "at random"), strict=True))


def panels(history: History) -> list[Panel]:
    """Training; error and loss on the way for the four versions; their barriers and features."""
    step = Axis("step", range=(0, history.config.steps))
    way = Axis("weight α of network A", range=(0, 1))
    return [
        Panel(
            "Training loss and barrier",
            step,
            Axis("loss (nats), error rate", log=True),
            [
                recorded_line(history, "loss", "loss of A", ORANGE, column=0),
                recorded_line(history, "loss", "loss of B", GREEN, column=1),
                recorded_line(history, "error_barrier", "error barrier, as trained", RED),
            ],
        ),
        Panel("Error on the way", way, Axis("error rate"), _paths(history, "error_path")),
        Panel("Loss on the way", way, Axis("cross-entropy (nats)"), _paths(history, "loss_path")),
        Panel("What is left", Axis("network B"), Axis("barrier, ratio"), _left(history)),
    ]


def _paths(history: History, name: str) -> list[Mark]:
    """Along the way to each version; until there are any, that to the network as trained."""
    runs = len(history.seeds)
    known = {"plain": history.last(name)} if name in history else {}  # (R, 11)
    if f"{name}_4" in history:
        known = {version: history.last(f"{name}_4")[:, k] for k, version in enumerate(VERSIONS)}
    empty = np.full((runs, len(ALPHAS)), np.nan)
    return [
        median_line(LABELS[version], ALPHAS, known.get(version, empty).T, COLORS[version], markers="both")
        for version in VERSIONS
    ]


def _left(history: History) -> list[Mark]:
    """Error barrier and feature ratio of each version, medians over the runs."""
    error = ratio = np.full((1, len(VERSIONS)), np.nan)  # (R, 4)
    if "error_barrier_4" in history:
        error = history.last("error_barrier_4")
        ratio = mean_ratio(history.last("ctl_l_4"), history.last("base_l_4"))
    names = ["plain", "weights", "activations", "random"]
    return [
        Bars("error barrier", names, np.median(error, axis=0), RED),
        Bars("features: ctl/base", names, np.median(ratio, axis=0), MEASURED),
    ]


def sweep_panels(rows: Rows) -> list[Panel]:
    """Error barriers of finished runs against the width, for the four versions.

    Drawn are the runs that differ in nothing else, with the settings of which most widths are there.
    """
    runs = max(by_field(rows, "width").values(), key=len)
    lines = [sweep_line(LABELS[name], runs, f"error_{name}", COLORS[name]) for name in VERSIONS]
    return [Panel("Error barrier by width", Axis("width", log=True), Axis("rise of the error rate"), [*lines])]


# ---- The record ----

EXPERIMENT = Experiment(
    name="cross_task_linearity.permutation",
    title="Matching two independent networks",
    question="Does reordering the hidden units of one network remove the barrier to an independent one?",
    paper="2209.04836",
    seconds=0.8,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
    network=lambda history: network(history.config),
)
