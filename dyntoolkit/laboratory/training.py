"""Training of any network on any data: the settings that all of them share, and the loop."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, Live
from dyntoolkit.engine.loop import BLOCK, evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Momentum, Sgd, adam, clip, momentum, sam, sgd
from dyntoolkit.engine.without_infinity import without_infinity
from dyntoolkit.experiment.config import Config, choice, number, switch
from dyntoolkit.laboratory.losses import right
from dyntoolkit.laboratory.probe import Model, Moment, Probe
from dyntoolkit.laboratory.problem import Problem

Tensor = torch.Tensor
Update = Callable[[Any, Tensor, Tensor], Any]  # state, gradient (R, P), lr (R,) -> state

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "sam", "sign")
SCHEDULES = ("constant", "cosine", "warm-up", "drops")
FRAMES = 201  # recorded steps
FRESH = 2**22  # numbers of fresh noise that are drawn at once


class Training(Config):
    """How a network is trained, whatever it is."""

    optimizer: str = choice(
        "adam", OPTIMIZERS, label="optimizer", help="the update rule; sign: the sign of the gradient", main=True
    )
    lr: float = number(0.01, 1e-5, 10.0, label="learning rate η", help="step size", log=True, main=True)
    init_scale: float = number(
        1.0, 0.01, 100.0, label="initialization scale", help="times the usual initial weights", log=True, main=True
    )
    label_noise: float = number(0.0, 0.0, 1.0, label="wrong labels", help="share of wrong training labels", main=True)
    target_noise: float = number(
        0.0, 0.0, 3.0, label="target noise", help="standard deviation of noise on the training targets"
    )
    fresh_noise: bool = switch(False, label="fresh noise", help="drawn anew in every step, not once")
    batch_size: int = number(0, 0, 1024, label="batch size", help="samples per step; 0: all", log=True, structural=True)
    steps: int = number(1000, 10, 100_000, label="steps", help="updates", log=True, structural=True, main=True)
    weight_decay: float = number(0.0, 0.0, 10.0, label="weight decay", help="pulls weights to zero", log=True)
    schedule: str = choice("constant", SCHEDULES, label="schedule", help="of the learning rate")
    clip: float = number(
        0.0, 0.0, 100.0, label="gradient clipping", help="limit of the gradient norm; 0: none", log=True
    )
    momentum: float = number(0.9, 0.0, 0.999, label="momentum β₁", help="memory of the gradient", near_one=True)
    beta2: float = number(0.999, 0.5, 0.99999, label="β₂", help="Adam's memory of the squared gradient", near_one=True)
    eps: float = number(1e-8, 1e-12, 1e-2, label="ε", help="added to √v in Adam's denominator", log=True)
    rho: float = number(0.05, 0.001, 2.0, label="SAM's radius ρ", help="how far SAM climbs first", log=True)


class Batch(NamedTuple):
    """What the updates of a block see.

    factor: (K,) of the learning rate. samples: (K, R, B) their numbers; None: all. noise: (K, R, B, k) on the targets,
    or (K, R, B) what is added to the labels (0 for a right one); None where it is drawn once.
    """

    factor: Tensor
    samples: Tensor | None
    noise: Tensor | None


def factors(schedule: str, k0: int, k1: int, steps: int) -> Tensor:
    """What the learning rate of the updates k0..k1-1 of `steps` is multiplied by, (k1 - k0,) float64.

    cosine: (1 + cos(pi k/steps))/2. warm-up: rises evenly over the first tenth. drops: to a tenth after half of the
    steps, to a hundredth after three quarters.
    """
    k = torch.arange(k0, k1, dtype=torch.float64)
    if schedule == "cosine":
        return (1 + torch.cos(torch.pi * k / steps)) / 2
    if schedule == "warm-up":
        return ((k + 1) / max(1.0, steps / 10)).clamp_max(1.0)
    if schedule == "drops":
        return 0.1 ** ((k >= steps / 2).double() + (k >= 3 * steps / 4).double())
    return torch.ones(len(k), dtype=torch.float64)


class Epochs:
    """The samples of successive updates: each run goes through its n samples in an order of its own, anew each epoch.

    What is left of an epoch that is smaller than a batch is dropped, as torch's DataLoader does with drop_last.
    """

    def __init__(self, n: int, batch_size: int, stream: Stream) -> None:
        self.n, self.batch_size, self.stream = n, batch_size, stream
        self.left = torch.empty(len(stream.generators), 0, batch_size, dtype=torch.int64)  # batches of this epoch

    def take(self, steps: int) -> Tensor:
        """The samples of the next updates, (steps, R, B) int64."""
        parts, missing = [], steps
        while missing:
            if not self.left.shape[1]:
                order = self.stream.permutations(self.n)  # (R, n)
                whole = self.n // self.batch_size * self.batch_size
                self.left = order[:, :whole].view(len(order), -1, self.batch_size)
            parts.append(self.left[:, :missing])
            self.left = self.left[:, missing:]
            missing -= parts[-1].shape[1]
        return torch.cat(parts, 1).transpose(0, 1).contiguous()


def update_rule(configs: Sequence[Any]) -> tuple[Callable[[Tensor], Any], Update]:
    """The state that an optimizer begins with, and its update, with each run's own hyperparameters."""
    decay, mu, beta2, eps = (
        per_run(configs, name, torch.float64) for name in ("weight_decay", "momentum", "beta2", "eps")
    )
    name = configs[0].optimizer
    if name in ("adam", "adamw"):
        return Adam.start, lambda s, g, lr: adam(s, g, lr, mu, beta2, eps, decay, decoupled=name == "adamw")
    if name == "momentum":
        return Momentum.start, lambda s, g, lr: momentum(s, g, lr, mu, decay)
    if name == "sign":
        return Sgd, lambda s, g, lr: sgd(s, g.sign(), lr, decay)
    return Sgd, lambda s, g, lr: sgd(s, g, lr, decay)


