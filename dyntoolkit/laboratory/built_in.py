"""The measurements that the laboratory offers."""

import math
from collections.abc import Callable
from typing import Any

import torch

from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import Adam
from dyntoolkit.laboratory.losses import right
from dyntoolkit.laboratory.probe import Model, Moment, Probe
from dyntoolkit.probes.dead_units import dead_units
from dyntoolkit.probes.effective_neurons import effective_neurons
from dyntoolkit.probes.effective_rank import effective_rank
from dyntoolkit.probes.gradient_curvature import gradient_curvature, loss_gradient_product
from dyntoolkit.probes.gradient_noise_scale import gradient_noise_scale
from dyntoolkit.probes.lanczos import ITERATIONS, lanczos
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor
from dyntoolkit.probes.relative_distance import relative_distance
from dyntoolkit.probes.sample_gradients import sample_gradients

Tensor = torch.Tensor

MOST = 1000  # training points on which curvature is measured
SAMPLES = 64  # whose own gradients are taken
KERNEL = 32  # points of the tangent kernel
ANGLE = 10.0  # degrees within which two neurons are one


def matrices(model: Model) -> list[str]:
    """The names of the weights that are no vectors."""
    return [name for name, shape in model.shapes.items() if len(shape) > 1]


def weight_norms(moment: Moment) -> Tensor:
    """The Frobenius norm of each layer's weights, (R, layers)."""
    shapes = moment.model.shapes
    parts = torch.split(moment.theta, [math.prod(shape) for shape in shapes.values()], 1)
    norms = {name: part.norm(dim=1) for name, part in zip(shapes, parts, strict=True)}
    return torch.stack([norms[name] for name in matrices(moment.model)], 1)


def training_loss(moment: Moment) -> Callable[[Tensor], Tensor]:
    """theta (R, P) -> (R,): the loss on the first 1000 training points, noise included."""
    x, y = moment.problem.x[:, :MOST], moment.problem.y[:, :MOST]
    return lambda theta: moment.loss(moment.model(theta, x), y)


def sharpness(moment: Moment) -> Tensor:
    """lambda_max of the Hessian, (R,)."""
    return lanczos(loss_gradient_product(training_loss(moment), moment.theta)[2], moment.theta)


def preconditioner(moment: Moment) -> tuple[Tensor, Tensor]:
    """The diagonal D (R, P) by which the update rule turns a gradient into a step, and the factor (R,) of its memory.

    With it lambda_max(D^1/2 H D^1/2) times the factor has the limit 2/lr: for Adam `momentum_factor`, for heavy ball
    1/(1 + beta). NaN for sign descent, which has no such limit, and for Adam before its first update.
    """
    configs, theta = moment.configs, moment.theta
    beta1 = per_run(configs, "momentum", torch.float64)
    if isinstance(state := moment.state, Adam):
        beta2 = per_run(configs, "beta2", torch.float64)
        eps = per_run(configs, "eps", torch.float64, ndim=2)  # (R, 1)
        unbiased = state.square / (1 - beta2**state.updates)[:, None]  # (R, P) float64
        diagonal = 1 / (unbiased.sqrt() + eps)
        return diagonal.to(theta.dtype), momentum_factor(beta1, state.updates)
    plain = torch.full_like(theta, torch.nan if configs[0].optimizer == "sign" else 1.0)
    return plain, 1 / (1 + beta1) if configs[0].optimizer == "momentum" else torch.ones_like(beta1)


def preconditioned_sharpness(moment: Moment) -> Tensor:
    """lambda_max(D^1/2 H D^1/2) times the factor of the update rule's memory, (R,)."""
    diagonal, factor = preconditioner(moment)
    product, root = loss_gradient_product(training_loss(moment), moment.theta)[2], diagonal.sqrt()
    return lanczos(lambda v: root * product(root * v), moment.theta) * factor


def curvature_along_gradient(moment: Moment) -> Tensor:
    """g^T D H g/g^T g times the factor of the update rule's memory, (R,)."""
    diagonal, factor = preconditioner(moment)
    _, gradient, product = loss_gradient_product(training_loss(moment), moment.theta)
    return gradient_curvature(product, gradient, diagonal) * factor


def kernel_distance(moment: Moment) -> Tensor:
    """|K - K0|_F/|K0|_F of the tangent kernels, now and at first, of the sum of outputs on 32 training points, (R,)."""
    return relative_distance(_kernel(moment, moment.theta), _kernel(moment, moment.start))


