"""Does a single global average at the end recover what sparse communication lost?

Zhu, Zhang, Wang, Zhou and Wang 2025, "A single merging suffices: recovering server-based learning performance in
decentralized learning" (arXiv 2507.06542): nodes with unequal data train alone and now and then average with each
other. Late messages are worth more than early ones, and one last average of all recovers most.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.data import rotated_digits
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    above,
    between,
    choice,
    config,
    defaults,
    number,
    switch,
)
from dyntoolkit.figure.panels import BLUE, GREEN, GREY, ORANGE, RED, SKY, Axis, Line, Mark, Panel, Spans
from dyntoolkit.figure.recorded import newest, recorded, recorded_line
from dyntoolkit.phenomena.cross_task_linearity._training import (
    LossSinceLast,
    Table,
    Training,
    deadly_noise,
    initial,
    network,
    sgd_step,
)
from dyntoolkit.probes.accuracy import accuracy

Tensor = torch.Tensor


# ---- Settings and presets ----

SCHEDULES = ("gossip_merge", "early", "mid", "late", "full", "none")


class Config(config.Config):
    """Settings of one federation of nodes with unequal data (arXiv 2507.06542)."""

    schedule: str = choice("gossip_merge", SCHEDULES, label="schedule", help="who averages when", main=True)
    gossip_prob: float = number(
        0.2, 0.0, 1.0, label="gossip probability", help="that a pair of nodes averages in a round", main=True
    )
    dirichlet_beta: float = number(
        0.1, 0.1, 100.0, label="evenness of the data β", help="small: few classes per node", log=True, main=True
    )
    lr: float = number(0.05, 0.01, 0.1, label="learning rate η", help="step size of SGD", log=True, main=True)
    init_scale: float = number(
        1.0, 0.3, 1.5, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    n_nodes: int = number(16, 4, 32, label="nodes", help="that train side by side", structural=True)
    rounds: int = number(60, 10, 100, label="rounds", help="of training and averaging", structural=True)
    local_steps: int = number(10, 1, 50, label="local steps", help="SGD steps per round", log=True, structural=True)
    window_rounds: int = number(3, 1, 20, label="window", help="full rounds of a window", structural=True)
    batch_size: int = number(32, 8, 64, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.0, 0.0, 0.9, label="momentum", help="restarts in every round")
    shared_init: bool = switch(True, label="shared start", help="one start for all nodes")
    width: int = number(64, 16, 128, label="width", help="units per hidden layer", log=True, structural=True)
    depth: int = number(2, 1, 3, label="hidden layers", help="depth of the network", structural=True)

    def check(self) -> None:
        """A window of full rounds lies within the run."""
        if self.schedule in ("early", "mid", "late") and self.window_rounds > self.rounds:
            raise InputError(
                f"window_rounds takes at most rounds = {self.rounds}, got {self.window_rounds}.", "window_rounds"
            )

    def warnings(self) -> list[str]:
        """Training that may die."""
        return deadly_noise(self.lr, self.batch_size, self.momentum)

    @property
    def steps(self) -> int:
        """Local steps of a node in all rounds."""
        return self.rounds * self.local_steps

    @property
    def full_rounds(self) -> range:
        """The rounds after which all nodes take the average of all."""
        first = {
            "full": 0,
            "early": 0,
            "mid": (self.rounds - self.window_rounds) // 2,
            "late": self.rounds - self.window_rounds,
            "gossip_merge": self.rounds - 1,
            "none": self.rounds,
        }[self.schedule]
        last = first + self.window_rounds if self.schedule in ("early", "mid", "late") else self.rounds
        return range(first, last)


APART = {"schedule": "none", "shared_init": False}

PRESETS = {
    "one_merge": Preset("Little gossip, and one average of all at the end: it recovers most."),
    "silent": Preset("No message at all before the end.", {"schedule": "none"}),
    "always": Preset("All average in every round: 30 times the messages.", {"schedule": "full"}),
    "early": Preset("Three full rounds at the start, then silence.", {"schedule": "early"}),
    "late": Preset("The same three rounds at the end.", {"schedule": "late"}),
    "iid": Preset("Even data: the nodes need no merge.", {"dirichlet_beta": 100.0}),
    "different_inits": Preset("Silent nodes from different starts: their average knows nothing.", APART),
}


# ---- Data, model, step ----

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
    digits = rotated_digits(0)
    rows: list[Array] = []
    for c, random in zip(configs, Stream(seeds, "shards").generators, strict=True):
        parts = shards(digits.train_y.numpy(), c.dirichlet_beta, c.n_nodes, random)
        rows += [random.choice(part, SHARD) for part in parts]
    index = torch.from_numpy(np.stack(rows))  # (R n, 400)
    return Table(digits.train_x[index], digits.train_y[index])


def gossip(n_nodes: int, probability: float, random: np.random.Generator) -> Array:
    """Nodes in random order, paired; each pair averages with that probability: the mixing matrix (n, n)."""
    W = np.eye(n_nodes)
    order = random.permutation(n_nodes)
    for a, b in order[: n_nodes // 2 * 2].reshape(-1, 2):
        if random.random() < probability:
            W[np.ix_([a, b], [a, b])] = 0.5
    return W


def mixings(configs: Sequence[Config], seeds: Sequence[int]) -> Array:
    """Who averages with whom after each round, (rounds, R, n, n): rows sum to 1, the identity where all keep quiet."""
    n = configs[0].n_nodes
    quiet, full = np.eye(n), np.full((n, n), 1 / n)
    runs = []
    for c, random in zip(configs, Stream(seeds, "gossip").generators, strict=True):
        talks = c.schedule == "gossip_merge"
        rounds = [gossip(n, c.gossip_prob, random) if talks else quiet for _ in range(c.rounds)]
        runs.append([full if r in c.full_rounds else W for r, W in enumerate(rounds)])
    return np.stack(runs, axis=1)


def messages(W: Array) -> Array:
    """Models sent: nonzero entries off the diagonal of mixing matrices (..., n, n), (...)."""
    off = W * (1 - np.eye(W.shape[-1]))
    return np.asarray((off != 0).sum((-1, -2)))


class Batch(NamedTuple):
    """What one step of all nodes sees."""

    rows: Tensor  # (R, n, B) of their tables
    new_round: Tensor  # () whether a round begins with this step, so that nodes average before it
    mixing: Tensor  # (R, n, n) by which they do; any matrix in other steps


def mixed(theta: Tensor, W: Tensor) -> Tensor:
    """theta (R, n, P) averaged over the nodes by W (R, n, n): theta <- W theta."""
    return torch.bmm(W, theta)


def make_step(configs: Sequence[Config], table: Table) -> Callable[[Training, Batch], Training]:
    """Average where a round begins, which also stops the velocity, then one SGD step of every node."""
    sgd = sgd_step(network(configs[0]), table, per_run(configs, "lr"), per_run(configs, "momentum"))

    def step(state: Training, batch: Batch) -> Training:
        theta = torch.where(batch.new_round, mixed(state.theta, batch.mixing), state.theta)
        velocity = torch.where(batch.new_round, 0.0, state.velocity)
        return sgd(state._replace(theta=theta, velocity=velocity), batch.rows)

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train n nodes of each of R federations; a frame after every second round and the last, before the averaging.

    Values (R,): local_acc, mean test accuracy of the nodes; merged_acc, that of the average of all weights; consensus,
    the root mean square distance of the nodes from their average over its norm; loss, the mean of the mini-batches
    since the frame before; messages so far. node_acc (R, n). At the last frame final_local_acc, local_acc after the
    last averaging.
    """
    config = configs[0]
    model = network(config)
    digits = rotated_digits(0)
    W = mixings(configs, seeds)
    W32 = torch.from_numpy(W).float()
    sent = messages(W)  # (rounds, R)
    names = ["init"] * config.n_nodes if config.shared_init else [f"init {k}" for k in range(config.n_nodes)]
    state = Training.start(initial(configs, seeds, names))
    index = Stream(seeds, "batch")
    loss = LossSinceLast(state)

    def node_accuracy(theta: Tensor) -> Array:
        return accuracy(model(theta.flatten(0, 1), digits.test_x), digits.test_y).reshape(theta.shape[:2])

    def measure(k: int, state: Training) -> dict[str, Array]:
        mean = state.theta.mean(1)  # (R, P)
        done = k // config.local_steps  # rounds
        # consensus: sqrt(mean_i |theta_i - mean|^2) / |mean|
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

    def batches(k0: int, k1: int) -> Batch:
        rows = index.indices(SHARD, k1 - k0, config.n_nodes, config.batch_size)  # (R, steps, n, B)
        k = torch.arange(k0, k1, dtype=torch.int64)  # (steps,)
        new_round = (k > 0) & (k % config.local_steps == 0)
        before = (k // config.local_steps - 1).clamp_min(0)  # the round before; the first has none
        return Batch(rows.transpose(0, 1), new_round, W32[before])

    ends = range(config.local_steps, config.steps + 1, config.local_steps)
    record = sorted({0, *ends[1::2], config.steps})
    return train(state, make_step(configs, draw_table(configs, seeds)), batches, record, measure)


# ---- What is measured, claims ----


def metrics(history: History) -> dict[str, Array]:
    """Of the newest frame, name -> (R,).

    local_acc, merged_acc: before the averaging of that round; merge_gain: their difference. final_local_acc: mean
    accuracy of the nodes after the last averaging (NaN before). consensus: their spread. messages: models sent.
    """
    local, merged = history.last("local_acc"), history.last("merged_acc")
    return {
        "local_acc": local,
        "merged_acc": merged,
        "merge_gain": merged - local,
        "final_local_acc": newest(history, "final_local_acc"),
        "consensus": history.last("consensus"),
        "messages": history.last("messages"),
    }


def late_minus_early(rows: Sequence[Metrics]) -> Array:
    """What the last nodes are better by if the window is late, (R,)."""
    return np.asarray(rows[0]["final_local_acc"] - rows[1]["final_local_acc"])


CLAIMS = (
    Claim(
        id="final_merge_gain",
        statement="One average of all at the end is better than its nodes by over 12 points.",
        metric="merge_gain",
        bound=above(0.12),
        where=defaults(gossip_prob=between(0.05, 0.5)),
        controls=(
            Control("even data", {"dirichlet_beta": 100.0}),
            Control("silent nodes, different starts", APART),
        ),
    ),
    Claim(
        id="late_beats_early",
        statement="Three full rounds at the end leave better nodes than three at the start, by over 15 points.",
        metric="final_local_acc",
        bound=above(0.15),
        where=defaults(schedule=SCHEDULES, gossip_prob=between(0, 1)),  # the sweep brings its own schedule
        sweep=Sweep(({"schedule": "late"}, {"schedule": "early"}), late_minus_early),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Accuracies with the full rounds shaded; consensus; messages."""
    config: Config = history.config
    step = Axis("local steps of a node", range=(0, config.steps))
    share = Axis("test accuracy", range=(0, 1))
    return [
        Panel(
            "Nodes, and the average of all",
            step,
            share,
            [
                recorded_line(history, "local_acc", "nodes, mean", BLUE),
                recorded_line(history, "merged_acc", "average of all weights", RED),
                _final(history),
                full_rounds(config),
            ],
        ),
        Panel("Every node", step, share, _nodes(history)),
        Panel(
            "Spread of the nodes around their average",
            step,
            Axis("distance / norm", log=True),
            [recorded_line(history, "consensus", "root mean square", GREEN, start=1)],
        ),
        Panel("Budget", step, Axis("models sent"), [recorded_line(history, "messages", "messages so far", ORANGE)]),
    ]


def full_rounds(config: Config) -> Spans:
    """The steps after which all nodes take the average of all, one round wide; wide enough to be seen."""
    rounds = np.array(config.full_rounds, dtype=float)
    ends = (rounds + 1) * config.local_steps
    if config.schedule == "full":  # one stretch
        ends = ends[-1:]
        return Spans("all average", np.zeros(1), ends, ORANGE)
    return Spans("all average", ends - config.local_steps, ends, ORANGE)


def _final(history: History) -> Line:
    """The nodes after the last averaging, as a point at the end."""
    if "final_local_acc" not in history:
        return Line("nodes after the last averaging", np.empty(0), np.empty(0), SKY, markers="points")
    last = history.last("final_local_acc")
    return Line("nodes after the last averaging", np.full(len(last), history.step), last, SKY, markers="points")


def _nodes(history: History) -> list[Mark]:
    """A line for each node of the first run."""
    config: Config = history.config
    steps, values = recorded(history, "node_acc")
    known = values[:, 0] if values.ndim > 2 else np.empty((0, config.n_nodes))
    return [Line("a node", steps, known[:, k], GREY, width=1.0, legend=k == 0) for k in range(config.n_nodes)]


# ---- The record ----

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
    network=lambda history: network(history.config),
)
