"""Digits: does a large start put high-frequency noise into the outputs that must go before real digits are recognised?

Zhou, Zhang and Xu 2024, "A rationale from frequency perspective for grokking in training neural network" (arXiv
2405.17479), on the digits that come with scikit-learn.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from dyntoolkit.data import shuffled_images
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import full_batch, geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.grokking.adamw import adamw
from dyntoolkit.phenomena.grokking.digits_claims import CLAIMS, metrics
from dyntoolkit.phenomena.grokking.digits_config import PRESETS, Config
from dyntoolkit.phenomena.grokking.digits_figure import panels
from dyntoolkit.probes.gaussian_filter import frequency_errors, gaussian_filter, high_frequency_share

Tensor = torch.Tensor
N_TEST = 500
FRAMES = 60  # points of the geometric grid of steps


class Data(NamedTuple):
    """Images x (R, n, 64) with pixels in [0, 1] and one-hot labels y (R, n, 10), float32."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """Each run's own order of the 1797 digits: the first n_train to train on, the next 500 to test."""
    images, labels = shuffled_images()
    x = torch.from_numpy(images.reshape(-1, 64)).float()  # (1797, 64)
    y = torch.eye(10)[torch.from_numpy(labels)]  # (1797, 10)
    n, order = config.n_train, Stream(seeds, "split").permutations(len(x))  # (R, 1797)
    first, following = order[:, :n], order[:, n : n + N_TEST]
    return Data(x[first], y[first], x[following], y[following])


def network(config: Config) -> MLP:
    """64-width-width-10, relu, with biases."""
    return MLP((64, config.width, config.width, 10), torch.relu)


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """W and b of a layer uniform on [-init_scale/sqrt(fan_in), init_scale/sqrt(fan_in)], (R, P)."""
    net, stream = network(configs[0]), Stream(seeds, "init")
    fans = [fan_in for fan_in in net.sizes[:-1] for _ in ("W", "b")]
    blocks = [
        stream.uniform(rows * columns) / fan_in**0.5 for (rows, columns), fan_in in zip(net.shapes, fans, strict=True)
    ]
    return per_run(configs, "init_scale", ndim=2) * torch.cat(blocks, dim=1)


def mean_squared_error(output: Tensor, y: Tensor) -> Tensor:
    """Mean over images and the 10 outputs, (R, n, 10) -> (R,)."""
    return (output - y).square().mean((1, 2))


def accuracy(output: Tensor, y: Tensor) -> Tensor:
    """Share of images whose largest output is their label's, (R, n, 10) -> (R,) float64."""
    return (output.argmax(2) == y.argmax(2)).double().mean(1)


def measure(net: MLP, theta: Tensor, data: Data, S: Tensor) -> dict[str, Array]:
    """What a frame shows of each run, each (R,).

    train_loss, test_loss, train_accuracy, test_accuracy; norm = |theta|; hf: high-frequency share of the outputs on the
    test images; e_low, e_high: relative errors of their low and high frequencies. S: the Gaussian filter (R, 500, 500).
    """
    train_output, output = net(theta, data.train_x), net(theta, data.test_x)  # (R, n, 10)
    e_low, e_high = frequency_errors(S, output, data.test_y)
    values = {
        "train_loss": mean_squared_error(train_output, data.train_y).double(),
        "test_loss": mean_squared_error(output, data.test_y).double(),
        "train_accuracy": accuracy(train_output, data.train_y),
        "test_accuracy": accuracy(output, data.test_y),
        "norm": torch.linalg.vector_norm(theta.double(), dim=1),
        "hf": high_frequency_share(S, output),
        "e_low": e_low,
        "e_high": e_high,
    }
    return {name: value.numpy() for name, value in values.items()}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks in float32; frames at step 0 and on a geometric grid of 60 steps, with `measure`'s values.

    hf_target (R,), at step 0 only: the high-frequency share of the one-hot labels of the test images.
    """
    config, data, net = configs[0], draw_data(configs[0], seeds), network(configs[0])
    S = gaussian_filter(data.test_x)

    def loss(theta: Tensor) -> Tensor:
        return mean_squared_error(net(theta, data.train_x), data.train_y)

    def values(k: int, state: Adam) -> dict[str, Array]:
        found = measure(net, state.theta, data, S)
        return found if k else {**found, "hf_target": high_frequency_share(S, data.test_y).numpy()}

    start, record = Adam.start(initial_theta(configs, seeds)), geometrically(config.steps, FRAMES)
    return train(start, adamw(configs, loss), full_batch, record, values)


EXPERIMENT = Experiment(
    name="grokking.digits",
    title="Grokking on real digits",
    question="Does a large start put high-frequency noise into the outputs that has to go before it generalises?",
    paper="2405.17479",
    seconds=1.3,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
