"""When do two copies with different batch orders stay linearly connected, and are their features linear then?

Zhou, Yang, Yang, Yan and Hu 2023, "Going beyond linear mode connectivity: the layerwise linear feature connectivity"
(arXiv 2307.08286), on digits with noisy labels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.data import noisy_labels, rotated_digits
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.layers import MLP, linear
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
    above,
    at_least,
    below,
    config,
    defaults,
    number,
    switch,
)
from dyntoolkit.figure.panels import (
    BASELINE,
    GREEN,
    GREY,
    MEASURED,
    ORANGE,
    RED,
    SKY,
    TRAIN,
    Axis,
    Bars,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
    positive,
)
from dyntoolkit.figure.recorded import newest, recorded_line
from dyntoolkit.figure.sweeps import Rows, by_field, sweep_line
from dyntoolkit.phenomena.cross_task_linearity._pair import connectivity, linearity, mean_ratio, walk
from dyntoolkit.phenomena.cross_task_linearity._training import (
    FRAMES,
    LossSinceLast,
    Phase,
    Table,
    Training,
    initial,
    minibatches,
    network,
    sgd_step,
)
from dyntoolkit.probes.barrier import ALPHAS
from dyntoolkit.probes.commutativity import additivity, commutativity, relative_square

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one pair of networks that share their first steps (arXiv 2307.08286)."""

    spawn_step: int = number(
        600, 0, 600, label="spawn step", help="shared steps before the copy", log=True, main=True, structural=True
    )
    lr: float = number(0.03, 0.003, 0.05, label="learning rate η", help="step size of SGD", log=True, main=True)
    init_scale: float = number(
        1.0, 0.3, 1.5, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    label_noise: float = number(
        0.2, 0.0, 0.5, label="random labels", help="share of training labels drawn at random", main=True
    )
    shared_init: bool = switch(True, label="shared start", help="do both start from one network?", main=True)
    steps: int = number(600, 100, 2000, label="steps", help="steps of each copy", log=True, structural=True)
    anneal_steps: int = number(200, 0, 500, label="anneal steps", help="last steps at a tenth of lr", structural=True)
    batch_size: int = number(8, 4, 128, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.9, 0.0, 0.9, label="momentum", help="heavy ball: memory of the gradient")
    width: int = number(64, 16, 128, label="width", help="units per hidden layer", log=True, structural=True)
    depth: int = number(3, 1, 4, label="hidden layers", help="depth of the network", structural=True)

    def warnings(self) -> list[str]:
        """Training that may die: heavy-ball SGD on small batches at a large rate."""
        if self.momentum > 0.85 and self.lr >= 0.045 and self.batch_size <= 8:
            return ["momentum 0.9 with a large learning rate and small batches kills the network for some seeds."]
        return []

    @property
    def total(self) -> int:
        """Steps of all phases."""
        return self.spawn_step + self.steps + self.anneal_steps


APART = {"shared_init": False, "spawn_step": 0}

PRESETS = {
    "late_spawn": Preset("Copied after 600 shared steps: hardly a barrier between them."),
    "early_spawn": Preset("Copied at the very start: a barrier stands between them.", {"spawn_step": 0}),
    "independent": Preset("Two different starts: a wall.", APART),
    "clean_labels": Preset("With clean labels the barriers are small anyway.", {"label_noise": 0.0}),
}


# ---- Data, model, step ----


def table(configs: Sequence[Config], networks: int) -> Table:
    """Upright digits with the noisy labels of each run, for each of its networks."""
    y = torch.stack([noisy_labels(config.label_noise) for config in configs for _ in range(networks)])
    return Table(rotated_digits(0).train_x.expand(len(y), -1, -1), y)


def phase(
    configs: Sequence[Config], seeds: Sequence[int], state: Training, name: str, start: int, steps: int, diverged: Array
) -> Phase:
    """Train the networks (R, N, P) of a state for so many steps, each on batches of its own.

    name: "shared" or "copy", or "anneal" at a tenth of lr. Values: shared_loss (R,) or loss (R, 2), the mean of the
    mini-batches since the frame before, from the second frame on; for a pair of networks also those of `connectivity`,
    `linearity` and `conditions`.
    """
    config = configs[0]
    model = network(config)
    networks = state.theta.shape[1]  # N
    digits = table(configs, networks)
    lr = per_run(configs, "lr") * (0.1 if name == "anneal" else 1.0)
    step = sgd_step(model, digits, lr, per_run(configs, "momentum"))
    streams = [Stream(seeds, f"{name} {letter}") for letter in "AB"[:networks]]
    loss = LossSinceLast(state)

    def measure(k: int, state: Training) -> dict[str, Array]:
        values: dict[str, Array] = {}
        if k:
            since = loss(state)  # (R, N)
            values = {"shared_loss": since.mean(1)} if name == "shared" else {"loss": since}
        if networks == 2:
            first, second = state.theta.unbind(1)
            way = walk(model, first, second)
            values |= connectivity(way) | linearity(way) | conditions(model, first, second)
        return values

    batches = minibatches(streams, digits.y.shape[1], config.batch_size)
    record = evenly(steps, FRAMES)
    return train(state, step, batches, record, measure, start=start, total=config.total, diverged=diverged)


def after_the_first(frames: Phase) -> Phase:
    """A phase without its first frame: the state of that was shown by the phase before."""
    next(frames)
    return (yield from frames)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train one network for spawn_step steps, copy it, train both on, and then at a tenth of the rate.

    With shared_init off, two networks from different starts all along. The velocity is 0 at the start of each phase.
    Values: see `phase`.
    """
    config = configs[0]
    lost = np.full(len(seeds), -1)  # the step at which a run diverged
    theta = initial(configs, seeds, ["init"] if config.shared_init else ["init", "init B"])  # (R, 1 or 2, P)
    if config.spawn_step:
        state, lost = yield from phase(configs, seeds, Training.start(theta), "shared", 0, config.spawn_step, lost)
        theta = state.theta
    copies = Training.start(theta.expand(-1, 2, -1))
    begin = config.spawn_step
    train_copies = phase(configs, seeds, copies, "copy", begin, config.steps, lost)
    state, lost = yield from (train_copies if config.shared_init or not begin else after_the_first(train_copies))
    if config.anneal_steps:
        begin += config.steps
        anneal = phase(configs, seeds, Training.start(state.theta), "anneal", begin, config.anneal_steps, lost)
        yield from after_the_first(anneal)


# ---- What is measured, claims ----

FAILED_LOSS = 2.0  # a training loss above it is no training; the label noise alone gives 0.8 to 1
SHARED_STEPS = (600, 200, 50, 10, 0)


def conditions(model: MLP, first: Tensor, second: Tensor) -> dict[str, Array]:
    """What makes features linear, measured on the test digits. Weights (R, P).

    By weight layer, (R, L + 1): com of inputs and weights, dist_W of the weights, dist_H of the inputs. By hidden layer
    (R, L): additivity of its pre-activations.
    """
    H_i = H_j = rotated_digits(0).test_x.expand(len(first), -1, -1)  # of each network: H_0 = x, H_1, ..., H_L
    found: dict[str, list[Tensor]] = {"com": [], "dist_W": [], "dist_H": [], "additivity": []}
    layers = list(zip(model.split(first), model.split(second), strict=True))
    for k, ((W_i, b_i), (W_j, b_j)) in enumerate(layers):
        # commutativity: H_i W_i + H_j W_j = H_i W_j + H_j W_i
        found["com"].append(commutativity(H_i, W_i, H_j, W_j))
        found["dist_W"].append(relative_square(W_i, W_j))
        found["dist_H"].append(relative_square(H_i, H_j))
        if k < len(layers) - 1:
            a_i, a_j = linear(H_i, W_i, b_i), linear(H_j, W_j, b_j)
            # weak additivity of the ReLU: relu(a + b) = relu(a) + relu(b)
            found["additivity"].append(additivity(a_i, a_j))
            H_i, H_j = model.activation(a_i), model.activation(a_j)
    return {name: torch.stack(values, 1).numpy() for name, values in found.items()}


def metrics(history: History) -> dict[str, Array]:
    """Of the newest frame of the pair, name -> (R,); NaN before there is one.

    loss_barrier, error_barrier; error_ends: the larger error rate of the two ends. ratio: mean of ctl_l/base_l over
    the hidden layers; coef_last: of the last one. com_2, dist_W_2, dist_H_2, additivity_2: between the first and the
    second hidden layer. loss: mean training loss of both; loss_flag: 1 where one of them is above 2.
    """
    never = np.full(len(history.seeds), np.nan)
    names = ("loss_barrier", "error_barrier", "error_ends", "ratio", "coef_last", "loss", "loss_flag")
    layer = ("com", "dist_W", "dist_H", "additivity")
    if "com" not in history:
        return dict.fromkeys((*names, *(f"{name}_2" for name in layer)), never)
    loss = newest(history, "loss", 2)  # (R, 2)
    second = {name: history.last(name)[:, 1] if history.last(name).shape[1] > 1 else never for name in layer}
    return {
        "loss_barrier": history.last("loss_barrier"),
        "error_barrier": history.last("error_barrier"),
        "error_ends": history.last("error_path")[:, [0, -1]].max(1),
        "ratio": mean_ratio(history.last("ctl_l"), history.last("base_l")),
        "coef_last": history.last("coef_l")[:, -2],
        "loss": loss.mean(1),
        "loss_flag": np.where(np.isnan(loss).any(1), np.nan, loss.max(1) > FAILED_LOSS),
        **{f"{name}_2": value for name, value in second.items()},
    }


def loss_barrier_fall(rows: Sequence[Metrics]) -> Array:
    """Loss barrier of the latest copies over that of copies from the start, (R,)."""
    return np.asarray(rows[0]["loss_barrier"] / rows[-1]["loss_barrier"])


def ratio_fall(rows: Sequence[Metrics]) -> Array:
    """Mean ratio of late copies over that of copies from the start, (1,)."""
    return np.array([rows[0]["ratio"].mean() / rows[-1]["ratio"].mean()])


EARLY = Control("copied at the start", {"spawn_step": 0})
INDEPENDENT = Control("two different starts", APART)

CLAIMS = (
    Claim(
        id="small_error_barrier",
        statement="Late copies are connected: on the straight way between them the error rises by less than 8 points.",
        metric="error_barrier",
        bound=below(0.08),
        where=defaults(),
        controls=(EARLY, INDEPENDENT),
    ),
    Claim(
        id="commutativity",
        statement="The second layer commutes: either network's weights do on either network's features.",
        metric="com_2",
        bound=below(0.05),
        where=defaults(),
        controls=(EARLY, INDEPENDENT),
    ),
    Claim(
        id="barrier_falls",
        statement="The later the copy, the lower the barrier: with 600 shared steps below 0.4 of that without any.",
        metric="loss_barrier",
        bound=below(0.4),
        where=defaults(spawn_step=at_least(0)),
        controls=(Control("two different starts: the barrier itself", APART, above(1), metric="loss_barrier"),),
        sweep=Sweep(tuple({"spawn_step": steps} for steps in SHARED_STEPS), loss_barrier_fall),
    ),
    Claim(
        id="llfc_follows",
        statement="The features' linearity follows: in the mean over seeds ctl/base is below 0.75 of that without "
        "shared steps.",
        metric="ratio",
        bound=below(0.75),
        where=defaults(spawn_step=at_least(0)),
        controls=(Control("two different starts: ctl/base itself", APART, above(0.4), metric="ratio"),),
        sweep=Sweep(({"spawn_step": 600}, {"spawn_step": 0}), ratio_fall, least_seeds=5),
    ),
)


# ---- Figure ----

ZERO = 3  # where the logarithmic axis shows "no shared steps"


def panels(history: History) -> list[Panel]:
    """Losses; barriers by step; loss and error on the way between the copies; conditions; features by layer."""
    config: Config = history.config
    step = Axis("step", range=(0, config.total))
    way = Axis("weight α of copy A", range=(0, 1))
    split = Level("copied", x=float(config.spawn_step) if config.spawn_step else np.nan)
    return [
        Panel(
            "Training loss",
            step,
            Axis("cross-entropy (nats)", log=True),
            [
                recorded_line(history, "shared_loss", "shared", TRAIN),
                recorded_line(history, "loss", "copy A", ORANGE, column=0),
                recorded_line(history, "loss", "copy B", GREEN, column=1),
                Level("loss 2: not trained", y=FAILED_LOSS),
                split,
            ],
        ),
        Panel(
            "Barrier between the copies",
            step,
            Axis("rise of loss, of error"),
            [
                recorded_line(history, "loss_barrier", "loss (nats)", MEASURED),
                recorded_line(history, "error_barrier", "error rate", RED),
                split,
            ],
        ),
        Panel(
            "Loss on the way, now",
            way,
            Axis("cross-entropy (nats)"),
            _path(history, "loss_path", "test loss", MEASURED),
        ),
        Panel(
            "Error on the way, now",
            way,
            Axis("error rate"),
            [*_path(history, "error_path", "test error", RED), _bound(history)],
        ),
        Panel("What makes features linear, now", Axis("weight layer"), Axis("relative distance"), _conditions(history)),
        Panel("Features layer by layer, now", Axis("layer"), Axis("1 − cosine", log=True), _features(history)),
    ]


def _path(history: History, name: str, label: str, color: str) -> list[Mark]:
    """A quantity (R, 11) of the newest frame along the way, and the straight line between its ends."""
    rows = newest(history, name, len(ALPHAS))  # (R, 11)
    ends = np.median(rows[:, [0, -1]], axis=0)
    return [
        median_line(label, ALPHAS, rows.T, color, markers="both"),
        Line("no barrier", np.array([0.0, 1.0]), ends, GREY, dash=True),
    ]


def _bound(history: History) -> Level:
    """If the outputs are linear on the way, the error is at most twice that of the worse end."""
    known = "error_path" in history
    worse = float(np.median(history.last("error_path")[:, [0, -1]].max(1))) if known else np.nan
    return Level("2 × the larger end: with linear outputs", y=2 * worse)


def _conditions(history: History) -> list[Mark]:
    config: Config = history.config
    names = [*(f"{k + 1}" for k in range(config.depth)), "output"]
    marks: list[Mark] = []
    for name, label, color in (
        ("com", "commutativity", MEASURED),
        ("dist_W", "weights", BASELINE),
        ("dist_H", "inputs", GREEN),
        ("additivity", "additivity", SKY),
    ):
        heights = np.full(len(names), np.nan)
        if name in history:
            found = np.median(history.last(name), axis=0)
            heights[: len(found)] = found
        marks.append(Bars(label, names, heights, color))
    return marks


def _features(history: History) -> list[Mark]:
    """Error of the averaged network by layer, beside the difference of the two (medians over the runs)."""
    names = [*(f"layer {k + 1}" for k in range(history.config.depth)), "logits"]
    marks: list[Mark] = []
    for name, label, color in (
        ("ctl_l", "ctl: average against mean", MEASURED),
        ("base_l", "base: A against B", BASELINE),
    ):
        heights = np.median(newest(history, name, len(names)), axis=0)  # (L + 1,)
        marks.append(Bars(label, names, positive(heights), color))
    return marks


def sweep_panels(rows: Rows) -> list[Panel]:
    """Barriers of finished runs against the spawn step, and of networks with different starts as a level.

    Drawn are the runs that differ in nothing else, with the settings of which most spawn steps are there.
    """
    groups = by_field(rows, "spawn_step")
    swept = max(groups, key=lambda config: (len(groups[config]), config.shared_init))
    apart = groups.get(swept.replace(shared_init=False), {}).get(0, [])
    steps = Axis(f"shared steps (0 is drawn at {ZERO})", log=True)
    start = "one start" if swept.shared_init else "different starts"
    return [
        Panel(
            title,
            steps,
            Axis(label),
            [
                sweep_line(start, groups[swept], name, color, least=ZERO),
                Level("different starts", y=float(np.median([run[name] for run in apart])) if apart else np.nan),
            ],
        )
        for title, label, name, color in (
            ("Loss barrier by shared steps", "rise of the loss (nats)", "loss_barrier", MEASURED),
            ("Error barrier by shared steps", "rise of the error rate", "error_barrier", RED),
        )
    ]


# ---- The record ----

EXPERIMENT = Experiment(
    name="cross_task_linearity.spawn",
    title="Spawning two copies",
    question="When do two copies with different batches stay linearly connected, and are their features linear then?",
    paper="2307.08286",
    seconds=1.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
    network=lambda history: network(history.config),
)
