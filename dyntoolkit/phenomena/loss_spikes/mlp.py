"""Adam on a small regression: does it spike when, and only when, the curvature along the gradient passes 2/lr?

Bai et al. 2025, "Adaptive preconditioners trigger loss spikes in Adam" (arXiv 2506.04805). While the gradient is small,
v forgets at the rate beta2 per step and the steps grow, until the loss rises along the gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from dyntoolkit.engine import update
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, AmsGrad
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Map,
    Metrics,
    Preset,
    Sweep,
    above,
    at_least,
    at_most,
    below,
    between,
    config,
    defaults,
    number,
    switch,
)
from dyntoolkit.figure.panels import BLUE, GREEN, ORANGE, PURPLE, SKY, Axis, Level, Panel, Spans, median_line, positive
from dyntoolkit.phenomena._sines import Data, draw_data, initial_theta, loss, loss_and_gradient, loss_gradient_hessian
from dyntoolkit.phenomena.loss_spikes import _spikes as spikes
from dyntoolkit.phenomena.loss_spikes._panels import (
    STEP,
    Found,
    gradient_and_memory,
    marked_loss,
    minimum_against_alarm,
)
from dyntoolkit.phenomena.loss_spikes._spikes import SKIP, TEN, THREE
from dyntoolkit.phenomena.loss_spikes._theory import forgetting
from dyntoolkit.phenomena.loss_spikes._trace import trace, traced
from dyntoolkit.probes.gradient_curvature import gradient_curvature
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor, preconditioned_sharpness
from dyntoolkit.probes.sharpness import sharpness

Tensor = torch.Tensor
State = Adam | AmsGrad
Rule = Callable[..., Adam]  # state, gradient (R, P), lr, beta1, beta2, eps (R,) each -> state


# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one full-batch Adam run on the small regression (Bai et al. 2025, arXiv 2506.04805)."""

    lr: float = number(0.03, 0.001, 0.1, label="learning rate η", help="step size of Adam", log=True, main=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="memory of the gradient")
    beta2: float = number(
        0.999, 0.5, 0.9999, label="β₂", help="memory of the squared gradient", near_one=True, main=True
    )
    eps: float = number(1e-8, 1e-8, 0.1, label="ε", help="added to √v in the denominator", log=True, main=True)
    steps: int = number(5000, 500, 20000, label="steps", help="updates", log=True, structural=True)
    width: int = number(20, 5, 60, label="width", help="hidden units", structural=True)
    n_train: int = number(50, 20, 200, label="training points n", help="points of the regression", structural=True)
    init_scale: float = number(
        1.0,
        0.1,
        4.0,
        label="initialization scale",
        help="s of w, b ~ N(0, s²), a ~ N(0, s²/width)",
        log=True,
        main=True,
    )
    noise_std: float = number(0.0, 0.0, 1.0, label="label noise σ", help="of the labels, drawn once", main=True)
    grad_noise_std: float = number(
        0.0, 0.0, 0.03, label="gradient noise", help="noise on each coordinate of the gradient, fresh at each step"
    )
    grad_clip: float = number(0.0, 0.0, 10.0, label="gradient clipping", help="limit of the gradient norm; 0: none")
    amsgrad: bool = switch(False, label="AMSGrad", help="the running maximum of v in place of v")


PRESETS = {
    "spikes": Preset("Long memory of the squared gradients: alarms, and after each of them a spike."),
    "beta2_0.9": Preset("Short memory: small bumps at most, and never an alarm.", {"beta2": 0.9}),
    "eps_0.1": Preset("A large ε keeps the steps from growing: no spikes.", {"eps": 0.1}),
    "amsgrad": Preset("The denominator may not shrink: no spikes.", {"amsgrad": True}),
    "lr_0.003": Preset("A tenth of the learning rate: smooth, but slower.", {"lr": 0.003}),
    "noise_0.2": Preset("Noisy labels: the gradient never gets small, and nothing spikes.", {"noise_std": 0.2}),
    "beta2_0.9999": Preset("An even longer memory: few spikes, but tall ones.", {"beta2": 0.9999}),
}


# ---- Data, model, step ----

# The data, sin x + sin 4x at evenly spaced points, the network, its gradient and Hessian: `phenomena._sines`


def initial_state(configs: Sequence[Config], seeds: Sequence[int]) -> State:
    """Random weights, and moments from zero."""
    rule = AmsGrad if configs[0].amsgrad else Adam
    return rule.start(initial_theta(configs, seeds))


