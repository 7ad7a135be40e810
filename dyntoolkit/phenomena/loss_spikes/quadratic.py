"""Adam's loss spikes in one dimension, L = h theta^2 / 2: can the time of the next spike be computed in advance?

The mechanism of Bai et al. 2025, "Adaptive preconditioners trigger loss spikes in Adam" (arXiv 2506.04805): once g^2 is
small, v only forgets, sqrt(v) falls by a known factor per step, and the curvature passes 2/lr at a known time.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.signal import find_peaks

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.update import Adam, adam
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    at_least,
    at_most,
    below,
    between,
    config,
    number,
    settings,
)
from dyntoolkit.figure.panels import BLUE, GREY, PURPLE, RED, SKY, Axis, Level, Line, Panel
from dyntoolkit.phenomena.loss_spikes._panels import STEP
from dyntoolkit.phenomena.loss_spikes._spikes import TINY
from dyntoolkit.phenomena.loss_spikes._trace import trace, traced
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run of Adam on L = curvature theta^2 / 2."""

    lr: float = number(0.1, 0.003, 0.3, label="learning rate η", help="step size of Adam", log=True, main=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="memory of the gradient", main=True)
    beta2: float = number(0.99, 0.5, 0.995, label="β₂", help="memory of the squared gradient", near_one=True, main=True)
    eps: float = number(1e-12, 1e-12, 0.1, label="ε", help="added to √v in the denominator", log=True, main=True)
    steps: int = number(3000, 200, 10000, label="steps", help="updates", log=True, structural=True)
    curvature: float = number(1.0, 0.1, 10.0, label="curvature h", help="of the parabola", log=True)
    theta0: float = number(1.0, 0.5, 2.0, label="start θ₀", help="where training starts")

    @property
    def critical_eps(self) -> float:
        """The eps above which the curvature never passes 2/lr."""
        return critical_eps(self.lr, self.curvature, self.beta1)

    @property
    def critical_root(self) -> float:
        """s* = eps* - eps: the value of sqrt(v) at which the curvature is 2/lr; none is needed where s* <= 0."""
        return self.critical_eps - self.eps


PRESETS = {
    "spikes": Preset("v forgets until the parabola is too steep for the step; then it spikes, again and again."),
    "beta2_0.9": Preset("Short memory: v follows the gradient, nothing spikes.", {"beta2": 0.9}),
    "eps_1.05": Preset("ε five percent above its critical value: the limit is out of reach.", {"eps": 0.00277}),
    "beta1_0": Preset("Without momentum the simple prediction of the time fails here.", {"beta1": 0.0}),
}


