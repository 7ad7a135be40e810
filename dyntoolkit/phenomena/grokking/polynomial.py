"""Polynomial regression: does a network that starts as a kernel machine leave its kernel and then generalise?

Kumar, Bordelon, Gershman and Pehlevan 2023, "Grokking as the transition from lazy to rich training dynamics" (arXiv
2310.06110). Plain gradient descent without weight decay on y = (b.x)^2/2.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import full_batch, geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Sgd, sgd
from dyntoolkit.experiment import Experiment, Map
from dyntoolkit.phenomena.grokking.polynomial_claims import CLAIMS, delays, metrics
from dyntoolkit.phenomena.grokking.polynomial_config import PRESETS, Config
from dyntoolkit.phenomena.grokking.polynomial_figure import panels, sweep_panels
from dyntoolkit.probes.alignment import matrix_alignment
from dyntoolkit.probes.kernel_regression import kernel_regression

Tensor = torch.Tensor
N_TEST = 500
FRAMES = 80  # points of the geometric grid of steps
RIDGE = 1e-6  # of the kernel regression, in units of the kernel's largest eigenvalue


class Data(NamedTuple):
    """direction b (R, D) with |b|^2 = D; points x (R, n, D) and targets y (R, n) for training and testing, float32."""

    direction: Tensor
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


class Model(NamedTuple):
    """What does not change in training: initial weights (R, N, D), and alpha and epsilon, each (R, 1)."""

    start: Tensor
    alpha: Tensor
    epsilon: Tensor


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """x ~ N(0, I/D), y = (b.x)^2/2 with a random direction b, for each run its own."""
    D = config.input_dim
    b = Stream(seeds, "direction").normal(D)  # (R, D)
    b = b * (D**0.5 / torch.linalg.vector_norm(b, dim=1, keepdim=True))
    points = [Stream(seeds, name).normal(n, D) / D**0.5 for name, n in (("train", config.n_train), ("test", N_TEST))]
    train_y, test_y = ((x @ b.unsqueeze(2)).squeeze(2).square() / 2 for x in points)  # (R, n)
    return Data(b, points[0], train_y, points[1], test_y)


def make_model(configs: Sequence[Config], seeds: Sequence[int]) -> Model:
    """w ~ N(0, init_scale^2)."""
    columns = (per_run(configs, name, ndim=2) for name in ("init_scale", "alpha", "nonlinearity"))
    scale, alpha, epsilon = columns  # (R, 1)
    w = Stream(seeds, "init").normal(configs[0].width, configs[0].input_dim)  # (R, N, D)
    return Model(w * scale.unsqueeze(2), alpha, epsilon)


def mean_unit(w: Tensor, x: Tensor, epsilon: Tensor) -> Tensor:
    """g(x) = (1/N) sum_i phi(w_i.x), phi(h) = h + epsilon h^2/2: weights (R, N, D), points (R, n, D) -> (R, n)."""
    h = x @ w.mT  # (R, n, N)
    return (h + epsilon.unsqueeze(2) / 2 * h.square()).mean(2)


def output(model: Model, w: Tensor, x: Tensor) -> Tensor:
    """f(x) = alpha (g(x; w) - g(x; start)), (R, n): zero at step 0."""
    return model.alpha * (mean_unit(w, x, model.epsilon) - mean_unit(model.start, x, model.epsilon))


def make_gradient(model: Model, data: Data) -> Callable[[Tensor], Tensor]:
    """The gradient (R, N, D) of the mean squared error at weights (R, N, D), written out."""
    x, y, (_, P, N) = data.train_x, data.train_y, (data.train_x @ model.start.mT).shape
    start, epsilon = mean_unit(model.start, x, model.epsilon), model.epsilon.unsqueeze(2)

    def gradient(w: Tensor) -> Tensor:
        h = x @ w.mT  # (R, P, N)
        slope = 1 + epsilon * h  # phi'(h)
        g = ((h * (slope + 1)) / 2).mean(2)  # (R, P), for phi(h) = h (phi'(h) + 1)/2
        residual = model.alpha * (g - start) - y  # (R, P)
        return (slope * (2 / (P * N) * model.alpha * residual).unsqueeze(2)).mT @ x

    return gradient


def initial_kernel(model: Model, x: Tensor, other: Tensor) -> Tensor:
    """K0(x, x') = (x.x') (1/N) sum_i phi'(w_i.x) phi'(w_i.x') at the start, (R, n, n'): N times g's tangent kernel."""
    epsilon, w = model.epsilon.unsqueeze(2), model.start.to(x.dtype)
    slopes, others = (1 + epsilon * (points @ w.mT) for points in (x, other))  # (R, n, N)
    kernel: Tensor = (x @ other.mT) * (slopes @ others.mT) / w.shape[1]
    return kernel


