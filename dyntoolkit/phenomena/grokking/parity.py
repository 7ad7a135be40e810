"""Parity: with few of the 2^n points, which wrong products of bits does the sample look like, and when does the true
one win?

Zhou, Zhang and Xu 2024, "A rationale from frequency perspective for grokking in training neural network" (arXiv
2405.17479): few points alias a product of many bits to products of few, as few points alias high frequencies to low.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import full_batch, geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.grokking.adamw import adamw
from dyntoolkit.phenomena.grokking.parity_claims import CLAIMS, LOW, metrics
from dyntoolkit.phenomena.grokking.parity_config import PRESETS, Config
from dyntoolkit.phenomena.grokking.parity_figure import FRAMES, FREQUENCIES, SHARES, panels, sweep_panels
from dyntoolkit.probes.nudft import nudft
from dyntoolkit.probes.walsh import cube, degree_weights, walsh

Tensor = torch.Tensor


class Data(NamedTuple):
    """The points x (N, n_bits) and labels y (N,) of the cube, for all runs, and each run's order of them, (R, N).

    The first n_train points of its order are what a run trains on.
    """

    x: Tensor
    y: Tensor
    order: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """y = x_1 x_2 ... x_k on the whole cube."""
    x = cube(config.n_bits)
    return Data(x, x[:, : config.k].prod(1), Stream(seeds, "split").permutations(config.points))


def network(config: Config) -> MLP:
    """f(x) = sum_i a_i relu(w_i.x + b_i) + c."""
    return MLP((config.n_bits, config.width, 1), torch.relu)


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """w, b uniform within init_scale/sqrt(n_bits) of 0, a within init_scale/sqrt(width), c = 0: (R, P)."""
    d, m, stream = configs[0].n_bits, configs[0].width, Stream(seeds, "init")
    scale = per_run(configs, "init_scale", ndim=2)  # (R, 1)
    first, a = stream.uniform((d + 1) * m) / d**0.5, stream.uniform(m) / m**0.5  # (R, (d+1) m), (R, m)
    return torch.cat([scale * first, scale * a, torch.zeros(len(seeds), 1)], dim=1)


def known_labels(data: Data, n: int) -> Tensor:
    """N/n y on the first n points of each run's order and 0 elsewhere, (R, N): its coefficient on the true set is 1."""
    N = len(data.y)
    return torch.zeros(data.order.shape).scatter_(1, data.order[:, :n], N / n) * data.y


def alias_low_degree(data: Data, n: int) -> Tensor:
    """The Walsh weight of degrees 1 to 4 in the labels of n points, (R,) float64."""
    return degree_weights(walsh(known_labels(data, n)))[:, 1 : LOW + 1].sum(1)


def measure(config: Config, net: MLP, theta: Tensor, data: Data) -> dict[str, Array]:
    """What a frame shows of each run.

    train_loss, test_loss: mean squared error; train_accuracy, test_accuracy: share of points with f y > 0; share: of
    the true set in the Walsh weight of f on the whole cube; false_low: of all other sets of 1 to 4 bits; each (R,).
    weights (R, n_bits + 1): share of each degree. cube_spectrum, train_spectrum (R, 65): |F_q| along the direction of
    all ones, on the cube and on the training points.
    """
    output = net(theta, data.x).squeeze(2)  # (R, N)
    chosen = torch.zeros(output.shape, dtype=torch.bool).scatter_(1, data.order[:, : config.n_train], True)  # (R, N)
    error, right = (output - data.y).square().double(), (output * data.y > 0).double()
    spectrum = walsh(output)  # (R, N), by set
    total = spectrum.square().sum(1, keepdim=True)  # (R, 1)
    weights, true = degree_weights(spectrum) / total, spectrum[:, 2**config.k - 1].square() / total[:, 0]
    low, q = weights[:, 1 : LOW + 1].sum(1), torch.from_numpy(FREQUENCIES).unsqueeze(1)
    along, own = data.x.sum(1, keepdim=True), data.order[:, : config.n_train]  # (N, 1), (R, n)
    values = {
        "share": true,
        "false_low": low - true if config.k <= LOW else low,
        "weights": weights,
        "cube_spectrum": nudft(output, along, q),
        "train_spectrum": nudft(output.gather(1, own), along[own], q),
    }
    for name, where in (("train", chosen), ("test", ~chosen)):
        values[f"{name}_loss"] = (error * where).sum(1) / where.sum(1)
        values[f"{name}_accuracy"] = (right * where).sum(1) / where.sum(1)
    return {name: value.numpy() for name, value in values.items()}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks in float32; frames at step 0 and on a geometric grid of 60 steps, with `measure`'s values.

    At step 0 also, without training: alias (R,), see `alias_low_degree`, and alias_curve (R, 17), the same for other
    numbers of training points, those of the shares .1, .15, ..., .9.
    """
    config, data, net = configs[0], draw_data(configs[0], seeds), network(configs[0])
    chosen = data.order[:, : config.n_train]
    x, y = data.x[chosen], data.y[chosen]  # (R, n, n_bits), (R, n)

    def loss(theta: Tensor) -> Tensor:
        return (net(theta, x).squeeze(2) - y).square().mean(1)

    def values(k: int, state: Adam) -> dict[str, Array]:
        found = measure(config, net, state.theta, data)
        if k:
            return found
        curve = [alias_low_degree(data, round(share * config.points)) for share in SHARES]
        alias = alias_low_degree(data, config.n_train)
        return {**found, "alias": alias.numpy(), "alias_curve": torch.stack(curve, 1).numpy()}

    start, record = Adam.start(initial_theta(configs, seeds)), geometrically(config.steps, FRAMES)
    return train(start, adamw(configs, loss), full_batch, record, values)


EXPERIMENT = Experiment(
    name="grokking.parity",
    title="Grokking parity",
    question="Which wrong products of bits do few points look like, and when does the true one win?",
    paper="2405.17479",
    seconds=1.2,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
)
