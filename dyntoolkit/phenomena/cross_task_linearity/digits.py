"""Are the features of two networks, fine-tuned from one checkpoint on different tasks, linear in the weights?

Zhou, Chen, Chen and Yan, "On the Emergence of Cross-Task Linearity in Pretraining-Fine-tuning Paradigm",
arXiv 2402.03660. One ReLU network learns rotated handwritten digits; two copies of it are fine-tuned, A on digits
rotated one way and B on digits rotated the other way; then their weights are averaged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from dyntoolkit.data import Split, noisy_labels, pixel_shuffled_digits, rotated_digits
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.cross_task_linearity.digits_claims import CLAIMS
from dyntoolkit.phenomena.cross_task_linearity.digits_config import ANGLES, MIXTURE, PIXEL_SHUFFLED, PRESETS, Config
from dyntoolkit.phenomena.cross_task_linearity.digits_figure import panels
from dyntoolkit.phenomena.cross_task_linearity.digits_measure import Bench, metrics
from dyntoolkit.phenomena.cross_task_linearity.digits_sweep import sweep_panels
from dyntoolkit.phenomena.cross_task_linearity.memory import Memory
from dyntoolkit.phenomena.cross_task_linearity.training import (
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
from dyntoolkit.probes.accuracy import accuracy

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


def pretrain(configs: Sequence[Config], seeds: Sequence[int]) -> Phase:
    """Train the network that both fine-tunings start from; or, with `shared_init` off, one for each of them.

    Frames with `pretrain_loss` and `pretrain_acc` (accuracy on both tasks' tests), (R,) each.
    """
    config, model = configs[0], network(configs[0])
    names = ("",) if config.shared_init else ("", " B")
    theta = initial(configs, seeds, [f"init{name}" for name in names])  # (R, N, P)
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
