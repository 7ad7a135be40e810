"""Adam on handwritten digits: do alarms precede the bumps of the loss on real data, too?

The question of `mlp` (Bai et al. 2025, arXiv 2506.04805) in a network too large for a dense Hessian at every step: the
curvature along the gradient costs one product with it.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.loop import full_batch
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, adam
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.loss_spikes.digits_claims import CLAIMS, metrics
from dyntoolkit.phenomena.loss_spikes.digits_config import PRESETS, Config
from dyntoolkit.phenomena.loss_spikes.digits_figure import panels
from dyntoolkit.phenomena.loss_spikes.trace import traced
from dyntoolkit.probes.gradient_curvature import gradient_curvature, hessian_product
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor

Tensor = torch.Tensor
PIXELS, CLASSES = 64, 10
HELD = 2**22  # hidden activations that one product with the Hessian may hold at once, 16 MB


class Data(NamedTuple):
    """Images (n, 64) with pixels in [0, 1], and their one-hot labels (n, 10), float32."""

    x: Tensor
    y: Tensor


class Moment(NamedTuple):
    """What the probe needs of one step: the weights before it, and the bias-corrected v that it used, both (R, P)."""

    theta: Tensor
    v: Tensor


def load_data(n: int) -> Data:
    """The first n digits of scikit-learn in the order of its file, the same for all runs."""
    digits = load_digits()
    x = torch.tensor(digits.data[:n] / 16, dtype=torch.float32)
    return Data(x, torch.eye(CLASSES)[torch.tensor(digits.target[:n])])


def initial_theta(config: Config, seeds: Sequence[int]) -> Tensor:
    """W ~ N(0, 1/64), A ~ N(0, 1/width), biases 0, as rows (W, b, A, c) of P = 75 width + 10 numbers, (R, P)."""
    h, stream = config.width, Stream(seeds, "init")
    W = stream.normal(PIXELS * h) / PIXELS**0.5  # (R, 64 h)
    A = stream.normal(h * CLASSES) / h**0.5  # (R, 10 h)
    return torch.cat([W, torch.zeros(len(seeds), h), A, torch.zeros(len(seeds), CLASSES)], dim=1)


def loss(theta: Tensor, data: Data) -> Tensor:
    """The squared error of A tanh(W x + b) + c, mean over images and the 10 classes: theta (R, P) -> (R,)."""
    h = (theta.shape[1] - CLASSES) // (PIXELS + 1 + CLASSES)
    W, b, A, c = torch.split(theta, [PIXELS * h, h, h * CLASSES, CLASSES], dim=1)
    hidden = torch.tanh(data.x @ W.view(-1, PIXELS, h) + b.unsqueeze(1))  # (R, n, h)
    error = hidden @ A.view(-1, h, CLASSES) + c.unsqueeze(1) - data.y  # (R, n, 10)
    return error.square().mean((1, 2))


def along_gradient(theta: Tensor, v: Tensor, eps: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, gradient norm and g . H(D g)/g . g with D = 1/(sqrt(v) + eps), all (N,), of N rows of weights.

    theta, v: (N, P). eps: (N, 1).
    """
    at_data = partial(loss, data=data)
    value, g = value_and_grad(at_data)(theta)  # (N,), (N, P)
    curvature = gradient_curvature(hessian_product(at_data, theta), g, 1 / (v.sqrt() + eps))
    return value, torch.linalg.vector_norm(g, dim=1), curvature


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks; a frame every 50 steps with the values at each of these steps, (R, 50) float64 (see `trace`).

    loss; gradient_norm = |g|; root_v = mean over parameters of sqrt(v); along_gradient = mu g^T D H g / g^T g, whose
    stability limit is 2/lr. Training and curvature are computed in float32.
    """
    data, runs = load_data(configs[0].n_train), len(configs)
    rows = max(1, HELD // (configs[0].n_train * configs[0].width))
    names = ("lr", "beta1", "beta2", "eps")
    columns = (per_run(configs, name, torch.float64) for name in names)
    lr, beta1, beta2, eps = columns  # (R,)
    gradient = value_and_grad(partial(loss, data=data))

    def step(state: Adam, _: None) -> Adam:
        return adam(state, gradient(state.theta)[1], lr, beta1, beta2, eps)

    def moment(before: Adam, after: Adam) -> Moment:
        return Moment(before.theta, after.square / (1 - beta2**after.updates).unsqueeze(1).float())

    def probe(moments: Sequence[Moment], first: int) -> dict[str, Tensor]:
        theta, v = (torch.split(torch.cat(list(column)), rows) for column in zip(*moments, strict=True))  # (N, P)
        added = torch.split(eps.float().repeat(len(moments)).unsqueeze(1), rows)  # (N, 1), N <= T R
        parts = [along_gradient(*part, data) for part in zip(theta, v, added, strict=True)]
        value, norm, curvature = (torch.cat(column).double().view(-1, runs) for column in zip(*parts, strict=True))
        updates = torch.arange(first + 1, first + 1 + len(moments), dtype=torch.float64).unsqueeze(1)  # (T, 1)
        return {
            "loss": value,
            "gradient_norm": norm,
            "root_v": torch.cat([part.sqrt().mean(1) for part in v]).double().view(-1, runs),
            "along_gradient": momentum_factor(beta1, updates) * curvature,
        }

    return traced(Adam.start(initial_theta(configs[0], seeds)), step, full_batch, configs[0].steps, moment, probe)


EXPERIMENT = Experiment(
    name="loss_spikes.digits",
    title="Adam's bumps on real data",
    question="Do alarms of the curvature along the gradient precede Adam's loss bumps on handwritten digits, too?",
    paper="2506.04805",
    seconds=1.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
