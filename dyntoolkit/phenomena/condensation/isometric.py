"""Does isometric splitting commute with training? A network and its split image trained side by side.

"Isometric splitting" of neurons: arXiv 2505.12419. f(x) = sum_k a_k sigma(w_k . x), no biases.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import full_batch, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, adam
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.condensation.isometric_claims import CLAIMS, metrics
from dyntoolkit.phenomena.condensation.isometric_config import PRESETS, Config
from dyntoolkit.phenomena.condensation.isometric_figure import panels

Tensor = torch.Tensor
EVERY = 20  # steps between two measurements
SHARES = {2: (0.36, 0.64), 3: (0.2, 0.3, 0.5)}  # c_k^2 of the copies


class State(NamedTuple):
    """Weights (w, a) of the narrow network (R, m, d + 1) and of the wide one (R, copies m, d + 1); Adam's memory."""

    theta: Tensor
    eta: Tensor
    theta_mean: Tensor
    theta_square: Tensor
    eta_mean: Tensor
    eta_square: Tensor
    updates: Tensor  # (R,)


class Data(NamedTuple):
    """Inputs (R, n, d) and labels -1 or 1 (R, n)."""

    x: Tensor
    y: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """x ~ N(0, I), y = sign(relu(x_1) + relu(-x_2) - 0.8)."""
    x = Stream(seeds, "data").normal(config.n_train, config.input_dim, dtype=torch.float64)
    return Data(x, torch.sign(torch.relu(x[..., 0]) + torch.relu(-x[..., 1]) - 0.8))


def loss(theta: Tensor, data: Data, activation: str) -> Tensor:
    """Mean of softplus(-y f(x)), (R,). theta: (R, m, d + 1)."""
    z = data.x @ theta[:, :, :-1].mT  # (R, n, m)
    hidden = torch.tanh(z) if activation == "tanh" else functional.leaky_relu(z, 0.1 if activation == "leaky" else 0.0)
    f = (hidden @ theta[:, :, -1:]).squeeze(2)
    return functional.softplus(-data.y * f).mean(1)


def split(theta: Tensor, splitting: str, copies: int) -> Tensor:
    """T: each neuron (w, a) as copies (c w, c a), sum of c^2 = 1; "plain": (w, c^2 a). (R, copies m, d + 1)."""
    parts = []
    for share in SHARES[copies]:
        w, a = theta[:, :, :-1], theta[:, :, -1:]
        parts.append(share**0.5 * theta if splitting == "isometric" else torch.cat([w, share * a], dim=2))
    return torch.cat(parts, dim=1)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks and their split images; every 20 steps, (R,) unless said otherwise.

    commute_error = |T(theta) - eta| / |eta|; loss, wide_loss; mapped, wide (R, copies m): lengths |w| of the neurons of
    T(theta) and of eta.
    """
    c, data = configs[0], draw_data(configs[0], seeds)
    lr, scale = (per_run(configs, name, torch.float64) for name in ("lr", "init_scale"))
    gradient = value_and_grad(lambda theta: loss(theta, data, c.activation))

    def step(state: State, _: None) -> State:
        slopes = gradient(state.theta)[1], gradient(state.eta)[1]
        if c.optimizer == "gd":
            rate = lr.view(-1, 1, 1)
            return state._replace(theta=state.theta - rate * slopes[0], eta=state.eta - rate * slopes[1])
        narrow = adam(_adam(state.theta, state.theta_mean, state.theta_square, state), slopes[0].flatten(1), lr)
        wide = adam(_adam(state.eta, state.eta_mean, state.eta_square, state), slopes[1].flatten(1), lr)
        like, other = state.theta, state.eta
        memory = (narrow.mean.view_as(like), narrow.square.view_as(like), wide.mean.view_as(other))
        return State(
            narrow.theta.view_as(like), wide.theta.view_as(other), *memory, wide.square.view_as(other), wide.updates
        )

    def measure(_: int, state: State) -> dict[str, Array]:
        image = split(state.theta, c.splitting, c.copies)
        values = {
            "commute_error": (image - state.eta).flatten(1).norm(dim=1) / state.eta.flatten(1).norm(dim=1),
            "loss": loss(state.theta, data, c.activation),
            "wide_loss": loss(state.eta, data, c.activation),
            "mapped": image[:, :, :-1].norm(dim=2),
            "wide": state.eta[:, :, :-1].norm(dim=2),
        }
        return {name: value.numpy() for name, value in values.items()}

    theta = scale.view(-1, 1, 1) * Stream(seeds, "init").normal(c.width, c.input_dim + 1, dtype=torch.float64)
    eta = split(theta, c.splitting, c.copies)
    zeros, wide_zeros = torch.zeros_like(theta), torch.zeros_like(eta)
    start = State(theta, eta, zeros, zeros.clone(), wide_zeros, wide_zeros.clone(), torch.zeros(len(seeds)).double())
    record = [*range(0, c.steps, EVERY), c.steps]
    return train(start, step, full_batch, record, measure)


def _adam(theta: Tensor, mean: Tensor, square: Tensor, state: State) -> Adam:
    return Adam(theta.flatten(1), mean.flatten(1), square.flatten(1), state.updates)


EXPERIMENT = Experiment(
    name="condensation.isometric",
    title="Splitting that commutes with training",
    question="Does isometric splitting of neurons commute with training?",
    paper="2505.12419",
    seconds=0.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
