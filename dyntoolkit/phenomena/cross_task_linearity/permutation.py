"""Permutation: does reordering hidden units remove the barrier between independent networks?

Matching by weights and by activations as in Ainsworth et al. 2022 (arXiv 2209.04836); feature linearity after it as in
Zhou et al. 2023 (arXiv 2307.08286).
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
from dyntoolkit.phenomena.cross_task_linearity.pair import connectivity, linearity
from dyntoolkit.phenomena.cross_task_linearity.permutation_claims import CLAIMS, metrics
from dyntoolkit.phenomena.cross_task_linearity.permutation_config import PRESETS, Config
from dyntoolkit.phenomena.cross_task_linearity.permutation_figure import panels, sweep_panels
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
from dyntoolkit.probes.permutation_matching import activation_matching, permuted, weight_matching

Tensor = torch.Tensor


def decay(configs: Sequence[Config], model: MLP) -> Tensor:
    """weight_decay at the weights and 0 at the biases, for both networks of each run, (2R, P)."""
    mask = torch.cat([torch.full((rows * columns,), float(rows > 1)) for rows, columns in model.shapes])  # (P,)
    return per_run(configs, "weight_decay").repeat_interleave(2).unsqueeze(1) * mask


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
    x, (i, j) = rotated_digits(0).train_x, (layers(model, first), layers(model, second))
    hidden = [
        [f[0].nan_to_num().double().numpy() for f in model.features(theta[None], x)[:-1]]  # finite if it diverged, too
        for theta in (first, second)
    ]
    orders = [
        weight_matching(i, j, random),
        activation_matching(*hidden),
        [random.permutation(len(bias)) for _, bias in j[:-1]],
    ]
    return torch.stack([second, *(flat(permuted(j, order)) for order in orders)])


def compared(model: MLP, first: Tensor, others: Tensor) -> dict[str, Array]:
    """`connectivity` and `linearity` of the first network (P,) with each of four others (4, P): leading axis 4."""
    start = first.expand(len(others), -1)
    found = connectivity(model, start, others) | linearity(model, start, others)
    return {f"{name}_4": value for name, value in found.items()}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train two networks from different starts on batches of their own, then match the second one to the first.

    Values: loss (R, 2), mean of the mini-batches since the frame before; those of `connectivity` (R, ...). At the last
    frame those of `compared`, (R, 4, ...), for the versions plain, weight, activation and random.
    """
    config, model = configs[0], network(configs[0])
    digits, networks = rotated_digits(0), 2 * len(seeds)
    table = Table(digits.train_x.expand(networks, -1, -1), digits.train_y.expand(networks, -1))
    state = Training.start(initial(configs, seeds, ["init", "init B"]))
    loss, matching = LossSinceLast(state), Stream(seeds, "matching")
    step = sgd_step(model, table, per_run(configs, "lr"), per_run(configs, "momentum"), decay(configs, model))

    def measure(k: int, state: Training) -> dict[str, Array]:
        first, second = state.theta.unbind(1)  # (R, P)
        values = connectivity(model, first, second)
        if k:
            values["loss"] = loss(state)
        if k == config.steps:
            runs = [
                compared(model, i, versions(model, i, j, random))
                for i, j, random in zip(first, second, matching.generators, strict=True)
            ]
            values |= {name: np.stack([run[name] for run in runs]) for name in runs[0]}
        return values

    batches = minibatches([Stream(seeds, f"batch {letter}") for letter in "AB"], 1200, config.batch_size)
    return train(state, step, batches, evenly(config.steps, FRAMES), measure)


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
)
