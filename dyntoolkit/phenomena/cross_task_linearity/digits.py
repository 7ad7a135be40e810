"""Are the features of two networks, fine-tuned from one checkpoint on different tasks, linear in the weights?

Zhou, Chen, Chen and Yan, "On the Emergence of Cross-Task Linearity in Pretraining-Fine-tuning Paradigm",
arXiv 2402.03660. One ReLU network learns rotated handwritten digits; two copies of it are fine-tuned, A on digits
rotated one way and B on digits rotated the other way; then their weights are averaged.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np
import torch
from torch.nn import functional

from dyntoolkit.data import Split, noisy_labels, pixel_shuffled_digits, rotated_digits
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.initialization import he, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Momentum, momentum
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.cross_task_linearity.digits_claims import CLAIMS
from dyntoolkit.phenomena.cross_task_linearity.digits_config import ANGLES, MIXTURE, PIXEL_SHUFFLED, PRESETS, Config
from dyntoolkit.phenomena.cross_task_linearity.digits_figure import panels
from dyntoolkit.phenomena.cross_task_linearity.digits_measure import Bench, metrics
from dyntoolkit.phenomena.cross_task_linearity.digits_sweep import sweep_panels
from dyntoolkit.phenomena.cross_task_linearity.memory import Memory
from dyntoolkit.probes.accuracy import accuracy

FRAMES = 30  # of each phase
MEMORY = Memory(limit=100_000_000)  # bytes; the default run takes 10 million


def network(config: Config) -> MLP:
    """64 pixels, `depth` hidden layers of `width` ReLU units, 10 digits; with biases."""
    return MLP((64, *[config.width] * config.depth, 10), torch.relu)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean softmax cross-entropy of each network, (M,); logits (M, n, 10), labels (M, n)."""
    each = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")  # (M n,)
    return each.view(labels.shape).mean(1)


def tasks(config: Config) -> tuple[Split, Split]:
    """The digits of task A and of task B."""
    if config.pretrain_data == PIXEL_SHUFFLED:
        return rotated_digits(0), pixel_shuffled_digits()
    return rotated_digits(config.angle), rotated_digits(-config.angle)


class Table(NamedTuple):
    """Training images (M, n, 64) and labels (M, n) of M networks."""

    x: torch.Tensor
    y: torch.Tensor


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


def per_run(configs: Sequence[Config], name: str) -> torch.Tensor:
    """One setting of every run, (R,)."""
    return torch.tensor([getattr(config, name) for config in configs], dtype=torch.float32)


class Training(NamedTuple):
    """N networks of each of R runs while they train. theta, velocity: (R, N, P).

    loss_sum: mini-batch losses added up, (R, N) float64. updates: how many they are, (R,).
    """

    theta: torch.Tensor
    velocity: torch.Tensor
    loss_sum: torch.Tensor
    updates: torch.Tensor

    @classmethod
    def start(cls, theta: torch.Tensor) -> Self:
        """At rest."""
        runs, networks, _ = theta.shape
        nothing = torch.zeros(runs, networks, dtype=torch.float64)
        return cls(theta, torch.zeros_like(theta), nothing, torch.zeros(runs, dtype=torch.int64))


def sgd_step(
    model: MLP, table: Table, lr: torch.Tensor, mu: torch.Tensor
) -> Callable[[Training, torch.Tensor], Training]:
    """The update of all M = R N networks on mini-batches of their tables, given by index (R, N, B). lr, mu: (R,)."""
    loss_and_gradient = value_and_grad(lambda theta, x, y: cross_entropy(model(theta, x), y))
    rows = torch.arange(len(table.x))[:, None]  # (M, 1)

    def step(state: Training, index: torch.Tensor) -> Training:
        runs, networks, _ = state.theta.shape
        index = index.flatten(0, 1)  # (M, B)
        weights = Momentum(state.theta.flatten(0, 1), state.velocity.flatten(0, 1))  # (M, P)
        loss, gradient = loss_and_gradient(weights.theta, table.x[rows, index], table.y[rows, index])
        rate, inertia = lr.repeat_interleave(networks), mu.repeat_interleave(networks)  # (M,)
        weights = momentum(weights, gradient, rate, inertia)
        return Training(
            weights.theta.view(state.theta.shape),
            weights.velocity.view(state.theta.shape),
            state.loss_sum + loss.view(runs, networks),
            state.updates + 1,
        )

    return step


def minibatches(streams: Sequence[Stream], rows: int, size: int) -> Callable[[int, int], Iterable[torch.Tensor]]:
    """Indices (R, N, size) into tables of so many rows, with replacement, from one stream per network of a run."""

    def batches(first: int, last: int) -> Iterable[torch.Tensor]:
        return torch.stack([stream.indices(rows, last - first, size) for stream in streams], 1).unbind(2)

    return batches