def final_kernel(model: Model, direction: Tensor, x: Tensor) -> Tensor:
    """K(x, x') = (x.x') (1 + (epsilon/alpha) (b.x)(b.x')), (R, n, n): once w^T w/N has become b b^T/(alpha epsilon)."""
    along = (x @ direction.to(x.dtype).unsqueeze(2)).squeeze(2)  # (R, n)
    ratio = (model.epsilon / model.alpha).unsqueeze(2)  # (R, 1, 1)
    kernel: Tensor = (x @ x.mT) * (1 + ratio * along.unsqueeze(2) * along.unsqueeze(1))
    return kernel


def largest_eigenvalue(model: Model, data: Data) -> Tensor:
    """lambda, the larger of the top eigenvalues of the two kernels on the training points, (R,) float64."""
    x = data.train_x.double()
    kernels = initial_kernel(model, x, x), final_kernel(model, data.direction, x)
    return torch.maximum(*(torch.linalg.eigvalsh(K)[:, -1] for K in kernels))


def kernel_floor(model: Model, data: Data, largest: Tensor) -> Tensor:
    """Test error of regression with the initial kernel, in units of the test error at step 0, (R,) float64."""
    x, test, target = data.train_x.double(), data.test_x.double(), data.test_y.double()
    K, K_test = initial_kernel(model, x, x), initial_kernel(model, test, x)
    prediction = kernel_regression(K, K_test, data.train_y.double(), RIDGE * largest)
    return (prediction - target).square().mean(1) / target.square().mean(1)


def three_terms(model: Model, w: Tensor, direction: Tensor) -> Tensor:
    """The three parts of the population loss, (R, 3) float64: variance, misalignment, linear. Exact for Gaussian x.

    With A = alpha epsilon dM - b b^T, dM the change of M = w^T w/N, and du that of the mean weight vector, they are
    (tr A)^2/(4 D^2), |A|_F^2/(2 D^2) and alpha^2 |du|^2/D.
    """
    w, start, b = w.double(), model.start.double(), direction.double()
    (_, N, D), alpha, epsilon = w.shape, model.alpha.double(), model.epsilon.double()
    change = (w.mT @ w - start.mT @ start) / N  # (R, D, D)
    A = (alpha * epsilon).unsqueeze(2) * change - b.unsqueeze(2) * b.unsqueeze(1)
    variance = A.diagonal(dim1=1, dim2=2).sum(1).square() / (4 * D**2)  # (R,)
    misalignment = A.square().sum((1, 2)) / (2 * D**2)
    linear = alpha.squeeze(1).square() * (w - start).mean(1).square().sum(1) / D
    return torch.stack([variance, misalignment, linear], dim=1)


def measure(model: Model, data: Data, w: Tensor) -> dict[str, Array]:
    """What a frame shows of each run.

    train_mse, test_mse (R,); terms (R, 3), see `three_terms`; norm = |w|_F; alignment of w^T w with the direction (see
    `matrix_alignment`); prediction, target (R, 500): outputs on the test points and what they should be.
    """
    prediction = output(model, w, data.test_x)
    values = {
        "train_mse": (output(model, w, data.train_x) - data.train_y).square().mean(1).double(),
        "test_mse": (prediction - data.test_y).square().mean(1).double(),
        "terms": three_terms(model, w, data.direction),
        "norm": torch.linalg.vector_norm(w.double(), dim=(1, 2)),
        "alignment": matrix_alignment((w.mT @ w).double(), data.direction.double()),
        "prediction": prediction,
        "target": data.test_y,
    }
    return {name: value.numpy() for name, value in values.items()}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Gradient descent on R networks in float32; frames at step 0 and on a geometric grid of 80 steps.

    The step is lr = lr_relative P N/(alpha^2 lambda), so that lr_relative = 1 is the linear stability edge of the
    larger one of the two kernels. Values: see `measure`; kernel_floor (R,), at step 0 only: see there.
    """
    config, data, model = configs[0], draw_data(configs[0], seeds), make_model(configs, seeds)
    gradient, largest, shape = make_gradient(model, data), largest_eigenvalue(model, data), model.start.shape
    relative = per_run(configs, "lr_relative", torch.float64)
    lr = relative * config.n_train * config.width / (model.alpha.squeeze(1).double().square() * largest)  # (R,)

    def step(state: Sgd, _: None) -> Sgd:
        return sgd(state, gradient(state.theta.view(shape)).flatten(1), lr)

    def values(k: int, state: Sgd) -> dict[str, Array]:
        found = measure(model, data, state.theta.view(shape))
        return found if k else {**found, "kernel_floor": kernel_floor(model, data, largest).numpy()}

    start, record = Sgd(model.start.flatten(1)), geometrically(config.steps, FRAMES)
    return train(start, step, full_batch, record, values)


EXPERIMENT = Experiment(
    name="grokking.polynomial",
    title="Grokking without weight decay",
    question="Does a network that starts as a kernel machine leave its kernel and then generalise, without any decay?",
    paper="2310.06110",
    seconds=0.4,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    sweep_panels=sweep_panels,
    map=Map(
        title="Delay of the test loss",
        label="delay",
        x="alpha",
        y="nonlinearity",
        xs=(0.1, 0.3, 1.0, 3.0, 10.0),
        ys=(0.03, 0.1, 0.3, 1.0),
        simulate=simulate,
        value=delays,
    ),
)
