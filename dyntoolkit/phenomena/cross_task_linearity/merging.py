"""How many hidden units of a network carry distinct features?

After Chen, Zhou and Yan 2023, "Going beyond neural network feature similarity: the network feature complexity and its
interpretation using category theory" (arXiv 2310.06756): functionally equivalent features exist in one network, and
can be merged without retraining. The rule of merging is this project's own, see `probes.feature_merging`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    at_most,
    below,
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
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import newest, recorded_line
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
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.feature_merging import Units, largest, merge_cheapest, merge_random, output, units

Tensor = torch.Tensor


# ---- Settings and presets ----

GRID = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8)  # numbers of units at which merged networks are tested


class Config(config.Config):
    """Settings of one network whose hidden units are merged (arXiv 2310.06756)."""

    init_scale: float = number(
        0.1, 0.01, 1.0, label="initialization scale", help="small: condensed units", log=True, main=True
    )
    width: int = number(256, 64, 512, label="width", help="hidden units", log=True, main=True, structural=True)
    lr: float = number(0.05, 0.01, 0.1, label="learning rate η", help="step size of SGD", log=True, main=True)
    steps: int = number(1500, 200, 3000, label="steps", help="updates", log=True, main=True, structural=True)
    batch_size: int = number(64, 16, 256, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.9, 0.0, 0.9, label="momentum", help="heavy ball: memory of the gradient")

    def warnings(self) -> list[str]:
        """Training that may die."""
        return deadly_noise(self.lr, self.batch_size, self.momentum)

    @property
    def depth(self) -> int:
        """One hidden layer."""
        return 1

    @property
    def grid(self) -> tuple[int, ...]:
        """Numbers of units at which merged networks are tested, at most the width."""
        return tuple(k for k in GRID if k <= self.width)


PRESETS = {
    "condensed": Preset("Small initial weights: nine in ten units are redundant."),
    "tiny_init": Preset("Tinier still: even more.", {"init_scale": 0.01}),
    "standard_init": Preset("The usual initialization: merging is no better than dropping.", {"init_scale": 1.0}),
}


# ---- Data, model, step ----


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks of one hidden layer on upright digits, then merge the units of each.

    Values (R,): loss, the mean of the mini-batches since the frame before; accuracy on the test digits. At the last
    frame those of `curves`, (R, K).
    """
    config = configs[0]
    model = network(config)
    digits = rotated_digits(0)
    table = Table(digits.train_x.expand(len(seeds), -1, -1), digits.train_y.expand(len(seeds), -1))
    state = Training.start(initial(configs, seeds, ["init"]))
    loss = LossSinceLast(state)
    random = Stream(seeds, "merging").generators

    def measure(k: int, state: Training) -> dict[str, Array]:
        theta = state.theta[:, 0]  # (R, P)
        values = {"accuracy": accuracy(model(theta, digits.test_x), digits.test_y)}
        if k:
            values["loss"] = loss(state).mean(1)
        if k == config.steps:
            runs = [curves(*hidden_units(model, one), config.grid, own) for one, own in zip(theta, random, strict=True)]
            values |= {name: np.stack([run[name] for run in runs]) for name in runs[0]}
        return values

    step = sgd_step(model, table, per_run(configs, "lr"), per_run(configs, "momentum"))
    batches = minibatches([Stream(seeds, "batch")], len(digits.train_y), config.batch_size)
    return train(state, step, batches, evenly(config.steps, FRAMES), measure)


# ---- What is measured, claims ----

LOST = 0.02  # accuracy that a smaller network may lose
RULES = ("merge", "random_merge", "largest", "random_drop")


def hidden_units(model: MLP, theta: Tensor) -> tuple[Units, Array]:
    """The hidden units of one network theta (P,), and the biases (10,) of its output."""
    (W, b), (out, bias) = model.split(theta.unsqueeze(0))
    assert b is not None
    assert bias is not None
    return units(W[0].numpy(), b[0, 0].numpy(), out[0].numpy()), bias[0, 0].numpy()


def curves(start: Units, bias: Array, grid: Sequence[int], random: np.random.Generator) -> dict[str, Array]:
    """Test accuracy with fewer and fewer units, (K,) for each number of the grid.

    merge: the cheapest pairs merged; merge_cost: the cost of the last merge. random_merge: random pairs merged;
    largest: the units of largest outgoing weight kept; random_drop: random units kept, nested.
    """
    digits = rotated_digits(0)
    x, y = digits.test_x.double().numpy(), digits.test_y.numpy()
    order = random.permutation(len(start.u))
    found: dict[str, list[float]] = {name: [] for name in (*RULES, "merge_cost")}
    merged = shuffled = start
    cost = np.nan
    for k in grid:
        merged, last = merge_cheapest(merged, k)
        cost = cost if np.isnan(last) else last
        shuffled = merge_random(shuffled, k, random)
        kept = Units(start.u[order[:k]], start.A[order[:k]])
        versions = {"merge": merged, "random_merge": shuffled, "largest": largest(start, k), "random_drop": kept}
        for name, version in versions.items():
            found[name].append(float((output(version, bias, x).argmax(1) == y).mean()))
        found["merge_cost"].append(cost)
    return {name: np.array(values) for name, values in found.items()}


