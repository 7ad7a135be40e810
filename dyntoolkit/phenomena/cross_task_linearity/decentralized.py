"""Decentralized training: does a single global average at the end recover what sparse communication lost?

After arXiv 2507.06542: nodes with unequal data train alone and now and then average with each other. Late messages are
worth more than early ones, and one last average of all recovers most.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.cross_task_linearity.decentralized_claims import CLAIMS, metrics
from dyntoolkit.phenomena.cross_task_linearity.decentralized_config import PRESETS, Config
from dyntoolkit.phenomena.cross_task_linearity.decentralized_figure import panels
from dyntoolkit.phenomena.cross_task_linearity.training import (
    LossSinceLast,
    Table,
    Training,
    initial,
    network,
    sgd_step,
)
from dyntoolkit.probes.accuracy import accuracy

Tensor = torch.Tensor
SHARD = 400  # samples in each node's table
LEAST = 8  # different samples that each node has at least


def shards(labels: Array, beta: float, n_nodes: int, random: np.random.Generator) -> list[Array]:
    """Which training points each node has, cut class by class in proportions drawn from Dirichlet(beta).

    Drawn again until every node has at least 8 points.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    while True:
        nodes: list[list[Array]] = [[] for _ in range(n_nodes)]
        for points in classes:
            points = random.permutation(points)
            cuts = np.floor(np.cumsum(random.dirichlet(np.full(n_nodes, beta))) * len(points)).astype(int)[:-1]
            for node, piece in zip(nodes, np.split(points, cuts), strict=True):
                node.append(piece)
        found = [np.concatenate(node) for node in nodes]
        if min(map(len, found)) >= LEAST:
            return found


def draw_table(configs: Sequence[Config], seeds: Sequence[int]) -> Table:
    """400 samples with replacement from each node's shard, the nodes of the first run, of the second, ..."""
    digits, stream, rows = rotated_digits(0), Stream(seeds, "shards"), []
    for config, random in zip(configs, stream.generators, strict=True):
        parts = shards(digits.train_y.numpy(), config.dirichlet_beta, config.n_nodes, random)
        rows += [random.choice(part, SHARD) for part in parts]
    index = torch.from_numpy(np.stack(rows))  # (R n, 400)
    return Table(digits.train_x[index], digits.train_y[index])


def gossip(n_nodes: int, probability: float, random: np.random.Generator) -> Array:
    """Nodes in random order, paired; each pair averages with that probability: the mixing matrix (n, n)."""
    W, order = np.eye(n_nodes), random.permutation(n_nodes)
    for a, b in order[: n_nodes // 2 * 2].reshape(-1, 2):
        if random.random() < probability:
            W[np.ix_([a, b], [a, b])] = 0.5
    return W


def mixings(configs: Sequence[Config], seeds: Sequence[int]) -> Array:
    """Who averages with whom after each round, (rounds, R, n, n): rows sum to 1, the identity where all keep quiet."""
    n, runs = configs[0].n_nodes, []
    for config, random in zip(configs, Stream(seeds, "gossip").generators, strict=True):
        quiet, full = np.eye(n), np.full((n, n), 1 / n)
        talks = config.schedule == "gossip_merge"
        rounds = [gossip(n, config.gossip_prob, random) if talks else quiet for _ in range(config.rounds)]
        runs.append([full if r in config.full_rounds else W for r, W in enumerate(rounds)])
    return np.stack(runs, axis=1)


def messages(W: Array) -> Array:
    """Models sent: nonzero entries off the diagonal of mixing matrices (..., n, n), (...)."""
    off = W * (1 - np.eye(W.shape[-1]))
    return np.asarray((off != 0).sum((-1, -2)))


class Batch(NamedTuple):
    """One step of all nodes: rows (R, n, B) of their tables; before it, at the start of a round, mixing (R, n, n)."""

    rows: Tensor
    mixing: Tensor | None


def mixed(theta: Tensor, W: Tensor) -> Tensor:
    """theta (R, n, P) averaged over the nodes by W (R, n, n)."""
    return torch.bmm(W, theta)


def make_step(configs: Sequence[Config], table: Table) -> Callable[[Training, Batch], Training]:
    """Average where a round begins, which also stops the velocity, then one SGD step of every node."""
    sgd = sgd_step(network(configs[0]), table, per_run(configs, "lr"), per_run(configs, "momentum"))

    def step(state: Training, batch: Batch) -> Training:
        if batch.mixing is not None:
            theta = mixed(state.theta, batch.mixing)
            state = state._replace(theta=theta, velocity=torch.zeros_like(theta))
        return sgd(state, batch.rows)

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train n nodes of each of R federations; a frame after every second round and the last, before the averaging.

    Values (R,): local_acc, mean test accuracy of the nodes; merged_acc, that of the average of all weights; consensus,
    the root mean square distance of the nodes from their average over its norm; loss, the mean of the mini-batches
    since the frame before; messages so far. node_acc (R, n). At the last frame final_local_acc, local_acc after the
    last averaging.
    """
    config, model, W = configs[0], network(configs[0]), mixings(configs, seeds)
    names = ["init"] * config.n_nodes if config.shared_init else [f"init {k}" for k in range(config.n_nodes)]
    state, digits, sent = Training.start(initial(configs, seeds, names)), rotated_digits(0), messages(W)  # (rounds, R)
    loss, index, size = LossSinceLast(state), Stream(seeds, "batch"), (config.n_nodes, config.batch_size)
    W32 = torch.from_numpy(W).float()

    def node_accuracy(theta: Tensor) -> Array:
        return np.stack([accuracy(model(node, digits.test_x), digits.test_y) for node in theta.unbind(1)], axis=1)

    def measure(k: int, state: Training) -> dict[str, Array]:
        mean, done = state.theta.mean(1), k // config.local_steps
        spread = (state.theta - mean.unsqueeze(1)).double().square().sum(2).mean(1).sqrt()  # (R,)
        nodes = node_accuracy(state.theta)  # (R, n)
        values = {
            "local_acc": nodes.mean(1),
            "node_acc": nodes,
            "merged_acc": accuracy(model(mean, digits.test_x), digits.test_y),
            "consensus": (spread / torch.linalg.vector_norm(mean.double(), dim=1)).numpy(),
            "messages": sent[: max(done - 1, 0)].sum(0).astype(np.float64),
        }
        if k:
            values["loss"] = loss(state).mean(1)
        if k == config.steps:
            values["messages"] = sent.sum(0).astype(np.float64)
            values["final_local_acc"] = node_accuracy(mixed(state.theta, W32[-1])).mean(1)
        return values

    def batches(k0: int, k1: int) -> Iterator[Batch]:
        rows = index.indices(SHARD, k1 - k0, *size)  # (R, steps, n, B)
        for k, batch in zip(range(k0, k1), rows.unbind(1), strict=True):
            new_round = k > 0 and k % config.local_steps == 0
            yield Batch(batch, W32[k // config.local_steps - 1] if new_round else None)

    ends = range(config.local_steps, config.steps + 1, config.local_steps)
    record = sorted({0, *ends[1::2], config.steps})
    return train(state, make_step(configs, draw_table(configs, seeds)), batches, record, measure)


EXPERIMENT = Experiment(
    name="cross_task_linearity.decentralized",
    title="One merge at the end",
    question="Does a single global average at the end recover what sparse communication lost?",
    paper="2507.06542",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