# ---- Data, model, step ----


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Adam from theta0; nothing is random, so the seed has no effect.

    A frame every 50 steps with the values of each, (R, 50) float64 (see `trace`): theta, g2 = squared gradient, v =
    bias-corrected mean square, curvature = mu h/(sqrt(v) + eps), loss.
    """
    names = ("lr", "beta1", "beta2", "eps", "curvature", "theta0")
    columns = (per_run(configs, name, torch.float64) for name in names)
    lr, beta1, beta2, eps, h, theta0 = columns  # (R,)

    def step(state: Adam, _: None) -> Adam:
        g = h.unsqueeze(1) * state.theta  # (R, 1)
        return adam(state, g, lr, beta1, beta2, eps)

    def probe(before: Adam, after: Adam, first: int) -> dict[str, torch.Tensor]:
        theta, v = before.theta[..., 0], after.square[..., 0] / (1 - beta2**after.updates)  # (T, R)
        updates = torch.arange(first + 1, first + 1 + len(theta), dtype=torch.float64).unsqueeze(1)  # (T, 1)
        # lambda = mu_i h/(sqrt(v_hat) + eps)
        curvature = momentum_factor(beta1, updates) * h / (v.sqrt() + eps)
        g2 = (h * theta).square()
        return {"theta": theta, "g2": g2, "v": v, "curvature": curvature, "loss": h * theta.square() / 2}

    return traced(Adam.start(theta0.unsqueeze(1)), step, full_batch, configs[0].steps, probe)


# ---- What is measured, claims ----

DECOUPLED, DECOUPLED_ALONE = 1e-3, 1e-4  # of g^2/v: below it v only forgets (for beta1 = 0, where the law is exact)
AGAIN = 0.01  # of g^2/v: above it v takes in new gradients


class Run(NamedTuple):
    """The values of one run at every step, (N,) each."""

    theta: Array
    g2: Array
    v: Array
    curvature: Array
    loss: Array


def run(history: History, r: int) -> Run:
    """Run r of a history; empty before its first frame."""
    return Run(*(trace(history, name)[:, r] for name in Run._fields))


def envelope(loss: Array) -> Array:
    """log10 of the largest of the last five losses: every zero crossing of theta is a pit in the loss itself."""
    if not len(loss):
        return np.empty(0)
    logs = np.log10(np.maximum(loss, TINY))
    # e_i = max(log10 L_{i-4}, ..., log10 L_i)
    shifted = [np.concatenate([np.full(k, logs[0]), logs[: len(logs) - k]]) for k in range(min(5, len(logs)))]
    return np.asarray(np.max(shifted, axis=0))


def peaks(loss: Array) -> Array:
    """The spikes: maxima of the envelope that stand out by at least a decade (prominence)."""
    return np.asarray(find_peaks(envelope(loss), prominence=1.0)[0])


def critical_eps(lr: float, curvature: float, beta1: float) -> float:
    """eps* = lr h (1 - beta1)/(2 (1 + beta1)): above it the curvature never passes 2/lr."""
    return lr * curvature * (1 - beta1) / (2 * (1 + beta1))


def decoupling(seen: Run, share: float = DECOUPLED) -> int:
    """The first step from which on g^2 stays below `share` of that step's v for 20 steps; -1 for never."""
    ahead = np.lib.stride_tricks.sliding_window_view(seen.g2, 20).max(1) if len(seen.g2) >= 20 else np.empty(0)
    # t_c: first i with max(g^2_i, ..., g^2_{i+19}) < share v_hat_i
    found = np.flatnonzero(ahead < share * seen.v[: len(ahead)])
    return int(found[0]) if len(found) else -1


def predicted_crossing(seen: Run, config: Config) -> float:
    """t* = t_c + 2 ln(sqrt(v_c)/s*)/ln(1/beta2): when sqrt(v), only forgetting, reaches s*; NaN for never."""
    start = decoupling(seen)
    if start < 0 or config.critical_root <= 0:
        return np.nan
    # v_c = v_hat_{t_c} (1 - beta2^{t_c + 1}), the raw v
    raw = seen.v[start] * (1 - config.beta2 ** (start + 1))
    return float(start + 2 * np.log(np.sqrt(raw) / config.critical_root) / np.log(1 / config.beta2))


def observed_crossing(seen: Run, config: Config) -> float:
    """The first step with curvature above 2/lr after the first one below it; NaN for never."""
    under = np.flatnonzero(seen.curvature < 2 / config.lr)
    over = np.flatnonzero(seen.curvature > 2 / config.lr)
    later = over[over > under[0]] if len(under) else over[:0]
    return float(later[0]) if len(later) else np.nan


