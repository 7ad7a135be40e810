"""Does training turn a layer of linear attention into one step of gradient descent on the examples that it sees?

Mahankali, Hashimoto and Ma 2023 (arXiv 2307.03576): the best such layer is one step of gradient descent, preconditioned
where the inputs are not isotropic.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import geometrically, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, adam
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    at_least,
    at_most,
    between,
    choice,
    config,
    defaults,
    metric_where,
    number,
)
from dyntoolkit.figure.panels import BLUE, GREY, RED, TEST, Axis, Heat, Level, Line, Mark, Panel
from dyntoolkit.figure.recorded import log_steps, recorded_line
from dyntoolkit.phenomena.attention._theory import Step, variances
from dyntoolkit.probes.crossing_times import first_step

Tensor = torch.Tensor


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one layer of linear attention that learns to regress in context (arXiv 2307.03576)."""

    init_scale: float = number(
        0.02, 0.005, 1.0, label="initialization scale", help="size of the random start", log=True, main=True
    )
    noise_std: float = number(0.0, 0.0, 3.0, label="label noise σ", help="noise on the labels in the prompt", main=True)
    lr: float = number(
        0.01, 0.001, 0.3, label="learning rate η", help="Adam's learning rate, decays to 0", log=True, main=True
    )
    condition: float = number(
        1.0, 1.0, 100.0, label="condition", help="largest over smallest variance of the inputs", log=True, main=True
    )
    prior: str = choice("isotropic", ["isotropic", "whitened"], label="tasks", help="how tasks are drawn", main=True)
    n_context: int = number(20, 5, 80, label="examples n", help="in a prompt", log=True, structural=True)
    dim: int = number(5, 2, 12, label="inputs d", help="numbers in an input", structural=True)
    n_tasks: int = number(
        0, 0, 1024, label="tasks", help="different tasks in training; 0: always new ones", log=True, structural=True
    )
    start: str = choice("value", ["value", "random"], label="start", help="start of the value vector")
    batch_size: int = number(256, 32, 1024, label="batch size", help="prompts per step", log=True, structural=True)
    steps: int = number(600, 100, 2000, label="steps", help="updates", log=True, structural=True)

    @property
    def variances(self) -> Array:
        """lambda (d,) of the inputs."""
        return variances(self.dim, self.condition)

    @property
    def theory(self) -> Step:
        """The best step."""
        return Step.of(self.variances, self.n_context, self.noise_std, self.prior == "whitened")


PRESETS = {
    "one_step": Preset("Its weights become a step of gradient descent, of the size that theory gives."),
    "preconditioned": Preset("Five different steps: directions of small variance get longer ones.", {"condition": 10}),
    "whitened": Preset(
        "Tasks as strong in every direction: the step becomes Σ⁻¹.", {"condition": 10, "prior": "whitened"}
    ),
    "noisy": Preset("Noise on the labels: a shorter step.", {"noise_std": 1}),
    "one_task": Preset("Always the same task: it is memorized, and new ones are missed.", {"n_tasks": 1}),
    "large_start": Preset("From a large start the step is not found in 600 updates.", {"init_scale": 1}),
    "trap": Preset("A random value vector: for some seeds it stays in a trap.", {"condition": 10, "start": "random"}),
}


# ---- Data, model, step ----

TEST_PROMPTS = 2000
CHUNK = 250  # test prompts that are drawn at once
AT_ONCE = 2**22  # numbers of prompts that are drawn at once


class Prompts(NamedTuple):
    """All that the layer sees of prompts with tokens z = (x, y): leading axes (...), the run axis among them.

    moments: G = (1/n) sum_i z_i z_i^T (..., d + 1, d + 1). query: x_q (..., d). answer: w.x_q (...).
    """

    moments: Tensor
    query: Tensor
    answer: Tensor


