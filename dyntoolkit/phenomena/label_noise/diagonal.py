"""The diagonal model: does label noise make an over-parameterized model with a sparse truth generalize?

f(x) = x.beta with beta = u*u - v*v, elementwise. An extension of Two phases (arXiv 2603.10397) with a set-up of our
own: there the noise-free control finds the truth as well, here it does not.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Map,
    Preset,
    at_least,
    at_most,
    below,
    between,
    config,
    defaults,
    number,
)
from dyntoolkit.figure.panels import (
    ALIGNMENT,
    BASELINE,
    GREY,
    KERNEL,
    LAYER1,
    MEASURED,
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Panel,
)
from dyntoolkit.figure.recorded import recorded_line

Tensor = torch.Tensor

# ---- Settings and presets ----

WARN = 1.3  # of `Config.instability`; the first diverging runs were seen between 3 and 4


class Config(config.Config):
    """Settings of one run of the diagonal model on a sparse truth."""

    noise_std: float = number(2.0, 0.0, 2.5, label="label noise ±τ", help="sign noise, fresh in every step", main=True)
    init_scale: float = number(
        0.3, 0.02, 1.0, label="initialization scale", help="of u and v, all alike", log=True, main=True
    )
    lr: float = number(0.005, 0.001, 0.01, label="learning rate η", help="step size of SGD", log=True, main=True)
    n_nonzero: int = number(5, 1, 20, label="non-zero coordinates", help="of the truth", main=True, structural=True)
    n_train: int = number(40, 20, 100, label="training samples n", help="samples", main=True, structural=True)
    dim: int = number(100, 40, 300, label="coordinates d", help="inputs", log=True, structural=True)
    batch_size: int = number(1, 1, 40, label="batch size B", help="samples per step", log=True, structural=True)
    steps: int = number(15000, 1000, 60000, label="steps", help="updates", log=True, structural=True)

    def warnings(self) -> list[str]:
        """What misleads: close to the edge of stability SGD shrinks the weights by itself."""
        if self.instability < WARN:
            return []
        return [
            f"8·lr·init_scale²·(1 + (dim + 1)/batch_size) = {self.instability:.2f}: from about 2 on SGD is unstable "
            "and shrinks the weights even without noise, or diverges. Lower lr or init_scale, or raise batch_size."
        ]

    @property
    def instability(self) -> float:
        """8 lr init_scale^2 (1 + (d+1)/B): at 2, with the weights of the start, beta loses mean-square stability."""
        return 8 * self.lr * self.init_scale**2 * (1 + (self.dim + 1) / self.batch_size)

    @property
    def start_size(self) -> float:
        """Sum of u^2 + v^2 at the start."""
        return 2 * self.dim * self.init_scale**2


PRESETS = {
    "noise": Preset("Fresh label noise finds the five coordinates among a hundred from forty samples."),
    "control": Preset("Without noise: fitted just as well, and wrong elsewhere.", {"noise_std": 0.0}),
    "rich": Preset("A small start is sparse by itself.", {"init_scale": 0.05, "noise_std": 1.0}),
}


# ---- Data, model, step ----

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
    return Data(X, torch.zeros(len(seeds), config.dim, dtype=torch.float32).scatter_(1, chosen, 1.0))


def step(state: State, batch: Batch, lr: Tensor) -> State:
    """SGD on the mean of (x.beta - target)^2 / 2: the gradient of u is 2 u r x, that of v is -2 v r x. lr: (R, 1)."""
    u, v = state  # (R, d) each
    beta = (u * u - v * v).unsqueeze(2)  # (R, d, 1)
    residual = torch.baddbmm(batch.target.unsqueeze(2), batch.x, beta, beta=-1)  # (R, B, 1)  r = x.beta - target
    # lr 2 r x, in the mean over the batch
    slope = torch.bmm(residual.mT, batch.x).squeeze(1) * (2 * lr / residual.shape[1])  # (R, d)
    return State(torch.addcmul(u, u, slope, value=-1), torch.addcmul(v, v, slope))


def make_batches(configs: Sequence[Config], seeds: Sequence[int], data: Data) -> Callable[[int, int], Batch]:
    """The batches of updates k0..k1-1: samples drawn with replacement, and a fresh +-noise_std on each label."""
    n, B = configs[0].n_train, configs[0].batch_size
    clean = (data.X @ data.beta.unsqueeze(2)).squeeze(2)  # (R, n)  y = X beta*
    tau = per_run(configs, "noise_std", ndim=3)  # (R, 1, 1)
    index, noise = Stream(seeds, "batch"), Stream(seeds, "noise")
    runs = torch.arange(len(seeds), dtype=torch.int64)[:, None, None]  # (R, 1, 1)

    def batches(k0: int, k1: int) -> Batch:
        rows = index.indices(n, k1 - k0, B)  # (R, steps, B)
        target = clean[runs, rows] + tau * noise.signs(k1 - k0, B)
        return Batch(data.X[runs, rows].transpose(0, 1), target.transpose(0, 1))

    return batches


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """SGD in float32 from u = v = init_scale; frames at 31 evenly spaced steps with `measure`'s values.

    At step 0 also truth (R, d), the true coefficients.
    """
    config = configs[0]
    data = draw_data(config, seeds)
    lr = per_run(configs, "lr", ndim=2)  # (R, 1)
    weights = per_run(configs, "init_scale", ndim=2).expand(-1, config.dim)  # (R, d)
    start = 2 * weights.square()  # (R, d)  u^2 + v^2

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


# ---- What is measured, claims ----

END = 3  # frames whose mean is "the end"


def measure(state: State, data: Data, start: Tensor) -> dict[str, Array]:
    """What a frame shows of each run, float64.

    test = |beta - beta*|^2/2, the loss on all possible points; train: without noise, on the training points; l1 =
    |beta|_1; size = sum of u^2 + v^2; ntk = |K - K0|_F/|K0|_F with K = X diag(u^2 + v^2) X^T; cos between beta and
    beta*; each (R,). beta (R, d). start: u^2 + v^2 at step 0, (R, d).
    """
    u, v, X, truth = (tensor.double() for tensor in (*state, *data))
    beta = u * u - v * v  # (R, d)
    size = u * u + v * v  # (R, d)
    residual = (X @ (beta - truth).unsqueeze(2)).squeeze(2)  # (R, n)
    # K = X diag(u^2 + v^2) X^T
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


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, means over the last three frames, name -> (R,).

    test_end, train_end: losses without noise. l1_end = |beta|_1; sparsity = l1_end/n_nonzero. w_ratio: sum of
    u^2 + v^2 over its start. ntk_end: change of the tangent kernel. cos_end: cosine between beta and the truth.
    """
    end = {name: history[name][-END:].mean(0) for name in ("test", "train", "l1", "size", "ntk", "cos")}
    nonzero = np.array([config.n_nonzero for config in history.configs])
    return {
        "test_end": end["test"],
        "train_end": end["train"],
        "l1_end": end["l1"],
        "sparsity": end["l1"] / nonzero,
        "w_ratio": end["size"] / history["size"][0],
        "ntk_end": end["ntk"],
        "cos_end": end["cos"],
    }