def fewest_units(accuracies: Array, full: Array, grid: Sequence[int]) -> Array:
    """The smallest number of units of the (falling) grid such that it and all larger ones keep full - 0.02, (R,).

    accuracies: (R, K). full: (R,), of the whole network. NaN where the largest one fails.
    """
    kept = np.logical_and.accumulate(accuracies >= full[:, None] - LOST, axis=1)  # (R, K)
    last = kept.sum(1) - 1
    return np.where(last >= 0, np.array(grid, dtype=float)[np.maximum(last, 0)], np.nan)


def metrics(history: History) -> dict[str, Array]:
    """Of the last frame, name -> (R,).

    k_star: the fewest units that merging keeps the accuracy with; k_random_merge, k_largest, k_random_drop: the same
    for the controls. accuracy: of the whole network. loss: mean training loss since the frame before.
    """
    never = np.full(len(history.seeds), np.nan)
    full = history.last("accuracy")
    known = "merge" in history
    found = {rule: fewest_units(history.last(rule), full, history.config.grid) if known else never for rule in RULES}
    return {
        "k_star": found["merge"],
        **{f"k_{rule}": found[rule] for rule in RULES[1:]},
        "accuracy": full,
        "loss": newest(history, "loss"),
    }


def share_of_random(found: Metrics, config: object) -> Array:
    """k_star over the smaller one of the two random controls."""
    return np.asarray(found["k_star"] / np.fmin(found["k_random_merge"], found["k_random_drop"]))


def share_of_largest(rows: Sequence[Metrics]) -> Array:
    """Mean k_star over the mean number of largest units that are needed, (1,)."""
    return np.array([rows[0]["k_star"].mean() / rows[0]["k_largest"].mean()])


SMALL_INIT = defaults(init_scale=at_most(0.1))
STANDARD = Control("initialization scale 1", {"init_scale": 1.0})

CLAIMS = (
    Claim(
        id="few_features",
        statement="Fewer than 60 of 256 units are enough: merged without retraining they lose at most 2 points of "
        "accuracy.",
        metric="k_star",
        bound=below(60),
        where=SMALL_INIT,
        controls=(STANDARD,),
    ),
    Claim(
        id="merging_beats_random",
        statement="Not any merge will do: it needs less than two thirds of the units that random merging or dropping "
        "leaves.",
        metric="k_star",
        bound=below(2 / 3),
        where=SMALL_INIT,
        value=share_of_random,
    ),
    Claim(
        id="merging_beats_largest",
        statement="Nor does keeping the largest units: in the mean over seeds merging needs less than 0.8 as many.",
        metric="k_star",
        bound=below(0.8),
        where=SMALL_INIT,
        controls=(STANDARD,),
        sweep=Sweep(({},), share_of_largest, least_seeds=5),
    ),
)


# ---- Figure ----

LABELS = ("cheapest pairs merged", "random pairs merged", "largest units kept", "random units kept")


def panels(history: History) -> list[Panel]:
    """Training; accuracy with fewer and fewer units; what a merge costs."""
    step = Axis("step", range=(0, history.config.steps))
    left = Axis("hidden units left", log=True)
    return [
        Panel(
            "Training loss",
            step,
            Axis("cross-entropy (nats)", log=True),
            [recorded_line(history, "loss", "training", TRAIN)],
        ),
        Panel(
            "Accuracy of the whole network",
            step,
            Axis("test accuracy", range=(0, 1)),
            [recorded_line(history, "accuracy", "test", TEST)],
        ),
        Panel("Fewer and fewer units", left, Axis("test accuracy", range=(0, 1)), _curves(history)),
        Panel(
            "What the last merge cost",
            left,
            Axis("cost of the pair", log=True),
            [_line(history, "merge_cost", "cheapest pairs merged", BLUE)],
        ),
    ]


def _line(history: History, name: str, label: str, color: str) -> Line:
    grid = np.array(history.config.grid, dtype=float)
    return median_line(label, grid, newest(history, name, len(grid)).T, color, markers="both")


def _curves(history: History) -> list[Mark]:
    """Four rules, the accuracy that is enough, and the fewest units that have it."""
    lines = [
        _line(history, rule, label, color)
        for rule, label, color in zip(RULES, LABELS, (BLUE, ORANGE, GREEN, PURPLE), strict=True)
    ]
    enough = fewest = np.nan
    if "merge" in history:
        full = history.last("accuracy")
        enough = float(np.median(full)) - LOST
        fewest = float(np.median(fewest_units(history.last("merge"), full, history.config.grid)))
    return [*lines, Level("whole network − 0.02", y=enough), Level("fewest units, merged", x=fewest, color=GREY)]


# ---- The record ----

EXPERIMENT = Experiment(
    name="cross_task_linearity.merging",
    title="Merging equivalent features",
    question="How many hidden units of a network carry distinct features?",
    paper="2310.06756",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    network=lambda history: network(history.config),
)