class Source:
    """Prompts of R runs, drawn one after the other."""

    def __init__(self, configs: Sequence[Config], seeds: Sequence[int], name: str, n_tasks: int = 0) -> None:
        self.config = configs[0]
        self.inputs, self.noise, self.tasks = (Stream(seeds, f"{name} {of}") for of in ("inputs", "noise", "tasks"))
        self.std = torch.from_numpy(np.stack([c.variances for c in configs])).sqrt()[:, None]  # (R, 1, d)
        whitened = torch.tensor([c.prior == "whitened" for c in configs])[:, None, None]
        self.task_std = torch.where(whitened, 1 / self.std, 1.0)  # (R, 1, d)
        self.noise_std = per_run(configs, "noise_std", torch.float64, ndim=3)  # (R, 1, 1)
        self.n_tasks = n_tasks
        if n_tasks:
            self.known = Stream(seeds, f"{name} known").normal(n_tasks, self.config.dim, dtype=torch.float64)
            self.runs = torch.arange(len(seeds), dtype=torch.int64)[:, None]  # (R, 1)

    def draw(self, count: int) -> Prompts:
        """So many prompts of each run, (R, count, ...), float64."""
        n, d = self.config.n_context, self.config.dim
        if self.n_tasks:
            w = self.known[self.runs, self.tasks.indices(self.n_tasks, count)]  # (R, count, d)
        else:
            w = self.tasks.normal(count, d, dtype=torch.float64)
        w = w * self.task_std  # (R, count, d)
        x = self.inputs.normal(count, n + 1, d, dtype=torch.float64) * self.std[:, None]  # (R, count, n + 1, d)
        y = (x @ w[..., None]).squeeze(-1)  # (R, count, n + 1)
        noisy = y[..., :n] + self.noise_std * self.noise.normal(count, n, dtype=torch.float64)  # (R, count, n)
        z = torch.cat([x[..., :n, :], noisy[..., None]], -1)  # (R, count, n, d + 1)
        return Prompts(z.mT @ z / n, x[..., n, :], y[..., n])


