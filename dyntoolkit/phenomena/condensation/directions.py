"""Does a small start make all neurons turn to few directions, and to which?

Zhou et al. 2022, "Towards understanding the condensation of neural networks at initial training" (arXiv 2105.11686).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import full_batch, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, Sgd, adam, sgd
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.condensation.directions_claims import CLAIMS, metrics
from dyntoolkit.phenomena.condensation.directions_config import PRESETS, Config
from dyntoolkit.phenomena.condensation.directions_figure import panels
from dyntoolkit.probes.effective_neurons import effective_neurons

Tensor = torch.Tensor
EVERY = 10  # steps between two measurements
ALIGNED = 0.99  # |cos| from which on a neuron counts as aligned


class Data(NamedTuple):
    """Inputs with a last coordinate 1 for the bias (R, n, D), and labels (R, n), float64."""

    x: Tensor
    y: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """cubic_1d: 40 points of 7x^3 - 4.5x on [-1, 1]. sine_5d: 80 points in [-4, 2]^5, y = sum_k 3.5 sin(5 x_k + 1)."""
    if config.data == "cubic_1d":
        x = torch.linspace(-1, 1, 40, dtype=torch.float64).view(1, -1, 1).repeat(len(seeds), 1, 1)
        y = 7 * x**3 - 4.5 * x
    else:
        x = 3 * Stream(seeds, "data").uniform(80, 5, dtype=torch.float64) - 1
        y = 3.5 * torch.sin(5 * x + 1)
    return Data(torch.cat([x, torch.ones_like(x[:, :, :1])], dim=2), y.sum(2))


def loss(theta: Tensor, data: Data, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean squared error (R,) of f(x) = sum_k a_k sigma(w_k . x); theta (R, D + 1, m), rows w and a."""
    hidden = activation(data.x @ theta[:, :-1])  # (R, n, m)
    f = (hidden @ theta[:, -1:].mT).squeeze(2)  # (R, n)
    return (f - data.y).square().mean(1)


def mean_direction(data: Data) -> Tensor:
    """v = mean of y_i x_i, (R, D): to first order all neurons of a tanh network grow along it."""
    return (data.y.unsqueeze(2) * data.x).mean(1)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks; values every 10 steps.

    w (R, D, m) and amplitude |a||w| (R, m) of each neuron; along (R, m) = cos(w, v). (R,): gone = 1 - L/L(0), n_eff
    (every neuron counts alike), aligned_median and aligned_share of |cos(w, v)|. At step 0 the data: x (R, n, D) and
    y (R, n).
    """
    c, data = configs[0], draw_data(configs[0], seeds)
    within = 10.0 if c.data == "sine_5d" else 5.0
    dims, v = data.x.shape[2], mean_direction(data)
    scale = torch.tensor([each.init_scale for each in configs], dtype=torch.float64).view(-1, 1)
    theta = scale * Stream(seeds, "init").normal((dims + 1) * c.width, dtype=torch.float64)  # (R, (D + 1) m)
    activation = ACTIVATIONS[c.activation]

    def flat_loss(flat: Tensor) -> Tensor:
        return loss(flat.view(-1, dims + 1, c.width), data, activation)

    first = flat_loss(theta)

    def measure(k: int, state: Adam | Sgd) -> dict[str, Array]:
        now = state.theta.view(-1, dims + 1, c.width)
        w, size = now[:, :-1], now[:, -1].abs() * now[:, :-1].norm(dim=1)
        along = torch.cosine_similarity(w, v.unsqueeze(2), dim=1, eps=1e-300)  # (R, m)
        found = {
            "w": w,
            "amplitude": size,
            "along": along,
            "gone": 1 - flat_loss(state.theta) / first,
            "n_eff": effective_neurons(w.mT, torch.ones_like(size), within),
            "aligned_median": along.abs().median(1).values,
            "aligned_share": (along.abs() > ALIGNED).double().mean(1),
        }
        found |= {"x": data.x, "y": data.y} if k == 0 else {}
        return {name: value.numpy() for name, value in found.items()}

    start, step = make_step(configs, theta, flat_loss, v)
    record = [*range(0, c.steps, EVERY), c.steps]
    return train(start, step, full_batch, record, measure)


def make_step(
    configs: Sequence[Config], theta: Tensor, flat_loss: Callable[[Tensor], Tensor], v: Tensor
) -> tuple[Adam | Sgd, Callable[[Adam | Sgd, None], Adam | Sgd]]:
    """The state before training and one step of the optimizer; gd steps by lr/(2|v|)."""
    names = ("lr", "beta1", "beta2", "eps")
    columns = (per_run(configs, name, torch.float64) for name in names)
    lr, beta1, beta2, eps = columns  # (R,) each
    gradient = value_and_grad(flat_loss)

    def step(state: Adam | Sgd, _: None) -> Adam | Sgd:
        slope = gradient(state.theta)[1]
        if isinstance(state, Sgd):
            return sgd(state, slope, lr / (2 * v.norm(dim=1)))
        return adam(state, slope, lr, beta1, beta2, eps)

    return Sgd(theta) if configs[0].optimizer == "gd" else Adam.start(theta), step


EXPERIMENT = Experiment(
    name="condensation.directions",
    title="Neuron condensation",
    question="Does a small start make all neurons turn to at most 2p directions, and to which?",
    paper="2105.11686",
    seconds=0.3,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