def growth(seen: Run, config: Config) -> tuple[int, Array]:
    """For beta1 = 0: t_c, and log10 |theta| from there by the closed form, until v takes in gradients again.

    ln |theta_{i+1}| = ln |theta_i| + ln |1 - lr h/sqrt(v_i)| with v_i = v_c beta2^(i - t_c)/(1 - beta2^(i + 1)).
    """
    start = decoupling(seen, DECOUPLED_ALONE)
    if start < 0 or config.beta1 > 0:
        return -1, np.empty(0)
    again = np.flatnonzero(seen.g2[start:] > AGAIN * seen.v[start:])
    end = start + int(again[0]) if len(again) else len(seen.theta)
    i = np.arange(start, end - 1)
    raw = seen.v[start] * (1 - config.beta2 ** (start + 1))
    # v_hat_i = v_c beta2^(i - t_c)/(1 - beta2^(i + 1))
    v = raw * config.beta2 ** (i - start) / (1 - config.beta2 ** (i + 1))
    # ln |1 - lr h/sqrt(v_hat_i)|, here in decades
    steps = np.log10(np.maximum(np.abs(1 - config.lr * config.curvature / np.sqrt(v)), TINY))
    first = np.log10(max(abs(seen.theta[start]), TINY))
    return start, np.concatenate([[first], first + np.cumsum(steps)])