def make_step(
    configs: Sequence[Config], data: Data, rule: Rule = update.adam
) -> Callable[[State, Tensor | None], State]:
    """One step of Adam on the full batch: gradient, noise on it, clipping, moments, weights. noise: (R, P)."""
    lr, beta1, beta2, eps = (per_run(configs, name, torch.float64) for name in ("lr", "beta1", "beta2", "eps"))
    limit = per_run(configs, "grad_clip", torch.float64)
    clips = bool(limit.any())

    def step(state: State, noise: Tensor | None) -> State:
        _, gradient = loss_and_gradient(state.theta, data)  # (R, P)
        gradient = gradient if noise is None else gradient + noise
        # g <- g min(1, grad_clip/|g|)
        gradient = update.clip(gradient, limit) if clips else gradient
        if isinstance(state, AmsGrad):
            return update.amsgrad(state, gradient, lr, beta1, beta2, eps)
        return rule(state, gradient, lr, beta1, beta2, eps)

    return step


def make_batches(
    configs: Sequence[Config], seeds: Sequence[int], parameters: int, name: str = "gradient noise"
) -> Callable[[int, int], Tensor | None]:
    """The noise on the gradients of updates k0..k1-1, (k1 - k0, R, P), from the stream `name`; None for no noise."""
    std, stream = per_run(configs, "grad_noise_std", torch.float64), Stream(seeds, name)
    if not std.any():
        return full_batch

    def batches(k0: int, k1: int) -> Tensor:
        return (std[:, None, None] * stream.normal(k1 - k0, parameters, dtype=torch.float64)).transpose(0, 1)

    return batches


def simulate(configs: Sequence[Config], seeds: Sequence[int], rule: Rule = update.adam) -> Iterator[Frame]:
    """Train R networks; a frame every 50 steps with the values at each of these steps, (R, 50) float64 (see `trace`).

    Names as in `curvatures`. The probes only read: `simulate_untraced` trains the same networks bit by bit. rule: to be
    tried in the place of Adam.
    """
    data = draw_data(configs, seeds)
    return _train(configs, seeds, data, make_step(configs, data, rule), partial(curvatures, configs, data))


