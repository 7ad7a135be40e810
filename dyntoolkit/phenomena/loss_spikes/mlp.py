"""Adam on a small regression: does it spike when, and only when, the curvature along the gradient passes 2/lr?

Bai et al. 2025, "Adaptive preconditioners trigger loss spikes in Adam" (arXiv 2506.04805). While the gradient is small,
v forgets at the rate beta2 per step and the steps grow, until the loss rises along the gradient.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine import update
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import full_batch
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, AmsGrad
from dyntoolkit.experiment import Experiment, Map
from dyntoolkit.phenomena.loss_spikes.mlp_claims import CLAIMS, metrics
from dyntoolkit.phenomena.loss_spikes.mlp_config import PRESETS, Config
from dyntoolkit.phenomena.loss_spikes.mlp_figure import panels
from dyntoolkit.phenomena._sines import Data, draw_data, hessian, initial_theta, loss_and_gradient
from dyntoolkit.phenomena.loss_spikes.spikes import find_spikes
from dyntoolkit.phenomena.loss_spikes.trace import trace, traced
from dyntoolkit.probes.gradient_curvature import gradient_curvature
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor, preconditioned_sharpness
from dyntoolkit.probes.sharpness import sharpness

Tensor = torch.Tensor
State = Adam | AmsGrad


class Moment(NamedTuple):
    """What the probes need of one step: the weights before it, and v as the step uses it, both (R, P)."""

    theta: Tensor
    v: Tensor


def initial_state(configs: Sequence[Config], seeds: Sequence[int]) -> State:
    """Random weights, and moments from zero."""
    rule = AmsGrad if configs[0].amsgrad else Adam
    return rule.start(initial_theta(configs, seeds))


def make_step(configs: Sequence[Config], data: Data) -> Callable[[State, Tensor | None], State]:
    """One step of Adam on the full batch: gradient, noise on it, clipping, moments, weights. noise: (R, P)."""
    lr, beta1, beta2, eps = (per_run(configs, name, torch.float64) for name in ("lr", "beta1", "beta2", "eps"))
    limit = per_run(configs, "grad_clip", torch.float64)
    clips = bool(limit.any())

    def step(state: State, noise: Tensor | None) -> State:
        _, gradient = loss_and_gradient(state.theta, data)  # (R, P)
        gradient = gradient if noise is None else gradient + noise
        gradient = update.clip(gradient, limit) if clips else gradient
        if isinstance(state, AmsGrad):
            return update.amsgrad(state, gradient, lr, beta1, beta2, eps)
        return update.adam(state, gradient, lr, beta1, beta2, eps)

    return step


def make_batches(
    configs: Sequence[Config], seeds: Sequence[int], parameters: int, name: str = "gradient noise"
) -> Callable[[int, int], Iterable[Tensor | None]]:
    """The noise on the gradients of updates k0..k1-1, each (R, P), from the stream `name`; None where there is none."""
    std, stream = per_run(configs, "grad_noise_std", torch.float64), Stream(seeds, name)
    if not std.any():
        return full_batch

    def batches(k0: int, k1: int) -> Iterator[Tensor | None]:
        return iter((std[:, None, None] * stream.normal(k1 - k0, parameters, dtype=torch.float64)).unbind(1))

    return batches


def corrected(state: State, beta2: Tensor) -> Tensor:
    """v as the denominator of the newest step used it, corrected for its bias, (R, P)."""
    if isinstance(state, AmsGrad):
        return state.peak
    return state.square / (1 - beta2**state.updates).unsqueeze(1)


def losses_only(data: Data, moments: Sequence[Moment], first: int) -> dict[str, Tensor]:
    """The loss at every step, (T, R)."""
    theta = torch.stack([moment.theta for moment in moments])  # (T, R, P)
    return {"loss": loss_and_gradient(theta, data)[0]}


def curvatures(configs: Sequence[Config], data: Data, moments: Sequence[Moment], first: int) -> dict[str, Tensor]:
    """Loss, gradient norm, mean sqrt(v) and the three curvatures at every step, each (T, R).

    sharpness: lambda_max(H). preconditioned: mu lambda_max(D^1/2 H D^1/2). along_gradient: mu g^T D H g / g^T g, with
    D = 1/(sqrt(v) + eps) and the factor mu of the momentum. The stability limit of all three is 2/lr.
    """
    theta, v = (torch.stack(list(column)) for column in zip(*moments, strict=True))  # (T, R, P)
    beta1, eps = per_run(configs, "beta1", torch.float64), per_run(configs, "eps", torch.float64)
    losses, g = loss_and_gradient(theta, data)
    H = hessian(theta, data)  # (T, R, P, P)
    D = 1 / (v.sqrt() + eps.unsqueeze(1))  # (T, R, P)
    updates = torch.arange(first + 1, first + 1 + len(moments), dtype=torch.float64).unsqueeze(1)  # (T, 1)
    mu = momentum_factor(beta1, updates)  # (T, R)
    return {
        "loss": losses,
        "gradient_norm": torch.linalg.vector_norm(g, dim=-1),
        "root_v": v.sqrt().mean(-1),
        "sharpness": sharpness(H),
        "preconditioned": mu * preconditioned_sharpness(H, D),
        "along_gradient": mu * gradient_curvature(lambda u: (H @ u.unsqueeze(-1)).squeeze(-1), g, D),
    }


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Train R networks; a frame every 50 steps with the values at each of these steps, (R, 50) float64 (see `trace`).

    Names as in `curvatures`. The probes only read: `simulate_untraced` trains the same networks bit by bit.
    """
    data = draw_data(configs, seeds)
    return _train(configs, seeds, data, partial(curvatures, configs, data))


def simulate_untraced(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """The same training, but only the loss is measured."""
    data = draw_data(configs, seeds)
    return _train(configs, seeds, data, partial(losses_only, data))


def _train(
    configs: Sequence[Config],
    seeds: Sequence[int],
    data: Data,
    probe: Callable[[Sequence[Moment], int], dict[str, Tensor]],
) -> Iterator[Frame]:
    """The loss at index i belongs to the weights before update i + 1, whose v holds the gradient of that very step."""
    state, beta2 = initial_state(configs, seeds), per_run(configs, "beta2", torch.float64)
    batches = make_batches(configs, seeds, state.theta.shape[1])

    def moment(before: State, after: State) -> Moment:
        return Moment(before.theta, corrected(after, beta2))

    return traced(state, make_step(configs, data), batches, configs[0].steps, moment, probe)


def spike_count(history: History) -> Array:
    """Number of 10x spikes of each run so far, (R,)."""
    losses = trace(history, "loss")  # (N, R)
    return np.array([len(find_spikes(losses[:, r])) for r in range(losses.shape[1])], dtype=np.float64)


EXPERIMENT = Experiment(
    name="loss_spikes.mlp",
    title="Adam loss spikes",
    question="Does Adam spike when, and only when, the curvature along the gradient passes 2/lr?",
    paper="2506.04805",
    seconds=4.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    map=Map(
        title="10x spikes per run",
        label="spikes",
        x="lr",
        y="beta2",
        xs=(0.003, 0.006, 0.01, 0.02, 0.03, 0.05, 0.1),
        ys=(0.5, 0.9, 0.97, 0.99, 0.995, 0.999, 0.9999),
        simulate=simulate_untraced,
        value=spike_count,
    ),
)
