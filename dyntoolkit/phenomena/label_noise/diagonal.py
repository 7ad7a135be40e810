"""The diagonal model: does label noise make an over-parameterized model with a sparse truth generalise?

f(x) = x.beta with beta = u*u - v*v, elementwise. An extension of Two phases (arXiv 2603.10397) with a set-up of our
own: there the noise-free control finds the truth as well, here it does not.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment, Map
from dyntoolkit.phenomena.label_noise.diagonal_claims import CLAIMS, END, metrics
from dyntoolkit.phenomena.label_noise.diagonal_config import PRESETS, Config
from dyntoolkit.phenomena.label_noise.diagonal_figure import panels

Tensor = torch.Tensor
FRAMES = 31


class State(NamedTuple):
    """Trainable weights of R runs."""

    u: Tensor  # (R, d)
    v: Tensor  # (R, d)


class Batch(NamedTuple):
    """What one step of R runs sees: inputs, and labels with their noise."""

    x: Tensor  # (R, B, d)
    target: Tensor  # (R, B)


class Data(NamedTuple):
    """Training inputs and the truth."""

    X: Tensor  # (R, n, d)
    beta: Tensor  # (R, d)


def draw_data(config: Config, seeds: Sequence[int]) -> Data:
    """Standard normal inputs, and a truth of 1 in n_nonzero random coordinates, 0 elsewhere."""
    X = Stream(seeds, "data").normal(config.n_train, config.dim)
    chosen = Stream(seeds, "target").permutations(config.dim)[:, : config.n_nonzero]  # (R, n_nonzero)
    return Data(X, torch.zeros(len(seeds), config.dim).scatter_(1, chosen, 1.0))


def step(state: State, batch: Batch, lr: Tensor) -> State:
    """SGD on the mean of (x.beta - target)^2 / 2: the gradient of u is 2 u r x, that of v is -2 v r x. lr: (R, 1)."""
    u, v = state
    beta = (u * u - v * v).unsqueeze(2)  # (R, d, 1)
    residual = torch.baddbmm(batch.target.unsqueeze(2), batch.x, beta, beta=-1)  # (R, B, 1)
    slope = torch.bmm(residual.mT, batch.x).squeeze(1) * (2 * lr / residual.shape[1])  # (R, d)
    return State(torch.addcmul(u, u, slope, value=-1), torch.addcmul(v, v, slope))


def make_batches(configs: Sequence[Config], seeds: Sequence[int], data: Data) -> Callable[[int, int], Iterator[Batch]]:
    """The batches of updates k0..k1-1: samples drawn with replacement, and a fresh +-noise_std on each label."""
    n, B = configs[0].n_train, configs[0].batch_size
    clean, tau = (data.X @ data.beta.unsqueeze(2)).squeeze(2), per_run(configs, "noise_std", ndim=3)
    index, noise, runs = Stream(seeds, "batch"), Stream(seeds, "noise"), torch.arange(len(seeds))[:, None, None]

    def batches(k0: int, k1: int) -> Iterator[Batch]:
        rows = index.indices(n, k1 - k0, B)  # (R, steps, B)
        target = clean[runs, rows] + tau * noise.signs(k1 - k0, B)
        return map(Batch, data.X[runs, rows].unbind(1), target.unbind(1))

    return batches


def measure(state: State, data: Data, start: Tensor) -> dict[str, Array]:
    """What a frame shows of each run, float64.

    test = |beta - beta*|^2/2, the loss on all possible points; train: without noise, on the training points; l1 =
    |beta|_1; size = sum of u^2 + v^2; ntk = |K - K0|_F/|K0|_F with K = X diag(u^2 + v^2) X^T; cos between beta and
    beta*; each (R,). beta (R, d). start: u^2 + v^2 at step 0, (R, d).
    """
    u, v, X, truth = (tensor.double() for tensor in (*state, *data))
    beta, size = u * u - v * v, u * u + v * v  # (R, d)
    residual = (X @ (beta - truth).unsqueeze(2)).squeeze(2)  # (R, n)
    K, K0 = ((X * weights.unsqueeze(1)) @ X.mT for weights in (size, start.double()))  # (R, n, n)
    values = {
        "test": (beta - truth).square().sum(1) / 2,
        "train": residual.square().mean(1) / 2,
        "l1": beta.abs().sum(1),
        "size": size.sum(1),
        "ntk": torch.linalg.matrix_norm(K - K0) / torch.linalg.matrix_norm(K0),
        "cos": torch.cosine_similarity(beta, truth, dim=1),
        "beta": beta,
    }
    return {name: value.numpy() for name, value in values.items()}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """SGD in float32 from u = v = init_scale; frames at 31 evenly spaced steps with `measure`'s values.

    At step 0 also truth (R, d), the true coefficients.
    """
    config, data, lr = configs[0], draw_data(configs[0], seeds), per_run(configs, "lr", ndim=2)
    weights = per_run(configs, "init_scale", ndim=2).expand(-1, config.dim)  # (R, d)
    start = 2 * weights.square()

    def values(k: int, state: State) -> dict[str, Array]:
        found = measure(state, data, start)
        return found if k else {**found, "truth": data.beta.numpy()}

    return train(
        State(weights.clone(), weights.clone()),
        lambda state, batch: step(state, batch, lr),
        make_batches(configs, seeds, data),
        evenly(config.steps, FRAMES),
        values,
    )


def test_loss(history: History) -> Array:
    """|beta - beta*|^2/2, mean over the last three frames, (R,)."""
    return np.asarray(history["test"][-END:].mean(0))


EXPERIMENT = Experiment(
    name="label_noise.diagonal",
    title="Label noise finds a sparse truth",
    question="Does label noise make an over-parameterized model with a sparse truth generalise?",
    paper="2603.10397",
    seconds=0.4,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    map=Map(
        title="Loss on all possible points",
        label="loss",
        x="noise_std",
        y="init_scale",
        xs=(0.0, 0.5, 1.0, 1.5, 2.0, 2.5),
        ys=(0.03, 0.05, 0.1, 0.2, 0.3, 0.6),
        simulate=simulate,
        value=test_loss,
    ),
)
