"""Merging: how many hidden units carry distinct features?

After Chen, Zhou and Yan 2023, "Going beyond neural network feature similarity: the network feature complexity and its
interpretation using category theory" (arXiv 2310.06756): functionally equivalent features exist in one network, and
can be merged without retraining. The rule of merging is this project's own, see `probes.feature_merging`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.cross_task_linearity.merging_claims import CLAIMS, metrics
from dyntoolkit.phenomena.cross_task_linearity.merging_config import PRESETS, Config
from dyntoolkit.phenomena.cross_task_linearity.merging_figure import panels
from dyntoolkit.phenomena.cross_task_linearity.training import (
    FRAMES,
    LossSinceLast,
    Table,
    Training,
    initial,
    minibatches,
    network,
    sgd_step,
)
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.feature_merging import Units, largest, merge_cheapest, merge_random, output, units

Tensor = torch.Tensor


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
    order, names = random.permutation(len(start.u)), ("merge", "merge_cost", "random_merge", "largest", "random_drop")
    found: dict[str, list[float]] = {name: [] for name in names}
    merged, shuffled, cost = start, start, np.nan
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


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks of one hidden layer on upright digits, then merge the units of each.

    Values (R,): loss, the mean of the mini-batches since the frame before; accuracy on the test digits. At the last
    frame those of `curves`, (R, K).
    """
    config, model, digits = configs[0], network(configs[0]), rotated_digits(0)
    table = Table(digits.train_x.expand(len(seeds), -1, -1), digits.train_y.expand(len(seeds), -1))
    state = Training.start(initial(configs, seeds, ["init"]))
    loss, random = LossSinceLast(state), Stream(seeds, "merging").generators

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
)