def test_loss(history: History) -> Array:
    """|beta - beta*|^2/2, mean over the last three frames, (R,)."""
    return np.asarray(history["test"][-END:].mean(0))


WITH_NOISE = {"n_nonzero": at_most(5), "n_train": at_least(40), "noise_std": at_least(1.5), "steps": at_least(15000)}
NOISY = defaults(init_scale=between(0.2, 0.6), **WITH_NOISE)
CONTROL = (Control("no noise", {"noise_std": 0.0}),)


def end_l1(c: Config) -> float:
    """|beta*|_1: noise makes sum(u^2 + v^2) small, which at a given beta is |beta|_1 at least; NaN without noise."""
    return float(c.n_nonzero) if NOISY(c) else math.nan


CLAIMS = (
    Claim(
        id="generalizes",
        statement="With label noise it generalizes: the loss on all possible points is below 0.5 in the end.",
        metric="test_end",
        bound=below(0.5),
        where=NOISY,
        controls=CONTROL,
    ),
    Claim(
        id="weights_shrink",
        statement="The weights have shrunk: the sum of u² + v² is below 0.4 of its start.",
        metric="w_ratio",
        bound=below(0.4),
        where=defaults(init_scale=between(0.3, 0.6), **WITH_NOISE),
        controls=CONTROL,
    ),
    Claim(
        id="sparse",
        statement="‖β‖₁ is near that of the truth, below 1.4 of it.",
        metric="sparsity",
        bound=below(1.4),
        where=NOISY,
        controls=CONTROL,
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Losses; the coefficients, sorted; |beta|_1 and the size of the weights; kernel change and cosine."""
    config = history.config
    step = Axis("step", range=(0, config.steps))
    return [
        Panel(
            "Loss without the noise",
            step,
            Axis("half the mean squared error", log=True),
            [
                recorded_line(history, "train", "training points", TRAIN),
                recorded_line(history, "test", "all possible points", TEST),
            ],
        ),
        _coefficients(history),
        Panel(
            "What the noise minimizes",
            step,
            Axis("sum over coordinates"),
            [
                recorded_line(history, "size", "Σ u² + v²", LAYER1),
                recorded_line(history, "l1", "‖β‖₁", BASELINE),
                Level("‖β*‖₁", y=float(config.n_nonzero)),
            ],
        ),
        Panel(
            "Kernel change and direction",
            step,
            Axis("‖ΔK‖/‖K₀‖, cosine"),
            [
                recorded_line(history, "ntk", "change of the tangent kernel", KERNEL),
                recorded_line(history, "cos", "cos(β, β*)", ALIGNMENT),
            ],
        ),
    ]


def _coefficients(history: History) -> Panel:
    """beta of the first run in the order of the truth, then of its size."""
    config = history.config
    beta, truth = np.empty(0), np.empty(0)
    if "truth" in history:
        beta, truth = history.last("beta")[0], history["truth"][0, 0]
    order: Array = np.lexsort((-beta, -truth))
    border = config.n_nonzero + 0.5
    return Panel(
        "Coefficients now",
        Axis("coordinate, the true ones first", log=True),
        Axis("β"),
        [
            Line("model", np.arange(1.0, len(beta) + 1), beta[order], MEASURED, markers="points"),
            Line("truth", np.array([0.9, border, border, config.dim]), np.array([1.0, 1.0, 0.0, 0.0]), GREY, dash=True),
        ],
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="label_noise.diagonal",
    title="Label noise finds a sparse truth",
    question="Does label noise make an over-parameterized model with a sparse truth generalize?",
    paper="2603.10397",
    seconds=0.4,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    predictions={"l1_end": end_l1, "w_ratio": lambda c: end_l1(c) / c.start_size},
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
