"""Are the features of two networks, fine-tuned from one checkpoint on different tasks, linear in the weights?

Zhou, Chen, Chen and Yan, "On the Emergence of Cross-Task Linearity in Pretraining-Fine-tuning Paradigm",
arXiv 2402.03660. One ReLU network learns rotated handwritten digits; two copies of it are fine-tuned, A on digits
rotated one way and B on digits rotated the other way; then their weights are averaged.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dyntoolkit.data import Split, noisy_labels, pixel_shuffled_digits, rotated_digits
from dyntoolkit.engine.activations import Activation
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
    above,
    at_least,
    below,
    between,
    choice,
    config,
    mean_of,
    number,
    settings,
    switch,
)
from dyntoolkit.figure.panels import (
    BASELINE,
    BLUE,
    GREEN,
    GREY,
    MEASURED,
    ORANGE,
    PURPLE,
    RED,
    SERIES,
    SKY,
    TRAIN,
    Axis,
    Bars,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
    medians,
    positive,
)
from dyntoolkit.figure.recorded import newest, recorded_line
from dyntoolkit.figure.sweeps import Row, Rows, by_field, sweep_line
from dyntoolkit.phenomena.cross_task_linearity._bench import ALPHAS, LAMBDAS, SCALES, Bench, valid
from dyntoolkit.phenomena.cross_task_linearity._memory import Memory
from dyntoolkit.phenomena.cross_task_linearity._pair import mean_ratio, ratio
from dyntoolkit.phenomena.cross_task_linearity._training import (
    FRAMES,
    LossSinceLast,
    Phase,
    Table,
    Training,
    deadly_noise,
    initial,
    minibatches,
    network,
    sgd_step,
)
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.linearity import log_slope, parabola_fit

# ---- Settings and presets ----

MIXTURE, UPRIGHT, PIXEL_SHUFFLED = "mixture", "upright", "pixel_shuffled"
ANGLES = (-90, -60, -30, 0, 30, 60, 90)  # degrees at which the digits appear in the pretraining mixture


class Config(config.Config):
    """Settings of one pair of networks: shared pretraining, then one fine-tuning per task (arXiv 2402.03660)."""

    pretrain_steps: int = number(
        300,
        0,
        2000,
        label="pretraining steps",
        help="shared training before the split",
        log=True,
        main=True,
        structural=True,
    )
    pretrain_data: str = choice(
        MIXTURE, (MIXTURE, UPRIGHT, PIXEL_SHUFFLED), label="pretraining data", help="what the shared training sees"
    )
    shared_init: bool = switch(True, label="shared start", help="do both start from one network?")
    angle: float = number(60.0, 10.0, 90.0, label="angle", help="rotation of the tasks", unit="°")
    lr: float = number(0.05, 0.003, 0.2, label="learning rate η", help="fine-tuning learning rate", log=True, main=True)
    pretrain_lr: float = number(
        0.05, 0.003, 0.1, label="pretraining learning rate", help="pretraining learning rate", log=True
    )
    steps: int = number(300, 30, 1000, label="fine-tuning steps", help="fine-tuning steps", log=True, structural=True)
    batch_size: int = number(64, 8, 256, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.9, 0.0, 0.9, label="momentum", help="heavy ball: memory of the gradient, in both phases")
    width: int = number(128, 32, 512, label="width", help="units per hidden layer", log=True, structural=True)
    depth: int = number(3, 1, 4, label="hidden layers", help="depth of the network", structural=True)
    init_scale: float = number(
        1.0, 0.3, 1.5, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    label_noise: float = number(
        0.0, 0.0, 0.5, label="random labels", help="share of training labels drawn at random", main=True
    )
    alpha: float = number(0.5, 0.0, 1.0, label="weight α of network A", help="α·θ_A + (1−α)·θ_B", main=True)
    task_scale: float = number(0.5, 0.0, 1.0, label="task scale λ", help="λ of the task arithmetic")

    def warnings(self) -> list[str]:
        """What misleads: training that may die, tasks between those of the mixture, and a setting without effect."""
        found = deadly_noise(max(self.lr, self.pretrain_lr), self.batch_size, self.momentum)
        if self.pretrain_data == PIXEL_SHUFFLED and self.angle != 60.0:
            found.append("the angle has no effect on the pixel-shuffled task: nothing is rotated there.")
        between = min(abs(self.angle - 30), abs(self.angle - 60)) > 5 and self.angle != 90
        if self.pretrain_data == MIXTURE and self.pretrain_steps and between:
            found.append(
                f"the pretraining mixture shows digits at multiples of 30°, and {self.angle:g}° lies between: "
                "features are less linear there."
            )
        return found


NO_PRETRAINING = {"pretrain_steps": 0}
INDEPENDENT = {"shared_init": False, "pretrain_steps": 0}

PRESETS = {
    "ctl": Preset("The averaged network's features lie far closer to the averaged features than A's lie to B's."),
    "no_pretraining": Preset("No shared training: the ratio triples.", NO_PRETRAINING),
    "independent": Preset("Two initializations: linearity and merging fail.", INDEPENDENT),
    "lr_too_high": Preset("Fine-tuning steps too large: what pretraining gave is undone.", {"lr": 0.2}),
    "wrong_pretraining": Preset("Pretraining on other data: worse than none.", {"pretrain_data": UPRIGHT}),
    "arithmetic": Preset(
        "Subtracting a task vector makes the network forget the task.", {"pretrain_steps": 100, "task_scale": 1.0}
    ),
}


# ---- Data, model, step ----

MEMORY = Memory(limit=100_000_000)  # bytes; the default run takes 10 million


def tasks(config: Config) -> tuple[Split, Split]:
    """The digits of task A and of task B."""
    if config.pretrain_data == PIXEL_SHUFFLED:
        return rotated_digits(0), pixel_shuffled_digits()
    return rotated_digits(config.angle), rotated_digits(-config.angle)


def pretraining_table(configs: Sequence[Config], networks: int) -> Table:
    """What the start of each run is trained on: one table for each of its `networks` networks, M = R networks."""
    angles = ANGLES if configs[0].pretrain_data == MIXTURE else (0,)
    x = torch.cat([rotated_digits(angle).train_x for angle in angles])  # (n, 64)
    y = [noisy_labels(config.label_noise).repeat(len(angles)) for config in configs for _ in range(networks)]
    return Table(x.expand(len(y), -1, -1), torch.stack(y))


def finetuning_table(configs: Sequence[Config]) -> Table:
    """What the two networks of each run are trained on, M = 2R: A and B of the first run, of the second, ..."""
    x = torch.stack([task.train_x for config in configs for task in tasks(config)])  # (2R, 1200, 64)
    y = torch.stack([noisy_labels(config.label_noise) for config in configs for _ in "AB"])  # (2R, 1200)
    return Table(x, y)


def test_points(configs: Sequence[Config]) -> tuple[torch.Tensor, torch.Tensor]:
    """The test digits of task A, then those of task B, for each run (R, 1194, 64), and their labels (1194,)."""
    x = torch.stack([torch.cat([task.test_x for task in tasks(config)]) for config in configs])
    return x, rotated_digits(0).test_y.repeat(2)


def pretrain(configs: Sequence[Config], seeds: Sequence[int], model: MLP) -> Phase:
    """Train the network that both fine-tunings start from; or, with `shared_init` off, one for each of them.

    Frames with `pretrain_loss` and `pretrain_acc` (accuracy on both tasks' tests), (R,) each.
    """
    config = configs[0]
    names = ("",) if config.shared_init else ("", " B")
    theta = initial(configs, seeds, [f"init{name}" for name in names])  # (R, N, P)
    table = pretraining_table(configs, len(names))
    streams = [Stream(seeds, f"pretrain{name}") for name in names]
    step = sgd_step(model, table, per_run(configs, "pretrain_lr"), per_run(configs, "momentum"))
    state = Training.start(theta)
    loss = LossSinceLast(state)
    x, labels = test_points(configs)

    def measure(k: int, state: Training) -> Mapping[str, Array]:
        right = [accuracy(model(start, x), labels) for start in state.theta.unbind(1)]  # N times (R,)
        values = {"pretrain_acc": np.mean(right, 0)}
        return {**values, "pretrain_loss": loss(state).mean(1)} if k else values

    batches = minibatches(streams, table.y.shape[1], config.batch_size)
    record = evenly(config.pretrain_steps, FRAMES)
    return (yield from train(state, step, batches, record, measure, total=config.pretrain_steps + config.steps))


def finetune(configs: Sequence[Config], seeds: Sequence[int], model: MLP, starts: torch.Tensor, lost: Array) -> Phase:
    """Train two copies of the start, or one of each of the two starts (R, N, P), A and B on their own tasks.

    lost: the steps at which runs diverged while pretraining (R,), -1 for none. Frames with the weights `theta`
    (R, 2, P) and, after the first one, the training losses `loss` (R, 2).
    """
    config = configs[0]
    table = finetuning_table(configs)
    step = sgd_step(model, table, per_run(configs, "lr"), per_run(configs, "momentum"))
    batches = minibatches([Stream(seeds, f"finetune {task}") for task in "AB"], table.y.shape[1], config.batch_size)
    state = Training.start(starts.expand(-1, 2, -1))
    loss = LossSinceLast(state)

    def measure(k: int, state: Training) -> Mapping[str, Array]:
        values = {"theta": state.theta.numpy()}
        return {**values, "loss": loss(state)} if k else values

    record = evenly(config.steps, FRAMES)
    begin = config.pretrain_steps
    total = begin + config.steps
    return (yield from train(state, step, batches, record, measure, start=begin, total=total, diverged=lost))


def trajectory(configs: Sequence[Config], seeds: Sequence[int], model: MLP) -> Iterator[Frame]:
    """Both phases of training, with nothing in the frames that depends on `alpha` or `task_scale`."""
    state, diverged = yield from pretrain(configs, seeds, model)
    yield from finetune(configs, seeds, model, state.theta, diverged)


def simulate(configs: Sequence[Config], seeds: Sequence[int], activation: Activation = torch.relu) -> Iterator[Frame]:
    """Train R pairs of networks and measure them while they train, with heartbeats in long measurements too.

    `alpha` and `task_scale` say what is measured on the trained networks. So the trainings are remembered, and a run
    that differs from a remembered one in nothing else is only measured anew, with the same numbers. The theory is about
    the kinks of ReLU units; try another activation.
    """
    model = network(configs[0], activation)
    benches = [bench(config, model) for config in configs]
    trained = tuple(config.replace(alpha=0.5, task_scale=0.5) for config in configs)
    start = torch.empty(0, dtype=torch.float32)  # theta_0, known from the first frame of the pair on
    reached = 0
    for frame in MEMORY.frames((model, trained, tuple(seeds)), lambda: trajectory(configs, seeds, model)):
        values = dict(frame.values)
        if "theta" in values:
            pair = torch.from_numpy(values.pop("theta"))  # (R, 2, P)
            start = start if len(start) else pair.mean(1)  # (R, P): the common start, or the mid-point of two
            runs: list[dict[str, Array]] = [{} for _ in benches]
            for found, test, *weights in zip(runs, benches, start[:, None], pair[:, None], strict=True):
                for part in test.measure(*weights, last=frame.step == frame.total):
                    found |= part
                    yield replace(frame, step=reached, values={})
            values |= {name: np.concatenate([found[name] for found in runs]) for name in runs[0]}
        yield replace(frame, values=valid(values, frame.diverged))
        reached = frame.step


def bench(config: Config, model: MLP) -> Bench:
    """What one run is measured on. One by one, since all runs at once take longer and much memory."""
    x, labels = test_points([config])
    return Bench(model, x, labels, per_run([config], "alpha"), per_run([config], "task_scale"))


# ---- What is measured, claims ----

FAILED_LOSS = 1.0  # a training loss above it (clean labels) is no training at all
OF_THE_PAIR = ("distance", "own_acc", "cross_acc", "merged_acc", "ensemble_acc")
OF_ARITHMETIC = ("addition_ctl", "addition_base", "negation_ctl", "negation_base", "target_drop", "control_drop")


def metrics(history: History) -> dict[str, Array]:
    """Every number that a run is judged by, name -> (R,) float64; NaN where it is not measured yet or means nothing.

    All on the newest frame. ctl_k, base_k: of layer k, the last one being the logits. loss: mean training loss of
    both fine-tunings since the frame before; loss_a, loss_b: each. loss_flag: 1 where one of them is above 1.
    """
    runs, hidden = len(history.seeds), history.config.depth
    never = np.full(runs, np.nan)
    ctl_l, base_l, coef_l = (newest(history, name, hidden + 1) for name in ("ctl_l", "base_l", "coef_l"))
    found = {name: newest(history, name) for name in (*OF_THE_PAIR, *OF_ARITHMETIC)}
    base = base_l[:, :-1].mean(1)
    loss = newest(history, "loss", 2)  # (R, 2)
    failed = np.where(np.isnan(loss).any(1), np.nan, loss.max(1) > FAILED_LOSS)
    return {
        "ctl": ctl_l[:, :-1].mean(1),
        "base": base,
        "ratio": mean_ratio(ctl_l, base_l),
        "coef_last": coef_l[:, -2],
        **found,
        "pretrained_acc": history.last("pretrain_acc") if "base_l" in history else never,
        "merged_minus_ensemble": found["merged_acc"] - found["ensemble_acc"],
        **_scan_metrics(history, never),
        "addition_ratio": ratio(found["addition_ctl"], found["addition_base"]),
        "negation_ratio": ratio(found["negation_ctl"], found["negation_base"]),
        "loss": loss.mean(1),
        "loss_a": loss[:, 0],
        "loss_b": loss[:, 1],
        "loss_flag": failed,
        **{f"ctl_{k + 1}": ctl_l[:, k] for k in range(hidden + 1)},
        **{f"base_{k + 1}": base_l[:, k] for k in range(hidden + 1)},
    }


def _scan_metrics(history: History, never: Array) -> dict[str, Array]:
    """R^2 of the parabola over the alpha scan, and the exponent of the displacement scan, means over hidden layers."""
    r2 = exponent = never
    if "path_deviation" in history:
        # deviation ~ c alpha (1 - alpha)
        r2 = parabola_fit(ALPHAS, history.last("path_deviation").swapaxes(0, 1))[1].mean(1)  # (R, L) -> (R,)
    if "pulled_deviation" in history:
        # deviation ~ s^(3/2): slope of ln deviation on ln s
        exponent = log_slope(SCALES, history.last("pulled_deviation").swapaxes(0, 1)).mean(1)
    return {"parabola_r2": r2, "deviation_exponent": exponent}


PRETRAIN_STEPS = (0, 10, 30, 100, 300, 1000)  # of pretraining, for the sweep of the ratio against the distance

# Where a claim is expected: in the settings in which it was measured to hold for seeds that were not used to write it.
# They are so narrow that the controls fail there as they should: with smaller steps or weights even networks that share
# no pretraining stay so close to each other that they are nearly linear.
PRETRAINED = {"pretrain_steps": between(300, 1000)}
ABOUT_THE_MIDDLE = {"alpha": between(0.4, 0.6)}  # about as far from either network, as two tasks need it
RECIPE: dict[str, Any] = {  # close to the defaults in all but the pretraining: the controls differ most here
    "pretrain_data": MIXTURE,
    "shared_init": True,
    "angle": between(57, 63),
    "label_noise": 0.0,
    "pretrain_lr": between(0.04, 0.06),
    "lr": between(0.045, 0.05),
    "momentum": between(0.89, 0.9),
    "batch_size": 64,
    "steps": between(200, 1000),
    "width": 128,
    "depth": 3,
    "init_scale": between(0.98, 1.2),
}
HALF_VECTORS = settings(**RECIPE, **PRETRAINED, task_scale=between(0.5, 0.6))
FORGETTING = settings(**RECIPE, pretrain_steps=between(90, 150), task_scale=between(0.9, 1))  # preset `arithmetic`


def linear(**fields: Any) -> Callable[[Config], bool]:
    """The whole regime of cross-task linearity, as wide as it was measured, with further conditions on some fields.

    One start, clean labels, tasks that the pretraining saw, and training that neither dies nor stays halfway.
    """
    regime = settings(
        pretrain_data=MIXTURE,
        shared_init=True,
        label_noise=0.0,
        **PRETRAINED,
        pretrain_lr=between(0.04, 0.1),
        lr=between(0.03, 0.05),
        momentum=between(0.85, 0.9),
        batch_size=64,
        steps=between(100, 1000),
        width=between(128, 256),
        depth=3,
        init_scale=between(0.9, 1.5),
        **fields,
    )
    return lambda c: min(abs(c.angle - 30), abs(c.angle - 60)) <= 3 and regime(c)


def ratio_without_over_with(runs: Sequence[Metrics]) -> Array:
    """Ratio without pretraining, over ratio with 300 steps of it, per seed."""
    without, pretrained = runs
    return without["ratio"] / pretrained["ratio"]


def slope_on_distance(runs: Sequence[Metrics]) -> Array:
    """Slope of ln ratio on ln distance over all pretraining lengths and seeds at once, (1,)."""
    distances, ratios = (np.concatenate([run[name] for run in runs]) for name in ("distance", "ratio"))
    return log_slope(distances, ratios).reshape(1)


CLAIMS = (
    Claim(
        id="ctl_ratio",
        statement="Features are linear in the weights between the fine-tuned networks: the error of the averaged "
        "network is a small part of the difference between the two.",
        metric="ratio",
        bound=below(0.04),
        where=settings(**RECIPE, **PRETRAINED, **ABOUT_THE_MIDDLE),
        controls=(
            Control("independent", INDEPENDENT, above(0.2)),
            Control("no_pretraining", NO_PRETRAINING, above(0.05)),
        ),
    ),
    Claim(
        id="ctl_nontrivial",
        statement="The two networks do differ, so that linearity says something.",
        metric="base",
        bound=above(0.05),
        where=settings(**RECIPE, pretrain_steps=between(300, 330)),  # longer, and the networks are too close
        controls=(Control("pretrain_steps 2000", {"pretrain_steps": 2000}),),
    ),
    Claim(
        id="coef_one",
        statement="The features of the averaged network have the right size, too.",
        metric="coef_last",
        bound=above(0.97),
        where=linear(alpha=between(0.25, 0.75)),
        controls=(Control("no_pretraining", NO_PRETRAINING), Control("independent", INDEPENDENT)),
    ),
    Claim(
        id="merged_accuracy",
        statement="The averaged network does both tasks.",
        metric="merged_acc",
        bound=above(0.94),
        where=linear(**ABOUT_THE_MIDDLE),
        controls=(Control("no_pretraining", NO_PRETRAINING), Control("independent", INDEPENDENT)),
    ),
    Claim(
        id="merged_equals_ensemble",
        statement="Averaging the weights does as well as averaging the outputs.",
        metric="merged_minus_ensemble",
        bound=above(-0.03),
        where=linear(alpha=between(0.25, 0.75)),
        controls=(Control("independent", INDEPENDENT),),
    ),
    Claim(
        id="deviation_parabola",
        statement="Along the path the deviation from linearity follows α(1−α).",
        metric="parabola_r2",
        bound=above(0.98),
        where=linear(),
        controls=(Control("pixel_shuffled", {"pretrain_data": PIXEL_SHUFFLED}),),
    ),
    Claim(
        id="deviation_exponent",
        statement="With both networks pulled back to a part s of their way, the deviation shrinks as s^(3/2).",
        metric="deviation_exponent",
        bound=between(1.35, 1.65),
        where=settings(**RECIPE, **PRETRAINED),
        controls=(Control("learning rate 0.2", {"lr": 0.2}),),
    ),
    Claim(
        id="addition_linear",
        statement="Adding two task vectors averages their features (λ = ½).",
        metric="addition_ratio",
        bound=below(0.125),
        where=HALF_VECTORS,
        controls=(Control("no_pretraining, mean over 5 seeds", sweep=mean_of("addition_ratio", **NO_PRETRAINING)),),
    ),
    Claim(
        id="negation_linear",
        statement="Features at the start are the mean of those with the task vector added and subtracted (λ = ½).",
        metric="negation_ratio",
        bound=below(0.125),
        where=HALF_VECTORS,
        controls=(Control("no_pretraining, mean over 5 seeds", sweep=mean_of("negation_ratio", **NO_PRETRAINING)),),
    ),
    Claim(
        id="negation_forgets",
        statement="Subtracting a task vector removes its task: it loses over 30 points (λ = 1).",
        metric="target_drop",
        bound=above(0.3),
        where=FORGETTING,
        preset="arithmetic",
    ),
    Claim(
        id="negation_spares",
        statement="Subtracting a task vector harms the other task less: under 25 points in the mean of 5 seeds.",
        sweep=mean_of("control_drop"),
        bound=below(0.25),
        where=FORGETTING,
        preset="arithmetic",
    ),
    Claim(
        id="ratio_falls",
        statement="Pretraining makes the fine-tuned networks more linear: the ratio is at least doubled without it.",
        metric="ratio",
        bound=at_least(2),
        where=settings(**RECIPE, **ABOUT_THE_MIDDLE),
        controls=(
            Control("upright pretraining", {"pretrain_data": UPRIGHT}, below(1.0)),
            Control("pixel-shuffled task", {"pretrain_data": PIXEL_SHUFFLED}, below(1.0)),
        ),
        sweep=Sweep(({"pretrain_steps": 0}, {"pretrain_steps": 300}), ratio_without_over_with),
    ),
    Claim(
        id="ratio_follows_distance",
        statement="Pretraining acts through the distance of the two networks: the ratio is proportional to it (slope "
        "of ln ratio on ln distance).",
        metric="ratio",
        bound=between(0.8, 1.3),
        where=settings(**RECIPE, **ABOUT_THE_MIDDLE),
        sweep=Sweep(tuple({"pretrain_steps": steps} for steps in PRETRAIN_STEPS), slope_on_distance, least_seeds=5),
    ),
)


# ---- Figure ----

NOTHING = np.empty(0)


def panels(history: History) -> list[Panel]:
    """Training, features per layer and the scans of the last frame: six panels whose marks are there from the start."""
    step = Axis("step", range=(0, history.config.pretrain_steps + history.config.steps))
    share = Axis("test accuracy", range=(0, 1))
    difference = Axis("1 − cosine", log=True)
    relative = Axis("ratio, relative deviation", log=True)
    scan = Axis("α (average) or λ (arithmetic)", range=(0, 1))
    return [
        Panel("Training loss", step, Axis("cross-entropy (nats)", log=True), _losses(history)),
        Panel("Accuracy on tasks A and B", step, share, _accuracies(history)),
        Panel("Features layer by layer", Axis("layer"), difference, _layers(history)),
        Panel("Closer networks are more linear", Axis("distance", log=True), relative, _scaling(history)),
        Panel("Deviation from linearity", Axis("α", range=(0, 1)), Axis("‖deviation‖<sub>F</sub>"), _path(history)),
        Panel("Averaging and arithmetic", scan, share, _merging(history)),
    ]


def _losses(history: History) -> list[Mark]:
    """Mini-batch loss of the pretraining, then of both fine-tunings."""
    return [
        recorded_line(history, "pretrain_loss", "pretraining", TRAIN),
        recorded_line(history, "loss", "task A", ORANGE, column=0),
        recorded_line(history, "loss", "task B", GREEN, column=1),
        Level("loss 1: not trained", y=FAILED_LOSS),
    ]


def _accuracies(history: History) -> list[Mark]:
    """On the tests of both tasks: of the start, then of each network on its own task, their average and ensemble."""
    return [
        recorded_line(history, "pretrain_acc", "pretrained", BLUE),
        recorded_line(history, "own_acc", "A on A, B on B", SKY),
        recorded_line(history, "cross_acc", "A on B, B on A", ORANGE),
        recorded_line(history, "ensemble_acc", "outputs averaged", PURPLE),
        recorded_line(history, "merged_acc", "weights averaged", RED),
    ]


def _layers(history: History) -> list[Mark]:
    """Error of the averaged network per layer, next to the difference of the two networks (medians over runs)."""
    names = [*[f"layer {k + 1}" for k in range(history.config.depth)], "logits"]
    bars = [("ctl_l", "ctl: average against mean", MEASURED), ("base_l", "base: A against B", BASELINE)]
    marks: list[Mark] = []
    for name, label, color in bars:
        heights = newest(history, name, len(names))  # (R, L + 1)
        marks.append(Bars(label, names, medians(positive(heights).T), color))
    return marks


def _scaling(history: History) -> list[Mark]:
    """Ratio against distance while fine-tuning, with slope 1; deviation of pulled-back networks, with slope 3/2."""
    x = ratio = near = deviation = NOTHING
    if "ctl_l" in history:
        x, ratio = medians(history["distance"]), medians(positive(mean_ratio(history["ctl_l"], history["base_l"])))
    if "pulled_deviation" in history:
        whole = history.last("path_deviation")[:, len(ALPHAS) // 2, None]  # (R, 1, L), at alpha = 1/2
        share = history.last("pulled_deviation") / positive(whole)  # (R, 4, L)
        near, deviation = medians(history.last("pulled_distance").T), medians(positive(share.mean(2)).T)
    return [
        Line("ratio ctl/base, while fine-tuning", x, ratio, MEASURED, markers="both"),
        _power_law("slope 1", x[-1:], ratio[-1:], x, 1.0),
        Line("deviation, pulled back", near, deviation, GREEN, markers="both"),
        _power_law("slope 3/2", near, deviation, near, 1.5),
    ]


def _power_law(name: str, x: Array, y: Array, ends: Array, slope: float) -> Line:
    """The straight line of that slope in double logarithmic axes through the middle of the points (x, y)."""
    known, ends = np.isfinite(y) & (x > 0), ends[ends > 0]
    if not known.any():
        return Line(name, NOTHING, NOTHING, GREY, dash=True)
    span = np.array([ends.min(), ends.max()])
    middle = np.log(x[known]).mean(), np.log(y[known]).mean()
    return Line(name, span, np.exp(middle[1] + slope * (np.log(span) - middle[0])), GREY, dash=True)


def _path(history: History) -> list[Mark]:
    """Deviation of each hidden layer along the path between the networks, with the parabola fitted to it."""
    depth, measured = history.config.depth, "path_deviation" in history
    rows = history.last("path_deviation").swapaxes(0, 1) if measured else np.full((0, 1, depth), np.nan)  # (19, R, L)
    alphas = ALPHAS if measured else NOTHING
    curve = alphas * (1 - alphas)
    marks: list[Mark] = [
        median_line(f"layer {k + 1}", alphas, rows[:, :, k], color)
        for k, color in zip(range(depth), SERIES, strict=False)
    ]
    for k in range(depth):
        c = medians(parabola_fit(alphas, rows[:, :, k])[0]) if measured else np.nan
        marks.append(Line("c·α(1−α)", alphas, c * curve, GREY, dash=True, legend=k == 0))
    return marks


def _merging(history: History) -> list[Mark]:
    """Accuracy on both tasks of the average along alpha; after adding, and after subtracting, lambda task vectors."""

    def last(name: str, *tasks: int) -> Array:
        return history.last(name) if name in history else np.empty((1, 0, *tasks))

    negated = last("negated_acc", 2)  # (R, 5, 2)
    columns = [
        ("weights averaged, by α", ALPHAS, last("path_merged_acc"), RED),
        ("outputs averaged, by α", ALPHAS, last("path_ensemble_acc"), PURPLE),
        ("both tasks added, by λ", LAMBDAS, last("added_acc"), BLUE),
        ("task A subtracted, on A", LAMBDAS, negated[:, :, 0], ORANGE),
        ("task A subtracted, on B", LAMBDAS, negated[:, :, 1], GREEN),
    ]
    return [median_line(name, x[: runs.shape[1]], runs.T, color) for name, x, runs, color in columns]


ZERO = 3  # where the logarithmic axis shows "no pretraining"


def sweep_panels(rows: Rows) -> list[Panel]:
    """Ratio and merged accuracy against the pretraining steps, and the ratio against the distance.

    rows: (settings, seed) -> metrics of finished runs. Drawn are those that differ in nothing but pretraining steps
    (the settings of which most lengths are there), and the independent networks of the same settings as a level.
    """
    groups = by_field(rows, "pretrain_steps")
    swept = max(groups, key=lambda config: (len(groups[config]), config.shared_init))
    apart = groups.get(swept.replace(shared_init=False), {}).get(0, [])
    steps = Axis(f"pretraining steps (0 is drawn at {ZERO})", log=True)
    error, share = Axis("ratio ctl/base", log=True), Axis("merged accuracy", range=(0, 1))
    start = "one start" if swept.shared_init else "independent networks"
    points = [metrics for found in groups[swept].values() for metrics in found]
    return [
        *(
            Panel(
                title,
                steps,
                axis,
                [
                    sweep_line(start, groups[swept], name, color, least=ZERO),
                    Level("independent networks", y=float(np.median(_column(apart, name))) if apart else np.nan),
                ],
            )
            for title, axis, name, color in (
                ("Linearity by length of pretraining", error, "ratio", MEASURED),
                ("Merging by length of pretraining", share, "merged_acc", RED),
            )
        ),
        Panel("Ratio against distance", Axis("distance", log=True), error, _against_distance(points)),
    ]


def _against_distance(points: Sequence[Row]) -> list[Mark]:
    """All runs, and the line of slope 1 through their middle."""
    x, y = _column(points, "distance"), _column(points, "ratio")
    known = (x > 0) & (y > 0)
    x, y = x[known], y[known]
    ends = np.array([x.min(), x.max()]) if len(x) else np.empty(0)
    scale = np.exp(np.mean(np.log(y / x))) if len(x) else np.nan
    return [
        Line("runs", x, y, MEASURED, markers="points"),
        Line("slope 1", ends, scale * ends, GREY, dash=True),
    ]


def _column(found: Sequence[Row], name: str) -> Array:
    return np.array([metrics[name] for metrics in found], dtype=float)


# ---- The record ----

EXPERIMENT = Experiment(
    name="cross_task_linearity.digits",
    title="Cross-task linearity",
    question=(
        "Two copies of one network learn different tasks: do the features of their average equal "
        "the average of their features?"
    ),
    paper="2402.03660",
    seconds=2.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
    network=lambda history: network(history.config),
)