def metrics(history: History) -> dict[str, Array]:
    """spikes; crossing and crossing_error: observed, and observed minus predicted; growth_error: decades. Each (R,)."""
    rows = [_one_run(run(history, r), config) for r, config in enumerate(history.configs)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _one_run(seen: Run, config: Config) -> dict[str, float]:
    crossing = observed_crossing(seen, config)
    start, line = growth(seen, config)
    error = np.nan
    if len(line) > 1:
        measured = np.log10(np.maximum(np.abs(seen.theta[start : start + len(line)]), TINY))
        error = float(np.abs(measured - line).max())
    return {
        "spikes": len(peaks(seen.loss)),
        "crossing": crossing,
        "crossing_error": crossing - predicted_crossing(seen, config),
        "growth_error": error,
    }


def _predictable(c: Config) -> bool:
    """Where the recipe measured the crossing, and the run is long enough to get there."""
    usual = c.beta1 == 0.9 and c.eps <= 1e-8 and c.curvature == 1
    return usual and 0.97 <= c.beta2 <= 0.995 and 0.05 <= c.lr <= 0.2 and c.steps * (1 - c.beta2) >= 15


USUAL = settings(lr=0.1, beta1=0.9, beta2=0.99, curvature=1.0, steps=3000)


def _default(c: Config) -> bool:
    """The default settings, whatever the start; eps is next to nothing."""
    return USUAL(c) and c.eps <= 1e-8


def _largest_error(runs: Sequence[Metrics]) -> Array:
    """The largest error of the closed form among the runs of a sweep, per seed."""
    return np.asarray(np.max([run["growth_error"] for run in runs], axis=0))


def _fewest_below_the_threshold(runs: Sequence[Metrics]) -> Array:
    """The fewest spikes of the first half of the runs, below the critical eps; 0 if another one has two or more."""
    counts = np.array([run["spikes"] for run in runs])  # (runs, seeds)
    smaller_eps, larger_eps = np.split(counts, 2)
    return np.where(larger_eps.max(0) <= 1, smaller_eps.min(0), 0.0)


def _at_critical_eps(factor: float) -> tuple[dict[str, float], ...]:
    """The three learning rates of the recipe with eps at `factor` times its critical value, 8000 steps."""
    critical = {lr: critical_eps(lr, curvature=1.0, beta1=0.9) for lr in (0.01, 0.05, 0.1)}
    return tuple({"lr": lr, "eps": factor * eps, "steps": 8000} for lr, eps in critical.items())


GROWING = (
    {"beta1": 0.0, "beta2": 0.97, "lr": 0.05},
    {"beta1": 0.0, "beta2": 0.99, "lr": 0.05},
    {"beta1": 0.0, "beta2": 0.98, "lr": 0.1},
)

CLAIMS = (
    Claim(
        id="crossing_time",
        statement="The curvature passes 2/η within 3 steps of the predicted time.",
        metric="crossing_error",
        bound=between(-3, 3),
        where=_predictable,
        controls=(Control("β₁ = 0, β₂ = 0.995", {"beta1": 0.0, "beta2": 0.995}),),
    ),
    Claim(
        id="growth_closed_form",
        statement="Without momentum, while v only forgets, |θ| is less than 0.05 decades off its closed form.",
        metric="growth_error",
        bound=below(0.05),
        where=_default,
        sweep=Sweep(GROWING, _largest_error),
    ),
    Claim(
        id="spike_count",
        statement="At β₂ = 0.99 there are at least 15 spikes in 3000 steps.",
        metric="spikes",
        bound=at_least(15),
        where=_default,
        controls=(Control("β₂ = 0.9", {"beta2": 0.9}, at_most(0)), Control("β₂ = 0.97", {"beta2": 0.97})),
    ),
    Claim(
        id="eps_threshold",
        statement="The critical ε decides, for three learning rates: "
        "at least 20 spikes 5 % below it, one at most 5 % above it.",
        metric="spikes",
        bound=at_least(20),
        where=_default,
        sweep=Sweep((*_at_critical_eps(0.95), *_at_critical_eps(1.05)), _fewest_below_the_threshold),
    ),
)


# ---- Figure ----

SMALLEST, LARGEST = 1e-36, 1e36  # the browser gets float32 numbers; what is smaller or larger leaves a gap


def panels(history: History) -> list[Panel]:
    """The loss with its spikes; the curvature with its predicted crossing; g^2 and v; |theta| with its closed form.

    Of the first run, for nothing in it is random.
    """
    config, seen = history.config, run(history, 0)
    steps = np.arange(len(seen.loss))
    return [
        _loss(seen, steps),
        Panel(
            "Curvature × η/2",
            STEP,
            Axis("λ η / 2", log=True),
            [
                Line("λ", steps, seen.curvature * config.lr / 2, BLUE, width=1.2),
                Level("stability limit", y=1.0),
                Level("predicted crossing", x=predicted_crossing(seen, config)),
                Level("observed", x=observed_crossing(seen, config), color=RED),
            ],
        ),
        Panel(
            "Gradient and its memory",
            STEP,
            Axis("g², v", log=True),
            [
                Line("g²", steps, _shown(seen.g2), SKY, width=1.0),
                Line("v", steps, _shown(seen.v), PURPLE),
                Level("critical v", y=max(config.critical_root, 0.0) ** 2),
            ],
        ),
        _distance(seen, steps, config),
    ]


def _loss(seen: Run, steps: Array) -> Panel:
    upper, tops = 10 ** envelope(seen.loss), peaks(seen.loss)
    return Panel(
        "Loss",
        STEP,
        Axis("L = h θ² / 2, upper envelope", log=True),
        [
            Line("loss", steps, _shown(upper), BLUE, width=1.2),
            Line("spike", tops, _shown(upper[tops]), RED, markers="points"),
        ],
    )


def _distance(seen: Run, steps: Array, config: Config) -> Panel:
    start, line = growth(seen, config)
    closed_form = _shown(10 ** np.minimum(line, 300))
    return Panel(
        "Distance from the minimum",
        STEP,
        Axis("|θ|", log=True),
        [
            Line("|θ|", steps, _shown(np.abs(seen.theta)), BLUE, width=1.0),
            Line("closed form (β₁ = 0)", start + np.arange(len(line)), closed_form, GREY, dash=True),
        ],
    )


def _shown(values: Array) -> Array:
    """The values that a figure can show."""
    return np.where((values > SMALLEST) & (values < LARGEST), values, np.nan)


# ---- The record ----

EXPERIMENT = Experiment(
    name="loss_spikes.quadratic",
    title="Adam on a parabola",
    question="In one dimension, can the time of Adam's next loss spike be computed in advance?",
    paper="2506.04805",
    seconds=0.8,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    borders={"ε*: above it nothing spikes": lambda c: critical_eps(c.lr, c.curvature, c.beta1) - c.eps},
)