class LossSinceLast:
    """Mean training loss of the updates since the call before, (R, N); NaN for a run that stood still."""

    def __init__(self, state: Training) -> None:
        self.before = state

    def __call__(self, state: Training) -> Array:
        """Take the state of the next frame."""
        done = (state.updates - self.before.updates)[:, None]
        loss = (state.loss_sum - self.before.loss_sum) / done  # 0/0 is NaN
        self.before = state
        return loss.numpy()


Phase = Generator[Frame, None, tuple[Training, Array]]


def pretrain(configs: Sequence[Config], seeds: Sequence[int]) -> Phase:
    """Train the network that both fine-tunings start from; or, with `shared_init` off, one for each of them.

    Frames with `pretrain_loss` and `pretrain_acc` (accuracy on both tasks' tests), (R,) each.
    """
    config, model = configs[0], network(configs[0])
    names = ("",) if config.shared_init else ("", " B")
    stds = he(model, per_run(configs, "init_scale"))
    theta = torch.stack([normal_init(model, Stream(seeds, f"init{name}"), stds) for name in names], 1)  # (R, N, P)
    table = pretraining_table(configs, len(names))
    streams = [Stream(seeds, f"pretrain{name}") for name in names]
    step = sgd_step(model, table, per_run(configs, "pretrain_lr"), per_run(configs, "momentum"))
    state = Training.start(theta)
    loss, (x, labels) = LossSinceLast(state), test_points(configs)

    def measure(k: int, state: Training) -> Mapping[str, Array]:
        right = [accuracy(model(start, x), labels) for start in state.theta.unbind(1)]  # N times (R,)
        values = {"pretrain_acc": np.mean(right, 0)}
        return {**values, "pretrain_loss": loss(state).mean(1)} if k else values

    batches = minibatches(streams, table.y.shape[1], config.batch_size)
    record, total = evenly(config.pretrain_steps, FRAMES), config.pretrain_steps + config.steps
    return (yield from train(state, step, batches, record, measure, total=total))


def finetune(configs: Sequence[Config], seeds: Sequence[int], starts: torch.Tensor, diverged: Array) -> Phase:
    """Train two copies of the start, or one of each of the two starts (R, N, P), A and B on their own tasks.

    Frames with the weights `theta` (R, 2, P) and, after the first one, the training losses `loss` (R, 2).
    """
    config, model, table = configs[0], network(configs[0]), finetuning_table(configs)
    step = sgd_step(model, table, per_run(configs, "lr"), per_run(configs, "momentum"))
    batches = minibatches([Stream(seeds, f"finetune {task}") for task in "AB"], table.y.shape[1], config.batch_size)
    state = Training.start(starts.expand(-1, 2, -1))
    loss = LossSinceLast(state)

    def measure(k: int, state: Training) -> Mapping[str, Array]:
        values = {"theta": state.theta.numpy()}
        return {**values, "loss": loss(state)} if k else values

    record, begin = evenly(config.steps, FRAMES), config.pretrain_steps
    total = begin + config.steps
    return (yield from train(state, step, batches, record, measure, start=begin, total=total, diverged=diverged))


def trajectory(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Both phases of training, with nothing in the frames that depends on `alpha` or `task_scale`."""
    state, diverged = yield from pretrain(configs, seeds)
    yield from finetune(configs, seeds, state.theta, diverged)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R pairs of networks and measure them while they train, with heartbeats in long measurements too.

    `alpha` and `task_scale` say what is measured on the trained networks. So the trainings are remembered, and a run
    that differs from a remembered one in nothing else is only measured anew, with the same numbers.
    """
    benches = [bench(config) for config in configs]
    trained = tuple(config.replace(alpha=0.5, task_scale=0.5) for config in configs)
    start, reached = torch.empty(0), 0
    for frame in MEMORY.frames((trained, tuple(seeds)), lambda: trajectory(configs, seeds)):
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


def bench(config: Config) -> Bench:
    """What one run is measured on. One by one, since all runs at once take longer and much memory."""
    x, labels = test_points([config])
    return Bench(network(config), x, labels, per_run([config], "alpha"), per_run([config], "task_scale"))


def valid(values: Mapping[str, Array], diverged: Array) -> dict[str, Array]:
    """The values (R, ...) with NaN for diverged runs: numbers of a network frozen at 1e30 mean nothing."""
    alive = diverged < 0
    return {name: np.where(alive.reshape(-1, *[1] * (value.ndim - 1)), value, np.nan) for name, value in values.items()}


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
)