def _kernel(moment: Moment, theta: Tensor) -> Tensor:
    """K = J J^T, (R, m, m), with J the derivatives of the sum of outputs (Mohamadi et al. 2023, arXiv 2206.12543)."""
    x = moment.problem.x[:, :KERNEL]
    J = sample_gradients(lambda theta, x, _: moment.model(theta, x).flatten(1).sum(1), theta, x, x)  # (R, m, P)
    return J @ J.mT


def noise_scale(moment: Moment) -> Tensor:
    """The gradient noise scale on the first 64 training points, (R,)."""
    x, y = moment.problem.x[:, :SAMPLES], moment.problem.y[:, :SAMPLES]
    loss = lambda theta, x, y: moment.loss(moment.model(theta, x), y)  # noqa: E731  # one line says it
    return gradient_noise_scale(sample_gradients(loss, moment.theta, x, y))


def distance(moment: Moment) -> Tensor:
    """|theta - theta_0|/|theta_0|, (R,)."""
    return relative_distance(moment.theta, moment.start)


def labels_fitted(moment: Moment) -> Tensor:
    """The share of the right and of the wrong training labels that the network gives, (R, 2); NaN where none is wrong.

    Both NaN for targets that are no classes.
    """
    problem = moment.problem
    if not problem.classes:
        return torch.full((len(moment.theta), 2), torch.nan, dtype=torch.float64)
    fitted, wrong = right(moment.model(moment.theta, problem.x), problem.y), problem.y != problem.clean  # (R, n)
    return torch.stack([(fitted & chosen).sum(1).double() / chosen.sum(1) for chosen in (~wrong, wrong)], 1)


def two_over_lr(config: Any) -> float:
    """Where plain gradient descent becomes unstable; heavy ball: 2(1 + beta)/lr; NaN: no such limit."""
    if config.optimizer == "momentum":
        return 2 * (1 + float(config.momentum)) / float(config.lr)
    return 2 / float(config.lr) if config.optimizer in ("sgd", "sam") else math.nan


def limit(config: Any) -> float:
    """2/lr, NaN for sign descent."""
    return math.nan if config.optimizer == "sign" else 2 / float(config.lr)


_GRADIENTS = f"about {3 * ITERATIONS} gradients"

PROBES = (  # of any network
    Probe("weight_norms", "weight norms", "no gradient", weight_norms, matrices, log=True),
    Probe(
        "sharpness",
        "sharpness",
        _GRADIENTS,
        sharpness,
        level=two_over_lr,
        level_label="2/η",
        log=True,
    ),
    Probe(
        "preconditioned_sharpness",
        "preconditioned sharpness",
        _GRADIENTS,
        preconditioned_sharpness,
        level=limit,
        level_label="2/η",
        log=True,
    ),
    Probe(
        "gradient_curvature",
        "curvature along the gradient",
        "about 3 gradients",
        curvature_along_gradient,
        level=limit,
        level_label="2/η",
    ),
    Probe("kernel_distance", "change of the tangent kernel", "about 2 gradients", kernel_distance),
    Probe("noise_scale", "gradient noise scale (samples)", "about 1 gradient", noise_scale, log=True),
    Probe("distance", "distance from the start", "no gradient", distance),
    Probe(
        "labels_fitted",
        "labels fitted (share)",
        "no gradient",
        labels_fitted,
        lambda model: ("right labels", "wrong labels"),
    ),
)


# Of networks that say what their neurons are: model.neurons(theta) gives the input weights (R, m, d) of the first
# layer and their amplitudes (R, m), model.features(theta, x) the hidden layers' outputs, (R, n, width) each.


def input_rank(moment: Moment) -> Tensor:
    """The effective rank of the first layer's input weights, (R,)."""
    weights, _ = moment.model.neurons(moment.theta)  # type: ignore[attr-defined]
    return effective_rank(weights.mT @ weights)


def distinct_neurons(moment: Moment) -> Tensor:
    """In how many directions the first layer's input weights point, (R,)."""
    weights, amplitudes = moment.model.neurons(moment.theta)  # type: ignore[attr-defined]
    return effective_neurons(weights, amplitudes, ANGLE)


def dead(moment: Moment) -> Tensor:
    """The share of hidden units that are the same for all training points, (R,); NaN where there are none."""
    layers = moment.model.features(moment.theta, moment.problem.x)  # type: ignore[attr-defined]
    return dead_units(layers) if layers else torch.full((len(moment.theta),), torch.nan, dtype=torch.float64)


NEURON_PROBES = (
    Probe("input_rank", "effective rank of input weights", "no gradient", input_rank),
    Probe("distinct_neurons", "distinct neurons", "no gradient", distinct_neurons),
    Probe("dead_units", "dead units (share)", "no gradient", dead),
)
