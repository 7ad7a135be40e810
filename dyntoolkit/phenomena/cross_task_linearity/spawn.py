"""Spawning: when do two copies with different batches stay linearly connected, and are their features linear then?

Zhou, Yang, Yang, Yan and Hu 2023, "Going beyond linear mode connectivity: the layerwise linear feature connectivity"
(arXiv 2307.08286), on digits with noisy labels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.data import noisy_labels, rotated_digits
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.cross_task_linearity.pair import connectivity, linearity
from dyntoolkit.phenomena.cross_task_linearity.spawn_claims import CLAIMS, metrics
from dyntoolkit.phenomena.cross_task_linearity.spawn_config import PRESETS, Config
from dyntoolkit.phenomena.cross_task_linearity.spawn_figure import panels, sweep_panels
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
from dyntoolkit.probes.commutativity import additivity, commutativity, relative_square

Tensor = torch.Tensor


def table(configs: Sequence[Config], networks: int) -> Table:
    """Upright digits with the noisy labels of each run, for each of its networks."""
    y = torch.stack([noisy_labels(config.label_noise) for config in configs for _ in range(networks)])
    return Table(rotated_digits(0).train_x.expand(len(y), -1, -1), y)


def conditions(model: MLP, first: Tensor, second: Tensor) -> dict[str, Array]:
    """By weight layer, (R, L + 1): com, dist_W and dist_H of its inputs and weights; by hidden layer (R, L):
    additivity of its pre-activations. Weights (R, P); on the test digits."""
    x = rotated_digits(0).test_x
    inputs = [[x.expand(len(theta), -1, -1), *model.features(theta, x)[:-1]] for theta in (first, second)]
    found: dict[str, list[Tensor]] = {"com": [], "dist_W": [], "dist_H": [], "additivity": []}
    layers = zip(*inputs, model.split(first), model.split(second), strict=True)
    for k, (H_i, H_j, (W_i, b_i), (W_j, b_j)) in enumerate(layers):
        assert b_i is not None
        assert b_j is not None
        found["com"].append(commutativity(H_i, W_i, H_j, W_j))
        found["dist_W"].append(relative_square(W_i, W_j))
        found["dist_H"].append(relative_square(H_i, H_j))
        if k < len(inputs[0]) - 1:
            found["additivity"].append(additivity(H_i @ W_i + b_i, H_j @ W_j + b_j))
    return {name: torch.stack(values, 1).numpy() for name, values in found.items()}


def phase(
    configs: Sequence[Config], seeds: Sequence[int], state: Training, name: str, start: int, steps: int, diverged: Array
) -> Phase:
    """Train the networks (R, N, P) of a state for so many steps, each on batches of its own.

    name: "shared" or "copy", or "anneal" at a tenth of lr. Values: shared_loss (R,) or loss (R, 2), the mean of the
    mini-batches since the frame before, from the second frame on; for a pair of networks also those of `connectivity`,
    `linearity` and `conditions`.
    """
    config, model, networks = configs[0], network(configs[0]), state.theta.shape[1]
    data, lr = table(configs, networks), per_run(configs, "lr") * (0.1 if name == "anneal" else 1.0)
    step = sgd_step(model, data, lr, per_run(configs, "momentum"))
    streams, loss = [Stream(seeds, f"{name} {letter}") for letter in "AB"[:networks]], LossSinceLast(state)

    def measure(k: int, state: Training) -> dict[str, Array]:
        since = loss(state) if k else None  # (R, N)
        values = {} if since is None else {"shared_loss": since.mean(1)} if name == "shared" else {"loss": since}
        if networks == 2:
            first, second = state.theta.unbind(1)
            for part in (connectivity, linearity, conditions):
                values |= part(model, first, second)
        return values

    batches, record = minibatches(streams, data.y.shape[1], config.batch_size), evenly(steps, FRAMES)
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
    config, lost = configs[0], np.full(len(seeds), -1)
    theta = initial(configs, seeds, ["init"] if config.shared_init else ["init", "init B"])  # (R, 1 or 2, P)
    if config.spawn_step:
        state, lost = yield from phase(configs, seeds, Training.start(theta), "shared", 0, config.spawn_step, lost)
        theta = state.theta
    copies, begin = Training.start(theta.expand(-1, 2, -1)), config.spawn_step
    train_copies = phase(configs, seeds, copies, "copy", begin, config.steps, lost)
    state, lost = yield from (train_copies if config.shared_init or not begin else after_the_first(train_copies))
    if config.anneal_steps:
        begin += config.steps
        anneal = phase(configs, seeds, Training.start(state.theta), "anneal", begin, config.anneal_steps, lost)
        yield from after_the_first(anneal)


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
)