def train_network(
    configs: Sequence[Any],
    seeds: Sequence[int],
    model: Model,
    start: Tensor,
    problem: Problem,
    loss: Callable[[Tensor, Tensor], Tensor],
    probes: Sequence[Probe],
    rule: tuple[Callable[[Tensor], Any], Update] | None = None,
) -> Generator[Frame, Any, None]:
    """Train R networks from the weights start (R, P); frames at 201 even steps.

    configs: of a subclass of `Training` with a switch for each probe. rule: start and update, if not by name.
    Values: loss, test_loss (R,), for classes accuracy and test_accuracy (R,), theta (R, P), and of each probe that is
    on, its own. `Live` values that are sent in switch probes on and off; training does not notice.
    """
    begin, update = rule or update_rule(configs)
    config = configs[0]
    n, steps = problem.x.shape[1], config.steps
    size = config.batch_size if 0 < config.batch_size < n else n
    epochs = Epochs(n, size, Stream(seeds, "batches")) if size < n else None
    noise = _fresh_noise(configs, seeds, problem, size) if config.fresh_noise else None

    def batches(k0: int, k1: int) -> Batch:
        index = epochs.take(k1 - k0) if epochs else None
        return Batch(factors(config.schedule, k0, k1, steps), index, noise(k1 - k0) if noise else None)

    step = _make_step(configs, model, problem, loss, update, climbs=config.optimizer == "sam" and rule is None)
    watched = [probe for probe in probes if getattr(config, probe.field)]

    def measure(k: int, state: Any) -> dict[str, Array]:
        moment = Moment(k, state.theta, start, state, model, problem, loss, configs)
        found = dict(fit(moment)) | {probe.name: probe.measure(moment).detach().double() for probe in watched}
        known = {name: without_infinity(value) for name, value in found.items()}
        return {**known, "theta": state.theta.numpy()}

    few = max(1, min(BLOCK, FRESH // (size * len(seeds) * problem.outputs))) if noise else BLOCK
    frames = train(begin(start), step, batches, evenly(steps, min(FRAMES, steps + 1)), measure, block=few)
    for frame in frames:
        sent = yield frame
        if isinstance(sent, Live):
            watched[:] = [probe for probe in probes if sent.values[probe.field]]


def _make_step(
    configs: Sequence[Any],
    model: Model,
    problem: Problem,
    loss: Callable[[Tensor, Tensor], Tensor],
    update: Update,
    *,
    climbs: bool,
) -> Callable[[Any, Batch], Any]:
    """One update of all runs on a batch. climbs: with the gradient that SAM takes."""
    lr, limit, rho = per_run(configs, "lr", torch.float64), per_run(configs, "clip"), per_run(configs, "rho")  # (R,)
    runs = torch.arange(len(configs), dtype=torch.int64)[:, None]  # (R, 1)

    def batch_loss(theta: Tensor, index: Tensor | None, noise: Tensor | None) -> Tensor:
        x, y = (problem.x, problem.y) if index is None else (problem.x[runs, index], problem.y[runs, index])
        if noise is not None:
            y = (y + noise) % problem.classes if problem.classes else y + noise
        return loss(model(theta, x), y)

    both = value_and_grad(batch_loss)

    def step(state: Any, batch: Batch) -> Any:
        parts: Any = (batch.samples, batch.noise)
        _, gradient = sam(both, state.theta, rho, *parts) if climbs else both(state.theta, *parts)
        return update(state, clip(gradient, limit), lr * batch.factor)

    return step


def fit(moment: Moment) -> Mapping[str, Tensor]:
    """Loss on the training targets as they are, noise included, and on the test data; of classes also the accuracy."""
    problem, found = moment.problem, {}
    for name, x, y in (("", problem.x, problem.y), ("test_", problem.test_x, problem.test_y)):
        output = moment.model(moment.theta, x)  # (R, n, k)
        found[f"{name}loss"] = moment.loss(output, y)  # (R,)
        if problem.classes:
            found[f"{name}accuracy"] = right(output, y).double().mean(1)
    return found


def _fresh_noise(configs: Sequence[Any], seeds: Sequence[int], problem: Problem, size: int) -> Callable[[int], Tensor]:
    """Noise of so many steps: on targets (K, R, B, k), or for classes what is added to them (K, R, B)."""
    chance, stream = Stream(seeds, "fresh noise: which"), Stream(seeds, "fresh noise")
    if not problem.classes:
        std = per_run(configs, "target_noise", ndim=4)  # (R, 1, 1, 1)
        return lambda steps: (stream.normal(steps, size, problem.outputs) * std).transpose(0, 1).contiguous()
    rate = per_run(configs, "label_noise", torch.float64, ndim=3)  # (R, 1, 1)

    def shifts(steps: int) -> Tensor:
        wrong = chance.unit(steps, size, dtype=torch.float64) < rate  # (R, K, B)
        other = stream.indices(problem.classes - 1, steps, size) + 1
        return torch.where(wrong, other, 0).transpose(0, 1).contiguous()

    return shifts