def simulate_untraced(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """The same training, but only the loss is measured."""
    data = draw_data(configs, seeds)
    return _train(configs, seeds, data, make_step(configs, data), partial(losses_only, data))


def _train(
    configs: Sequence[Config],
    seeds: Sequence[int],
    data: Data,
    step: Callable[[State, Tensor | None], State],
    probe: Callable[[State, State, int], dict[str, Tensor]],
) -> Iterator[Frame]:
    """The loss at index i belongs to the weights before update i + 1, whose v holds the gradient of that very step."""
    state = initial_state(configs, seeds)
    return traced(state, step, make_batches(configs, seeds, state.theta.shape[1]), configs[0].steps, probe)


# ---- What is measured, claims ----


def corrected(state: State, beta2: Tensor) -> Tensor:
    """v as the denominator of the newest step used it, corrected for its bias, (..., R, P)."""
    if isinstance(state, AmsGrad):
        return state.peak
    # v_hat = v_n/(1 - beta2^n)
    return state.square / (1 - beta2**state.updates).unsqueeze(-1)


def losses_only(data: Data, before: State, after: State, first: int) -> dict[str, Tensor]:
    """The loss at every step, (T, R)."""
    return {"loss": loss(before.theta, data)}


def curvatures(configs: Sequence[Config], data: Data, before: State, after: State, first: int) -> dict[str, Tensor]:
    """Loss, gradient norm, mean sqrt(v) and the three curvatures at every step, each (T, R).

    sharpness: lambda_max(H). preconditioned: mu lambda_max(D^1/2 H D^1/2). along_gradient: mu g^T D H g / g^T g, with
    D = 1/(sqrt(v) + eps) and the factor mu of the momentum. The stability limit of all three is 2/lr.
    """
    beta1, beta2, eps = (per_run(configs, name, torch.float64) for name in ("beta1", "beta2", "eps"))
    v = corrected(after, beta2)  # (T, R, P)
    losses, g, H = loss_gradient_hessian(before.theta, data)  # (T, R), (T, R, P), (T, R, P, P)
    # D_i = diag(1/(sqrt(v_hat_n) + eps)), which already contains g_i
    D = 1 / (v.sqrt() + eps.unsqueeze(1))  # (T, R, P)
    # mu_i = (1 - beta1)/((1 + beta1)(1 - beta1^n)), n = i + 1
    updates = torch.arange(first + 1, first + 1 + len(v), dtype=torch.float64).unsqueeze(1)  # (T, 1)
    mu = momentum_factor(beta1, updates)  # (T, R)
    return {
        "loss": losses,
        "gradient_norm": torch.linalg.vector_norm(g, dim=-1),
        "root_v": v.sqrt().mean(-1),
        "sharpness": sharpness(H),
        "preconditioned": mu * preconditioned_sharpness(H, D),
        # lambda_grad_i = mu_i g^T D H g / g^T g
        "along_gradient": mu * gradient_curvature(lambda u: (u.unsqueeze(-2) @ H).squeeze(-2), g, D),
    }


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names for a run, name -> (R,); NaN where there is nothing to measure, as without spikes.

    spikes, spikes3: number of 10x and 3x spikes; height: decades of the largest excess. alarms: number of alarm groups.
    recall, recall3, chance: shares of 10x spikes, 3x spikes and arbitrary moments after an alarm. precision,
    precision3: shares of alarm groups before such a spike. onset_lead, peak_lead: median steps from the first alarm to
    the minimum before a spike and to its peak; onset_lead_eigenvalue: the same with lambda_max of the preconditioned
    Hessian as alarm. rise, rise_below: shares of steps after which the loss is higher five steps later, above 2/lr and
    below. sharpness_max, along_gradient_max: the largest curvature times lr/2.
    """
    names = ("loss", "sharpness", "preconditioned", "along_gradient")
    traces = [trace(history, name) for name in names]  # each (N, R)
    rows = [_one_run(*(values[:, r] for values in traces), lr=config.lr) for r, config in enumerate(history.configs)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _one_run(loss: Array, sharp: Array, preconditioned: Array, along: Array, *, lr: float) -> dict[str, float]:
    tall = spikes.find_spikes(loss, TEN)
    low = spikes.find_spikes(loss, THREE)
    above_usual = spikes.excess(loss)
    state = spikes.alarm_state(along, lr)
    groups = spikes.alarm_groups(state)
    groups_eigenvalue = spikes.alarm_groups(spikes.alarm_state(preconditioned, lr))
    leads = spikes.leads(tall, groups)
    rise, rise_below = spikes.rises(loss, along, lr)
    return {
        "spikes": len(tall),
        "spikes3": len(low),
        "height": float(above_usual[SKIP:].max()) if len(above_usual) > SKIP else np.nan,
        "alarms": len(groups),
        "recall": spikes.recall(tall, state),
        "recall3": spikes.recall(low, state),
        "chance": spikes.chance(state),
        "precision": spikes.precision(groups, above_usual, TEN),
        "precision3": spikes.precision(groups, above_usual, THREE),
        "onset_lead": _median(leads[:, 1]),
        "peak_lead": _median(leads[:, 0]),
        "onset_lead_eigenvalue": _median(spikes.leads(tall, groups_eigenvalue)[:, 1]),
        "rise": rise,
        "rise_below": rise_below,
        "sharpness_max": float(sharp.max() * lr / 2),
        "along_gradient_max": float(np.nanmax(along) * lr / 2),
    }


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else np.nan


def spike_count(history: History) -> Array:
    """Number of 10x spikes of each run so far, (R,)."""
    losses = trace(history, "loss")  # (N, R)
    return np.array([len(spikes.find_spikes(losses[:, r])) for r in range(losses.shape[1])], dtype=np.float64)


# where the recipe saw at least five spikes in every run
SPIKY = defaults(
    lr=between(0.03, 0.05),
    eps=at_most(1e-3),
    steps=at_least(5000),
    width=between(15, 40),
    n_train=at_least(50),
    init_scale=between(0.5, 1.5),
)

SHORT_MEMORY = {"beta2": 0.9}
MITIGATIONS = ({"eps": 0.1}, {"amsgrad": True}, {"lr": 0.003}, {"beta1": 0.99})
UNTOUCHED = {"eps": 1e-8, "amsgrad": False, "lr": 0.03, "beta1": 0.9}


def _most_spikes(runs: Sequence[Metrics]) -> Array:
    """The largest number of spikes among the runs of a sweep, per seed."""
    return np.asarray(np.max([run["spikes"] for run in runs], axis=0))


CLAIMS = (
    Claim(
        id="spikes",
        statement="Adam spikes at β₂ = 0.999: at least 5 times the loss rises tenfold.",
        metric="spikes",
        bound=at_least(5),
        where=SPIKY,
        controls=(Control("β₂ = 0.9", SHORT_MEMORY, at_most(0)),),
    ),
    Claim(
        id="alarm_recall",
        statement="An alarm, curvature along the gradient above 2/η for three steps, precedes at least 9 of 10 spikes.",
        metric="recall",
        bound=at_least(0.9),
        where=SPIKY,
        controls=(
            Control("arbitrary moments", {}, below(0.9), metric="chance"),
            Control("β₂ = 0.9 gives no alarm", SHORT_MEMORY, at_most(0), metric="alarms"),
        ),
    ),
    Claim(
        id="alarm_at_minimum",
        statement="The alarm comes when the loss is at its minimum: at most 3 steps apart, in the median.",
        metric="onset_lead",
        bound=between(-3, 3),
        where=SPIKY,
        controls=(Control("λmax of the preconditioned Hessian as alarm", metric="onset_lead_eigenvalue"),),
    ),
    Claim(
        id="alarm_means_rise",
        statement="After more than eight in ten steps above 2/η the loss is higher five steps later.",
        metric="rise",
        bound=above(0.8),
        where=SPIKY,
        controls=(Control("below 2/η", {}, below(0.35), metric="rise_below"),),
    ),
    Claim(
        id="not_plain_sharpness",
        statement="It is not the plain sharpness: λmax(H)·η/2 stays below 1.",
        metric="sharpness_max",
        bound=below(1.0),
        where=SPIKY,
        controls=(Control("curvature along the gradient", metric="along_gradient_max"),),
    ),
    Claim(
        id="mitigation",
        statement="ε = 0.1, AMSGrad, η = 0.003 and β₁ = 0.99 each prevent every tenfold spike.",
        metric="spikes",
        bound=at_most(0),
        where=SPIKY,
        controls=(Control("untouched", UNTOUCHED),),
        sweep=Sweep(MITIGATIONS, _most_spikes),
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Loss with spikes and alarms; gradient and sqrt(v) with its decay; three curvatures; minimum against alarm.

    Spikes, alarms, decay and stages are marked for the first run; the last panel counts the spikes of all of them.
    """
    losses, along, root = (trace(history, name) for name in ("loss", "along_gradient", "root_v"))
    found = [
        (spikes.find_spikes(loss), spikes.alarm_groups(spikes.alarm_state(curvature, config.lr)))
        for loss, curvature, config in zip(losses.T, along.T, history.configs, strict=True)
    ]
    decay = forgetting(root[:, 0], history.config.beta2)
    return [
        marked_loss(losses, found[0], "10x spike"),
        gradient_and_memory(trace(history, "gradient_norm"), root, decay, "decay by β₂ from each peak"),
        _curvature(history, _shades(losses[:, 0], root[:, 0], found[0])),
        minimum_against_alarm(found, "spikes", "10x spikes"),
    ]


def _curvature(history: History, shades: list[Spans]) -> Panel:
    """The three curvatures in units of their limit, with the stages of each spike."""
    half = np.array([config.lr for config in history.configs]) / 2  # (R,)
    sharp, preconditioned, along = (
        trace(history, name) * half for name in ("sharpness", "preconditioned", "along_gradient")
    )
    steps = np.arange(len(along))
    return Panel(
        "Curvature × η/2",
        STEP,
        Axis("λ η / 2", log=True, range=(1e-3, 10)),
        [
            median_line("λ<sub>max</sub>(H)", steps, sharp, GREEN, width=1.2),
            median_line("λ<sub>max</sub>, preconditioned", steps, preconditioned, ORANGE, width=1.2),
            median_line("along the gradient", steps, positive(along), BLUE, width=1.2),
            Level("stability limit", y=1.0),
            *shades,
        ],
    )


def _shades(loss: Array, root: Array, found: Found) -> list[Spans]:
    """The stages around each spike of one run."""
    stages = spikes.stages(loss, root, *found)
    looks = {"onset": ("onset", ORANGE), "growth": ("v grows", PURPLE), "recovery": ("recovery", SKY)}
    return [Spans(label, stages[name][:, 0], stages[name][:, 1], color) for name, (label, color) in looks.items()]


# ---- The record ----

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