def test_prompts(configs: Sequence[Config], seeds: Sequence[int]) -> Prompts:
    """2000 prompts of each run, always with new tasks."""
    source = Source(configs, seeds, "test")
    chunks = [source.draw(CHUNK) for _ in range(TEST_PROMPTS // CHUNK)]
    return Prompts(*(torch.cat(parts, 1) for parts in zip(*chunks, strict=True)))


def parts(theta: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """v (R, d + 1) and K (R, d + 1, d + 1) of the weights (R, P)."""
    return theta[:, : d + 1], theta[:, d + 1 :].view(-1, d + 1, d + 1)


def answers(theta: Tensor, prompts: Prompts) -> Tensor:
    """f = (1/n) sum_i (v.z_i)(z_i^T K z_q) with z_q = (x_q, 0): (R, B) for prompts (R, B, ...)."""
    d = prompts.query.shape[-1]
    v, K = parts(theta, d)
    key = prompts.query @ K[..., :d].mT  # K z_q, (R, B, d + 1)
    value = (prompts.moments @ v[:, None, :, None]).squeeze(-1)  # G v, (R, B, d + 1)
    return (value * key).sum(-1)


def loss(theta: Tensor, prompts: Prompts) -> Tensor:
    """1/2 mean (f - w.x_q)^2, (R,)."""
    return (answers(theta, prompts) - prompts.answer).square().mean(1) / 2


def initial(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """K ~ N(0, init_scale^2); v likewise, plus e_{d+1} where the start is `value`: (R, P)."""
    d, scale = configs[0].dim, per_run(configs, "init_scale", ndim=2)  # (R, 1)
    theta = Stream(seeds, "init").normal((d + 1) * (d + 2)) * scale  # (R, P)
    passed_on = torch.tensor([c.start == "value" for c in configs])  # (R,): the label, from the start on
    theta[:, d] += passed_on.to(theta.dtype)
    return theta


Begin = Callable[[Sequence[Config], Sequence[int]], Tensor]


def make_batches(configs: Sequence[Config], seeds: Sequence[int]) -> Callable[[int, int], Prompts]:
    """Fresh prompts for each update, (K, R, B, ...), float32."""
    config = configs[0]
    source = Source(configs, seeds, "training", config.n_tasks)

    def batches(k0: int, k1: int) -> Prompts:
        drawn = source.draw((k1 - k0) * config.batch_size)
        by_step = (len(seeds), k1 - k0, config.batch_size)
        return Prompts(*(part.view(*by_step, *part.shape[2:]).transpose(0, 1).float() for part in drawn))

    return batches


def make_step(configs: Sequence[Config]) -> Callable[[Adam, Prompts], Adam]:
    """Adam, its learning rate falling linearly to 0."""
    lr, steps = per_run(configs, "lr").double(), configs[0].steps
    gradient = value_and_grad(lambda theta, *prompts: loss(theta, Prompts(*prompts)))

    def step(state: Adam, batch: Prompts) -> Adam:
        _, g = gradient(state.theta, *batch)
        # lr_t = lr (1 - (t - 1)/steps)
        return adam(state, g, lr * (1 - state.updates / steps))

    return step


def simulate(configs: Sequence[Config], seeds: Sequence[int], begin: Begin = initial) -> Iterator[Frame]:
    """Train R layers from `begin` on; frames at step 0 and on a geometric grid, with the values of `Bench`."""
    config = configs[0]
    bench = Bench(configs, test_prompts(configs, seeds))
    numbers = len(seeds) * config.batch_size * (config.n_context + 1) * config.dim  # of a step
    return train(
        Adam.start(begin(configs, seeds)),
        make_step(configs),
        make_batches(configs, seeds),
        geometrically(config.steps, 60),
        bench.measure,
        block=min(max(AT_ONCE // numbers, 1), 250),
    )


# ---- What is measured, claims ----

SHOWN = 200  # test prompts in the figure


def bayes_answers(prompts: Prompts, configs: Sequence[Config]) -> Tensor:
    """x_q.w with the most probable w given the examples, (R, B): ridge regression, in units of the tasks' own spread.

    Without noise the shortest w that fits, which is the task itself if n >= d.
    """
    d, n = configs[0].dim, configs[0].n_context
    whitened = np.array([c.prior == "whitened" for c in configs])[:, None]
    scale = np.where(whitened, 1 / np.sqrt([c.variances for c in configs]), 1.0)[:, None]  # (R, 1, d)
    G = prompts.moments.numpy()  # (R, B, d + 1, d + 1)
    ridge = np.array([c.noise_std**2 / n for c in configs])[:, None, None, None] * np.eye(d)
    S = scale[..., None] * G[..., :d, :d] * scale[..., None, :] + ridge  # (R, B, d, d)
    w = np.linalg.pinv(S, rcond=1e-10, hermitian=True) @ (scale * G[..., :d, d])[..., None]  # (R, B, d, 1)
    return torch.from_numpy((w.squeeze(-1) * scale * prompts.query.numpy()).sum(-1))


def half_square(error: Tensor) -> Array:
    """1/2 mean of error^2 over the prompts, (R, B) -> (R,)."""
    return (error.square().mean(1) / 2).numpy()


class Bench:
    """The test prompts of R runs, and what theory answers to them."""

    def __init__(self, configs: Sequence[Config], prompts: Prompts) -> None:
        self.prompts = Prompts(*(part.float() for part in prompts))
        d, answer = configs[0].dim, prompts.answer  # (R, B)
        eta = torch.from_numpy(np.stack([c.theory.eta for c in configs]))[:, None]  # (R, 1, d)
        products = prompts.moments[..., :d, d] * prompts.query  # h_j x_qj, (R, B, d)
        self.theory = (eta * products).sum(-1)  # h^T diag(eta) x_q, (R, B)
        plain = products.sum(-1)
        c = (answer * plain).sum(1, keepdim=True) / plain.square().sum(1, keepdim=True)  # the best one, (R, 1)
        self.fixed = {
            "theory_loss": half_square(self.theory - answer),
            "plain_loss": half_square(c * plain - answer),
            "bayes_loss": half_square(bayes_answers(prompts, configs) - answer),
            "theory_answers": self.theory[:, :SHOWN].numpy(),
        }

    def measure(self, k: int, state: Adam) -> dict[str, Array]:
        """What a frame at step k shows.

        test_loss, cosine (of outputs and theory's): (R,). v: (R, d + 1). K: (R, d + 1, d + 1). answers: (R, 200). At
        step 0 also what stays: theory_loss, plain_loss, bayes_loss (R,), theory_answers (R, 200).
        """
        found = answers(state.theta, self.prompts).double()  # (R, B)
        cosine = torch.nn.functional.cosine_similarity(found, self.theory, dim=1)  # (R,)
        v, K = parts(state.theta, self.prompts.query.shape[-1])
        return {
            "test_loss": half_square(found - self.prompts.answer),
            "cosine": cosine.numpy(),
            "v": v.numpy(),
            "K": K.numpy(),
            "answers": found[:, :SHOWN].numpy(),
            **(self.fixed if k == 0 else {}),
        }


def learned(v: Array, K: Array) -> Array:
    """M = v_{d+1} K_{1..d, 1..d}, whose diagonal D holds the learned steps: (..., d, d)."""
    return np.asarray(v[..., -1, None, None] * K[..., :-1, :-1])


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names of each run, (R,).

    loss_ratio, plain_ratio: the last loss, and that of the best single step size, over that of theory's step on the
    same prompts. step_ratio, step_error, offdiagonal, value_x, spread: of the last weights. t_learn: the first frame
    whose loss is below 1.1 times theory's, NaN for never.
    """
    if "test_loss" not in history:
        nothing = np.full(len(history.seeds), np.nan)
        return dict.fromkeys(METRICS, nothing)
    eta = np.stack([c.theory.eta for c in history.configs])  # (R, d)
    v, K = (history.last(name).astype(np.float64) for name in ("v", "K"))
    M = learned(v, K)  # (R, d, d)
    D = np.diagonal(M, axis1=1, axis2=2)  # (R, d)
    theory = history.last("theory_loss")  # (R,)
    with np.errstate(all="ignore"):  # of a run that is about to diverge
        return {
            "test_loss": history.last("test_loss").astype(np.float64),
            "loss_ratio": history.last("test_loss") / theory,
            "cosine": history.last("cosine").astype(np.float64),
            "step_ratio": D.sum(1) / eta.sum(1),
            "step_error": (np.abs(D - eta) / eta).max(1),
            "offdiagonal": np.sqrt(np.maximum(1 - (D**2).sum(1) / (M**2).sum((1, 2)), 0)),
            "value_x": np.linalg.norm(v[:, :-1], axis=1) / np.linalg.norm(v, axis=1),
            "spread": D.max(1) / D.min(1),
            "plain_ratio": history.last("plain_loss") / theory,
            "t_learn": first_step(history.at("test_loss"), history["test_loss"] < 1.1 * theory),
        }


METRICS = (
    "test_loss",
    "loss_ratio",
    "cosine",
    "step_ratio",
    "step_error",
    "offdiagonal",
    "value_x",
    "spread",
    "plain_ratio",
    "t_learn",
)


ONE_TASK = Control("always the same task", {"n_tasks": 1})
LARGE_START = Control("start of size 1", {"init_scale": 1.0})

CLAIMS = (
    Claim(
        id="one_step",
        statement="On new tasks it reaches the loss of one step of gradient descent.",
        metric="loss_ratio",
        bound=at_most(1.03),
        where=defaults(noise_std=between(0, 3)),
        controls=(ONE_TASK, LARGE_START),
    ),
    Claim(
        id="same_answers",
        statement="Its answers are those of the step.",
        metric="cosine",
        bound=at_least(0.995),
        where=defaults(),
        controls=(ONE_TASK, LARGE_START),
    ),
    Claim(
        id="step_size",
        statement="The size of the step is that of theory, with noise as well.",
        metric="step_ratio",
        bound=between(0.97, 1.03),
        where=defaults(noise_std=between(0, 3)),
        controls=(ONE_TASK,),
    ),
    Claim(
        id="only_the_step",
        statement="All other weights go to 0: off the diagonal, and what v takes of the inputs (at most 0.08).",
        metric="offdiagonal",
        value=metric_where("offdiagonal", "value_x", most=0.08),
        bound=at_most(0.06),
        where=defaults(),
        controls=(
            Control("always the same task: off the diagonal", {"n_tasks": 1}, metric="offdiagonal"),
            Control("always the same task: v of the inputs", {"n_tasks": 1}, at_least(0.08), metric="value_x"),
        ),
    ),
    Claim(
        id="preconditioned",
        statement="Inputs of different variance: every direction gets the step of theory, and the loss is its loss.",
        metric="step_error",
        value=metric_where("step_error", "loss_ratio", most=1.03),
        bound=at_most(0.08),
        where=defaults(condition=10),
        preset="preconditioned",
        controls=(Control("one step size for all directions: loss", bound=at_least(1.2), metric="plain_ratio"),),
    ),
    Claim(
        id="inverse_covariance",
        statement="If tasks are as strong in every direction, the step is Σ⁻¹: the longest is 10 times the shortest.",
        metric="spread",
        bound=between(9, 11),
        where=defaults(condition=10, prior="whitened"),
        preset="whitened",
        controls=(
            Control("isotropic tasks", {"prior": "isotropic"}),
            Control("isotropic inputs", {"condition": 1.0}),
        ),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Loss on test prompts, the learned steps, all weights, and answers against theory's; all but the loss of run 1."""
    return [_loss(history), _steps(history), _weights(history), _scatter(history)]


def _loss(history: History) -> Panel:
    """The loss, dashed that of theory's step and, where it is not 0, of the best answer of all."""
    config: Config = history.config
    levels = {"one step": "theory_loss"}
    if config.noise_std > 0 or config.n_context < config.dim:
        levels["best answer (Bayes)"] = "bayes_loss"
    marks: list[Mark] = [recorded_line(history, "test_loss", "test prompts", TEST, start=1)]
    for label, name in levels.items():
        marks.append(Level(label, y=float(np.median(history.last(name))) if name in history else np.nan))
    return Panel("Loss on new tasks", log_steps(history), Axis("½(f − w·x)²", log=True), marks)


def _steps(history: History) -> Panel:
    """D_j as dots on the stems eta_j."""
    eta = history.config.theory.eta  # (d,)
    places = np.arange(1, len(eta) + 1)
    M = learned(history.last("v")[0], history.last("K")[0]) if "K" in history else np.full((len(eta),) * 2, np.nan)
    stems = np.stack([np.zeros_like(eta), eta, np.full_like(eta, np.nan)], 1).ravel()
    return Panel(
        "Step in each direction",
        Axis("input j", range=(0.5, len(eta) + 0.5)),
        Axis("step"),
        [
            Line("theory η", np.repeat(places, 3), stems, GREY, dash=True, width=3),
            Line("theory η: ends", places, eta, GREY, markers="points", legend=False),
            Line("learned D", places, np.diagonal(M), BLUE, markers="points"),
        ],
    )


def _weights(history: History) -> Panel:
    """K, and v as a last column."""
    d = history.config.dim
    z = np.full((d + 1, d + 2), np.nan)
    if "K" in history:
        z = np.concatenate([history.last("K")[0], history.last("v")[0][:, None]], 1)
    names = [*(f"x{j}" for j in range(1, d + 1)), "y"]
    most = float(np.nanmax(np.abs(z), initial=0.01))
    heat = Heat("weight", [*names, "v"], names, z, low=-most, high=most, colors="RdBu")
    return Panel("K, and v at its right", Axis("query token"), Axis("example token"), [heat])


def _scatter(history: History) -> Panel:
    """What the layer answers against what the step answers, on 200 test prompts."""
    x = history.last("theory_answers")[0] if "theory_answers" in history else np.empty(0)
    y = history.last("answers")[0] if "answers" in history else np.empty(0)
    ends = np.array([x.min(), x.max()]) if len(x) else np.empty(0)
    return Panel(
        "Answers",
        Axis("answer of the step"),
        Axis("answer of the layer"),
        [Line("test prompts", x, y, RED, markers="points"), Line("equal", ends, ends, GREY, dash=True)],
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="attention.one_step",
    title="Attention as a step of descent",
    question="Does training turn a layer of linear attention into one step of gradient descent on its examples?",
    paper="2307.03576",
    seconds=0.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    predictions={
        "test_loss": lambda config: config.theory.loss,
        "loss_ratio": lambda config: 1.0,
        "step_ratio": lambda config: 1.0,
        "spread": lambda config: float(config.theory.eta.max() / config.theory.eta.min()),
        "plain_ratio": lambda config: config.theory.plain_loss / config.theory.loss,
    },
)
