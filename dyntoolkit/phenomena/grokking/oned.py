"""One dimension: if many points lie where sin 6x looks like sin x, is sin x learned first and unlearned later?

Zhou, Zhang and Xu 2024, "A rationale from frequency perspective for grokking in training neural network" (arXiv
2405.17479): training prefers low frequencies, and points that are few or badly placed make a high one look low.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import full_batch, geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.grokking.adamw import adamw
from dyntoolkit.phenomena.grokking.oned_claims import CLAIMS, metrics
from dyntoolkit.phenomena.grokking.oned_config import PRESETS, Config
from dyntoolkit.phenomena.grokking.oned_figure import FRAMES, FREQUENCIES, panels, target, test_points
from dyntoolkit.probes.nudft import nudft

Tensor = torch.Tensor
CANDIDATES = 10_000  # evenly spaced points among which the aliased ones are chosen


def lookalikes(n: int, k: int) -> Array:
    """The n of 10,000 evenly spaced points in [-pi, pi] at which sin kx is nearest to sin 6x, (n,) float64."""
    grid = np.linspace(-np.pi, np.pi, CANDIDATES)
    return grid[np.argsort(np.abs(np.sin(k * grid) - target(grid)), kind="stable")[:n]]


def training_points(config: Config) -> Array:
    """Points that look like sin x, points that look like sin 3x, and evenly spaced ones, together (n,) float64."""
    even = np.linspace(-np.pi, np.pi, config.n_uniform)
    return np.concatenate([lookalikes(config.n_aliased, 1), lookalikes(config.n_aliased3, 3), even])


class Data(NamedTuple):
    """Training points (n,) for all runs and the labels of each, (R, n) float32; test points and labels (1000,)."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def draw_data(configs: Sequence[Config], seeds: Sequence[int]) -> Data:
    """sin 6x at the training points, with each run's own noise, and at 1000 even points without."""
    x, test_x = (torch.from_numpy(points) for points in (training_points(configs[0]), test_points()))
    noise = Stream(seeds, "noise").normal(len(x), dtype=torch.float64)  # (R, n)
    std = per_run(configs, "noise_std", torch.float64, ndim=2)  # (R, 1)
    y = torch.sin(6 * x) + std * noise
    return Data(x.float(), y.float(), test_x.float(), torch.sin(6 * test_x).float())


def network(config: Config) -> MLP:
    """f(x) = sum_i a_i phi(w_i x + b_i) + c."""
    return MLP((1, config.width, 1), ACTIVATIONS[config.activation])


def initial_theta(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """w uniform within init_scale of 0, b within 3.14 init_scale, a within readout_scale, c = 0: (R, 3 width + 1)."""
    m, stream = configs[0].width, Stream(seeds, "init")
    scale, readout = (per_run(configs, name, ndim=2) for name in ("init_scale", "readout_scale"))
    w, b, a = (stream.uniform(m) for _ in range(3))  # (R, m)
    return torch.cat([scale * w, 3.14 * scale * b, readout * a, torch.zeros(len(seeds), 1)], dim=1)


def mean_squared_error(output: Tensor, y: Tensor) -> Tensor:
    """Mean over the points of outputs (R, n, 1) with labels (R, n) or (n,): (R,)."""
    return (output.squeeze(2) - y).square().mean(1)


def measure(net: MLP, theta: Tensor, data: Data) -> dict[str, Array]:
    """What a frame shows of each run.

    train_loss, test_loss (R,): mean squared error on the training points with their labels, on the test points.
    train_spectrum, test_spectrum (R, 16): |F_k|, k = 0..15, of the outputs there, see `nudft`. output (R, 1000):
    f on the test points.
    """
    columns = [x.unsqueeze(1) for x in (data.train_x, data.test_x)]  # (n, 1), (1000, 1)
    fitted, output = (net(theta, column) for column in columns)  # (R, n, 1), (R, 1000, 1)
    k = torch.from_numpy(FREQUENCIES).unsqueeze(1)  # (16, 1)
    values = {
        "train_loss": mean_squared_error(fitted, data.train_y).double(),
        "test_loss": mean_squared_error(output, data.test_y).double(),
        "train_spectrum": nudft(fitted.squeeze(2), columns[0], k),
        "test_spectrum": nudft(output.squeeze(2), columns[1], k),
        "output": output.squeeze(2),
    }
    return {name: value.numpy() for name, value in values.items()}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks in float32; frames at step 0 and on a geometric grid of 100 steps, with `measure`'s values.

    At step 0 also train_x and labels (R, n), the training points, and label_spectrum (R, 16), |F_k| of the labels.
    """
    config, data, net = configs[0], draw_data(configs, seeds), network(configs[0])
    x = data.train_x.unsqueeze(1)  # (n, 1)

    def loss(theta: Tensor) -> Tensor:
        return mean_squared_error(net(theta, x), data.train_y)

    def values(k: int, state: Adam) -> dict[str, Array]:
        found = measure(net, state.theta, data)
        if k:
            return found
        spectrum = nudft(data.train_y, x, torch.from_numpy(FREQUENCIES).unsqueeze(1))
        points = data.train_x.expand_as(data.train_y)  # (R, n)
        return {**found, "train_x": points.numpy(), "labels": data.train_y.numpy(), "label_spectrum": spectrum.numpy()}

    start, record = Adam.start(initial_theta(configs, seeds)), geometrically(config.steps, FRAMES)
    return train(start, adamw(configs, loss), full_batch, record, values)


EXPERIMENT = Experiment(
    name="grokking.oned",
    title="Grokking through frequency",
    question="Does a network learn a low frequency that only the training points suggest, and unlearn it later?",
    paper="2405.17479",
    seconds=1.2,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
