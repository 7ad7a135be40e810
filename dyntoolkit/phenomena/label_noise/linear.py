"""Two phases of SGD with fresh label noise in a two-layer linear network (Two phases, arXiv 2603.10397).

Does fresh label noise turn a lazy network into a rich one, in two phases, as the flow predicts? The network f(x) =
s a^T W x starts lazy: a = 0 and a large W. SGD fits at once, and then fresh noise on the labels goes on moving the
weights. Phase I: W shrinks while a oscillates near zero. Phase II: the neurons align with the truth.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.integrate import cumulative_trapezoid

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import BLOCK, evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.two_layer_linear import gradients
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    above,
    below,
    between,
    config,
    number,
    switch,
)
from dyntoolkit.figure.panels import (
    ALIGNMENT,
    GREY,
    KERNEL,
    LAYER1,
    LAYER2,
    RED,
    TRAIN,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.phenomena.label_noise import _theory
from dyntoolkit.phenomena.label_noise._theory import Flow, kick_factor, noise_is_on
from dyntoolkit.probes.alignment import alignment
from dyntoolkit.probes.crossing_times import first_above, first_value
from dyntoolkit.probes.effective_rank import effective_rank
from dyntoolkit.probes.ntk import input_metric, kernel_change

Tensor = torch.Tensor

# ---- Settings and presets ----

WARN, REFUSE = 1.3, 1.8  # of `Config.instability`; the first non-finite runs were seen at 2.0


class Config(config.Config):
    """Settings of one run of the two-layer linear network under label noise (arXiv 2603.10397)."""

    lr: float = number(0.2, 0.01, 0.4, label="learning rate η", help="step size of SGD", log=True, main=True)
    noise_std: float = number(
        2.0, 0.0, 4.0, label="label noise ±τ", help="size of the sign noise added to the labels", main=True
    )
    init_scale: float = number(
        1.2, 0.05, 1.8, label="initialization scale", help="standard deviation of W at the start", log=True, main=True
    )
    steps: int = number(30000, 500, 60000, label="steps", help="updates", log=True, main=True, structural=True)
    batch_size: int = number(
        10, 1, 400, label="batch size B", help="samples per step", log=True, main=True, structural=True
    )
    width: int = number(64, 16, 256, label="width m", help="hidden neurons", log=True, structural=True)
    dim: int = number(10, 2, 30, label="input dimension d", help="inputs of the network", structural=True)
    n_train: int = number(100, 40, 400, label="training samples n", help="samples", log=True, structural=True)
    target_norm: float = number(1.0, 0.3, 3.0, label="target norm |β*|", help="length of the true weights", log=True)
    sam_rho: float = number(
        0.0, 0.0, 1.0, label="SAM's radius ρ", help="sharpness-aware minimization in place of noise; 0: plain SGD"
    )
    kick_std: float = number(
        0.0, 0.0, 0.3, label="layer-2 kick c", help="random kick to the second layer at every step; 0: none"
    )
    noise_period: int = number(
        0, 0, 10000, label="noise on/off period", help="steps on, then as many off; 0: always on", structural=True
    )
    fixed_noise: bool = switch(False, label="noise drawn once", help="one sign per sample, kept for the whole run")
    whiten: bool = switch(True, label="whitened inputs", help="exact unit covariance of the training inputs")

    def check(self) -> None:
        """Refuse settings close to the edge of stability, where plain SGD without noise shrinks the weights too."""
        if self.instability >= REFUSE:
            raise InputError(
                f"lr·init_scale²·(1 + (dim + 1)/batch_size) = {self.instability:.2f} must stay below {REFUSE}, "
                "or SGD is unstable: lower lr or init_scale, or raise batch_size.",
                "lr",
            )

    def warnings(self) -> list[str]:
        """What misleads: the edge of stability, and fixed noise in minibatches."""
        found = []
        if self.instability >= WARN:
            found.append(
                f"lr·init_scale²·(1 + (dim + 1)/batch_size) = {self.instability:.2f} is close to where SGD is "
                "unstable and shrinks the weights even without noise: lower lr or init_scale, or raise batch_size."
            )
        if self.fixed_noise and self.batch_size < self.n_train:
            found.append(
                "Noise drawn once still acts like fresh noise in minibatches: set batch_size to n_train for a control."
            )
        return found

    @property
    def batch(self) -> int:
        """Samples that a step really uses, B."""
        return min(self.batch_size, self.n_train)

    @property
    def scale(self) -> float:
        """s = 1/sqrt(m) of f(x) = s a^T W x."""
        return 1.0 / math.sqrt(self.width)

    @property
    def instability(self) -> float:
        """lr init_scale^2 (1 + (d+1)/B): mean-square stability of SGD is lost at 2."""
        return self.lr * self.init_scale**2 * (1 + (self.dim + 1) / self.batch)

    @property
    def fresh(self) -> bool:
        """Whether something drives the flow: fresh label noise, or SAM on single samples; no kick, no fixed noise."""
        single = self.sam_rho == 0 or self.batch == 1
        return self.rate > 0 and single and not self.fixed_noise and self.kick_std == 0

    @property
    def rate(self) -> float:
        """k0 of `_theory.drift_rate`, per step."""
        return _theory.drift_rate(self.lr, self.noise_std, self.sam_rho, self.batch, self.scale)

    @property
    def log_ratio(self) -> float:
        """L of `_theory.log_ratio`: the alignment reaches 1/2 at t = L/(2 k0)."""
        return float(_theory.log_ratio(self.init_scale, self.target_norm, self.width, self.dim))

    @property
    def excess(self) -> float:
        """E = 2 k0 steps - L: how many e-foldings the noise still acts after alignment 1/2."""
        steps = self.steps / 2 if self.noise_period > 0 else self.steps
        return 2 * self.rate * steps - self.log_ratio

    @property
    def end_norm(self) -> float:
        """|W|_F^2 where the flow comes to rest."""
        return _theory.end_norm(self.target_norm, self.width, self.dim)

    @property
    def noise_free_norms(self) -> tuple[float, float]:
        """|W|_F^2 along beta* and across it where noise-free training ends."""
        return _theory.noise_free_norms(self.init_scale, self.target_norm, self.width, self.dim)


PRESETS = {
    "two_phase": Preset("Fresh label noise: the first layer shrinks, then the neurons align with the truth."),
    "fast": Preset("The same picture in half the steps; the flow is a little off.", {"lr": 0.3, "steps": 15000}),
    "lazy_control": Preset("No noise: the network fits at once and nothing else moves.", {"noise_std": 0.0}),
    "small_init_rich": Preset(
        "No noise, small initialization: rich without any noise.", {"noise_std": 0.0, "init_scale": 0.05}
    ),
    "sam": Preset(
        "SAM on single samples: the same two phases without label noise.",
        {"noise_std": 0.0, "sam_rho": 0.5, "batch_size": 1, "lr": 0.05, "steps": 15000},
    ),
    "on_off": Preset(
        "Noise switched on and off: the first layer shrinks only while it is on.",
        {"noise_period": 3000, "steps": 24000},
    ),
    "kick": Preset(
        "Random kicks to the second layer, no noise: the first layer shrinks too.",
        {"noise_std": 0.0, "batch_size": 100, "kick_std": 0.1, "steps": 4000},
    ),
    "fixed_noise": Preset(
        "Noise drawn once and kept: nothing shrinks.", {"fixed_noise": True, "batch_size": 100, "steps": 8000}
    ),
}


# ---- Data, model, step ----

FRAMES = 121
HELD = 2**24  # numbers in the inputs of the batches that are drawn at once, 64 MB
SHOWN = 8  # neurons whose weights are recorded one by one


class State(NamedTuple):
    """Trainable weights of R runs."""

    W: Tensor  # (R, m, d) first layer
    a: Tensor  # (R, m) second layer


class Batch(NamedTuple):
    """What one step of R runs sees."""

    x: Tensor  # (D, B, d) for each of D different seeds
    target: Tensor  # (R, B) labels with their noise
    kick: Tensor | None  # (R, m) added to the second layer while the gradient is taken


class Data(NamedTuple):
    """Training inputs and the truth."""

    X: Tensor  # (R, n, d)
    beta: Tensor  # (R, d)


def draw_data(configs: Sequence[Config], seeds: Sequence[int]) -> Data:
    """Gaussian inputs, whitened to S = X^T X/n = I where asked for, and a random direction of length target_norm."""
    n, d = configs[0].n_train, configs[0].dim
    X = Stream(seeds, "data").normal(n, d, dtype=torch.float64)  # (R, n, d)
    if configs[0].whiten:
        X = n**0.5 * torch.linalg.qr(X).Q  # S = X^T X/n = I
    g = Stream(seeds, "target").normal(d, dtype=torch.float64)  # (R, d)
    beta = per_run(configs, "target_norm", ndim=2).double() * g / g.norm(dim=1, keepdim=True)
    return Data(X.float(), beta.float())


def initial_state(configs: Sequence[Config], seeds: Sequence[int]) -> State:
    """W with entries N(0, init_scale^2), and a = 0."""
    W = Stream(seeds, "init").normal(configs[0].width, configs[0].dim)
    return State(per_run(configs, "init_scale", ndim=3) * W, torch.zeros(W.shape[:2], dtype=torch.float32))


class Different(NamedTuple):
    """The D different ones among the seeds of R runs, which stand for all: runs of one seed draw the same numbers."""

    seeds: list[int]  # D of them
    first: Tensor  # (D,) the first run of each
    own: Tensor  # (R,) the place of each run's seed


def different(seeds: Sequence[int]) -> Different:
    """Which seeds differ."""
    values, first, own = np.unique(seeds, return_index=True, return_inverse=True)
    return Different(values.tolist(), torch.from_numpy(first), torch.from_numpy(own))


def make_step(configs: Sequence[Config], seeds: Sequence[int] | None = None) -> Callable[[State, Batch], State]:
    """One SGD step on the mean of (f(x_i) - target_i)^2 / 2, both layers together; as SAM where sam_rho > 0.

    seeds: not needed where they all differ.
    """
    s = configs[0].scale
    own = None if seeds is None or len(set(seeds)) == len(seeds) else different(seeds).own
    lr = per_run(configs, "lr", ndim=2)  # (R, 1)
    rho = per_run(configs, "sam_rho", ndim=2)  # (R, 1)
    sam = bool(rho.any())

    def step(state: State, batch: Batch) -> State:
        W, a = state  # (R, m, d), (R, m)
        x = batch.x if own is None else batch.x[own]  # (R, B, d)
        at_W, at_a = W, a if batch.kick is None else a + batch.kick
        if sam:  # climb to (W, a) + rho g/|g|, g the joint gradient, and take the gradient there
            dW, da = gradients(x, batch.target, at_W, at_a, s)
            norm = (dW.square().sum((1, 2)) + da.square().sum(1)).sqrt().clamp_min(1e-30).unsqueeze(1)  # (R, 1)
            at_W, at_a = at_W + (rho / norm).unsqueeze(2) * dW, at_a + rho / norm * da
        dW, da = gradients(x, batch.target, at_W, at_a, s)
        return State(torch.addcmul(W, lr.unsqueeze(2), dW, value=-1), torch.addcmul(a, lr, da, value=-1))

    return step


def make_batches(configs: Sequence[Config], seeds: Sequence[int], data: Data) -> Callable[[int, int], Batch]:
    """The batches of updates k0..k1-1: samples with replacement (or all of them) and +-noise_std on their labels."""
    c = configs[0]
    clean = (data.X @ data.beta.unsqueeze(2)).squeeze(2)  # (R, n)  y = X beta*
    tau = per_run(configs, "noise_std", ndim=3)  # (R, 1, 1)
    kick_std = per_run(configs, "kick_std", ndim=3)  # (R, 1, 1)
    them, first, own = different(seeds)
    index, noise, kicks = (Stream(them, name) for name in ("batch", "noise", "kick"))
    fixed = noise.signs(c.n_train) if c.fixed_noise else None  # (D, n)
    X = data.X[first]  # (D, n, d)

    def take(values: Tensor, rows: Tensor | None, steps: int) -> Tensor:
        """values (N, n, ...) of the chosen samples, (N, steps, B, ...)."""
        if rows is None:
            return values.unsqueeze(1).expand(-1, steps, *values.shape[1:])
        if values.ndim == 2:
            return values.gather(1, rows.flatten(1)).view(rows.shape)  # of single numbers it is the faster way
        return values[torch.arange(len(values), dtype=torch.int64)[:, None, None], rows]

    def batches(k0: int, k1: int) -> Batch:
        steps = k1 - k0
        rows = None if c.batch == c.n_train else index.indices(c.n_train, steps, c.batch)  # (D, steps, B)
        target = take(clean, rows if rows is None else rows[own], steps)  # (R, steps, B)
        if tau.any():
            signs = noise.signs(steps, c.batch) if fixed is None else take(fixed, rows, steps)  # (D, steps, B)
            on = torch.from_numpy(noise_is_on(np.arange(k0, k1), c.noise_period))[:, None]  # (steps, 1)
            target = target + tau * on * signs[own]
        kick = (kick_std * kicks.signs(steps, c.width)[own]).transpose(0, 1) if kick_std.any() else None
        return Batch(take(X, rows, steps).transpose(0, 1), target.transpose(0, 1), kick)

    return batches


def simulate(configs: Sequence[Config], seeds: Sequence[int], frames: int = FRAMES) -> Iterator[Frame]:
    """Train R two-layer linear networks under label noise and record how their weights move.

    configs, seeds: one of each per run; the configs agree on their structural fields. A run's data, initial weights,
    batches, noise and kicks come from separate streams of its seed, so a run and its control (same seed, another
    noise_std, sam_rho, ...) share data and weights. Record: `frames` evenly spaced steps, 121 unless said otherwise,
    and the first 120 multiples of noise_period.

    Values of a frame, float64: those of `measure`, and flow_w2, flow_align (R,) = the flow's prediction of w2 and
    align, NaN where there is none.
    """
    c = configs[0]
    data = draw_data(configs, seeds)
    start = initial_state(configs, seeds)
    X = data.X.double()
    beta = data.beta.double()
    S = X.mT @ X / c.n_train  # (R, d, d)
    P0 = input_metric(start.W.double(), start.a.double())  # (R, d, d)
    flow = make_flow(configs, start.W.double().numpy(), S.numpy(), beta.numpy())

    def values(k: int, state: State) -> dict[str, Array]:
        flow_w2, flow_align = flow.at(k)
        return {**measure(state, beta, S, P0), "flow_w2": flow_w2, "flow_align": flow_align}

    switches = range(0, c.steps + 1, c.noise_period)[:FRAMES] if c.noise_period else ()
    record = evenly(c.steps, frames, *switches)
    block = max(1, min(BLOCK, HELD // (len(seeds) * c.batch * c.dim)))
    yield from train(start, make_step(configs, seeds), make_batches(configs, seeds, data), record, values, block=block)


def make_flow(configs: Sequence[Config], W: Array, S: Array, beta: Array) -> Flow:
    """The theory's prediction for these runs; W (R, m, d) at the start, S (R, d, d), beta (R, d)."""
    lr, tau, rho = (np.array([getattr(c, name) for c in configs]) for name in ("lr", "noise_std", "sam_rho"))  # (R,)
    driven = np.array([c.fresh for c in configs])
    return Flow(W, S, beta, lr, tau, rho, driven, configs[0].batch, configs[0].noise_period)


# ---- What is measured, claims ----

END = 5  # frames whose mean is "the end"


def measure(state: State, beta: Tensor, S: Tensor, P0: Tensor) -> dict[str, Array]:
    """What a frame shows of each run, float64; beta (R, d), S and P0 (`input_metric` of the start) (R, d, d).

    w2 = |W|_F^2, a2 = |a|^2, align = |W b|^2/|W|_F^2 with b along beta*, ntk = change of the tangent kernel, erank =
    effective rank of W, loss = noise-free training loss, all (R,); a and row_norm (R, 8) = second-layer weights and
    first-layer norms of the first eight neurons.
    """
    W, a = state.W.double(), state.a.double()
    s = 1.0 / math.sqrt(W.shape[1])
    error = s * (a.unsqueeze(1) @ W).squeeze(1) - beta  # (R, d)  e = s W^T a - beta*
    values = {
        "w2": W.square().sum((1, 2)),
        "a2": a.square().sum(1),
        "align": alignment(W, beta),
        "ntk": kernel_change(input_metric(W, a), P0, S),
        "erank": effective_rank(W.mT @ W),
        "loss": ((error.unsqueeze(1) @ S).squeeze(1) * error).sum(1) / 2,  # (e^T S e)/2
        "a": a[:, :SHOWN],
        "row_norm": W[:, :SHOWN].norm(dim=2),
    }
    return {name: value.numpy() for name, value in values.items()}


def metrics(history: History) -> dict[str, Array]:
    """Every quantity of the recipe, name -> (R,); NaN for "never" and "does not apply".

    A history that still grows, or was stopped, is judged as far as it goes; a diverged run by its frozen state.
    """
    config = history.config
    t = history.at("w2")  # (T,)
    W2, align = history["w2"], history["align"]  # (T, R)
    at_end = {name: history[name][-END:].mean(0) for name in ("w2", "a2", "align", "ntk", "erank", "loss")}
    beta_norm = np.array([c.target_norm for c in history.configs])
    t_ntk = first_above(t, history["ntk"], 0.5)
    t_align = first_above(t, align, 0.5)
    return {
        "w2_ratio": at_end["w2"] / W2[0],
        "align_end": at_end["align"],
        "ntk_end": at_end["ntk"],
        "erank_end": at_end["erank"],
        "a_rms_end": np.sqrt(at_end["a2"] / config.width),
        "loss_end": at_end["loss"],
        "t_ntk": t_ntk,
        "t_align": t_align,
        "phase_ratio": t_align / t_ntk,
        "align_at_half": first_value(align, W2 / W2[0] < 0.5),
        "end_norm_ratio": at_end["w2"] * config.scale / (np.sqrt(config.dim) * beta_norm),
        "on_log_drop": log_drops(t, W2, config.noise_period, 0),
        "off_log_drop": log_drops(t, W2, config.noise_period, config.noise_period),
        **kick_rates(history, t, W2),
        "flow_w2_error": np.fmax.reduce(np.abs(history["flow_w2"] - W2) / W2),  # NaN where there is no flow
        "flow_align_error": np.fmax.reduce(np.abs(history["flow_align"] - align)),
    }


def log_drops(t: Array, W2: Array, period: int, start: int) -> Array:
    """ln |W|^2 at the start minus at the end of a half-period, mean over two of them.

    t: (T,). W2: (T, R). start: where the first one begins; the second one begins two periods later. Returns (R,); NaN
    without a period or before the second one is over.
    """
    ends = [start, start + period, start + 2 * period, start + 3 * period]
    if period == 0 or ends[-1] > t[-1]:
        return np.full(W2.shape[1], np.nan)
    first, first_end, second, second_end = np.log(W2[np.searchsorted(t, ends)])
    return np.asarray(first - first_end + second - second_end) / 2


def kick_rates(history: History, t: Array, W2: Array) -> dict[str, Array]:
    """Slope of -ln |W|^2 after a quarter of the steps, over 2 lr c^2/m, plain and corrected for the fluctuation of a.

    The correction divides by the time average of 1/(1 - (lr/2) |W|^2 s^2/d): at a finite step size a itself fluctuates,
    so that the kicks act more strongly.
    """
    config = history.config
    rows = np.flatnonzero(t >= config.steps / 4)
    void = np.full(W2.shape[1], np.nan)
    if len(rows) < 2:
        return {"kick_rate_ratio": void, "kick_rate_corrected": void}
    lr, c = (np.array([getattr(one, name) for one in history.configs]) for name in ("lr", "kick_std"))  # (R,)
    t, W2 = t[rows[0] :], W2[rows[0] :]
    rate = (np.log(W2[0]) - np.log(W2[-1])) / (t[-1] - t[0])
    law = np.where(c > 0, 2 * lr * c**2 / config.width, np.nan)  # 2 lr c^2/m
    gain = kick_factor(W2, lr, config.dim, config.width)  # (T', R)
    mean_gain = np.trapezoid(gain, t, axis=0) / (t[-1] - t[0])
    with np.errstate(all="ignore"):  # a vanishing kick has no rate to compare with
        return {"kick_rate_ratio": rate / law, "kick_rate_corrected": rate / law / mean_gain}


def half_time(c: Config) -> float:
    """The step t = L/(2 k0) at which the alignment reaches 1/2; NaN where no law says so, or it is there at once."""
    known = c.fresh and c.noise_period == 0 and c.log_ratio > 0
    return c.log_ratio / (2 * c.rate) if known else math.nan


def _shrinks_far(c: Config) -> bool:
    """The noise acts long enough, and the end of the flow lies far below the start."""
    return c.fresh and c.excess >= 2.3 and c.target_norm / ((c.width * c.dim) ** 0.5 * c.init_scale**2) <= 0.04


def _aligns(c: Config) -> bool:
    """The noise acts for 3.2 e-foldings or more after alignment 1/2 (SAM: 2.3), and does not drown the truth."""
    enough = (c.excess >= 2.3 and c.lr <= 0.05) if c.sam_rho > 0 else c.excess >= 3.2
    return c.fresh and enough and c.noise_std <= 2.5 and c.whiten


def _flow_is_exact(c: Config) -> bool:
    """Small noise, no small network, steps that the factors F_n and F_s can correct for."""
    small = c.noise_std <= 2 and c.init_scale >= 0.2 and c.width >= 48 and c.dim >= 6
    if c.sam_rho > 0:
        return c.fresh and small and c.noise_std == 0 and c.sam_rho <= 0.5 and c.lr <= 0.05
    return c.fresh and small and c.lr <= 0.2 and c.batch >= 10


def _falls_in_stairs(c: Config) -> bool:
    """Two periods with noise and two without, each of which shrinks W visibly and not down to its end."""
    fall = 2 * c.rate * c.noise_period
    return c.fresh and c.sam_rho == 0 and c.steps >= 4 * c.noise_period and 0.6 < fall < c.log_ratio / 3


def _kicks_alone(c: Config) -> bool:
    """Nothing but small kicks acts, and the network is lazy."""
    quiet = c.noise_std == 0 and c.sam_rho == 0 and c.batch == c.n_train
    lazy = c.log_ratio >= 2.8 and c.width >= 48 and c.dim >= 6 and c.whiten  # like the preset, where the law is derived
    return quiet and lazy and 0.05 <= c.kick_std <= 0.1 and c.lr <= 0.25 and c.steps >= 2000


def _chance_units(found: Metrics, config: Any) -> Array:
    """align_at_half in units of its chance level 1/d, (R,)."""
    return np.asarray(found["align_at_half"] * config.dim)


QUIET: Mapping[str, Any] = {"noise_std": 0.0, "sam_rho": 0.0}
SILENT = Control("without noise", QUIET)
FROZEN = Control(  # 400 is all samples, whatever n_train: in minibatches fixed noise acts like fresh noise
    "noise drawn once",
    {"fixed_noise": True, "batch_size": 400, "steps": 8000, "noise_std": 2.0, "sam_rho": 0.0, "noise_period": 0},
)
STRONG = {"noise_std": 3.0, "sam_rho": 0.0}


def further_off(error: str) -> Control:
    """At noise 3 this error of the flow is larger than at the claim's own settings: the difference."""
    return Control(
        "noise 3: flow further off, by",
        bound=above(0),
        sweep=Sweep(({}, STRONG), lambda runs: runs[1][error] - runs[0][error]),
    )


CLAIMS = (
    Claim(
        id="w_shrinks",
        statement="The first layer shrinks.",
        metric="w2_ratio",
        bound=below(0.05),
        where=_shrinks_far,
        controls=(SILENT, FROZEN),
    ),
    Claim(
        id="aligned",
        statement="The neurons align with the truth.",
        metric="align_end",
        bound=above(0.9),
        where=_aligns,
        controls=(SILENT, FROZEN),
    ),
    Claim(
        id="kernel_moves",
        statement="The tangent kernel moves far: training is rich.",
        metric="ntk_end",
        bound=above(0.8),
        where=_shrinks_far,
        controls=(SILENT,),
    ),
    Claim(
        id="two_phases",
        statement="The kernel moves long before the neurons align: two phases.",
        metric="phase_ratio",
        bound=above(3.0),
        where=lambda c: c.fresh and c.log_ratio >= 2.8 and c.excess >= 1,
        controls=(SILENT,),
    ),
    Claim(
        id="shrinks_first",
        statement="While the first layer shrinks to half, the alignment stays at chance (d times the alignment).",
        metric="align_at_half",
        bound=below(2.0),
        where=lambda c: c.fresh and c.log_ratio >= 2.5 and c.excess >= 1,
        value=_chance_units,
    ),
    Claim(
        id="flow_w2",
        statement="The flow predicts the first-layer norm.",
        metric="flow_w2_error",
        bound=below(0.15),
        where=_flow_is_exact,
        controls=(further_off("flow_w2_error"),),
    ),
    Claim(
        id="flow_align",
        statement="The flow predicts the alignment.",
        metric="flow_align_error",
        bound=below(0.1),
        where=_flow_is_exact,
        controls=(further_off("flow_align_error"),),
    ),
    Claim(
        id="end_norm",
        statement="The first layer ends at the norm √d |β*|/s.",
        metric="end_norm_ratio",
        bound=between(0.9, 1.1),
        where=_aligns,
        controls=(SILENT,),
    ),
    Claim(
        id="noise_on_shrinks",
        statement="The first layer shrinks while the noise is on.",
        metric="on_log_drop",
        bound=above(0.5),
        where=_falls_in_stairs,
        controls=(Control("noise off", metric="off_log_drop"),),
        preset="on_off",
    ),
    Claim(
        id="noise_off_keeps",
        statement="The first layer keeps its norm while the noise is off.",
        metric="off_log_drop",
        bound=between(-0.05, 0.05),
        where=_falls_in_stairs,
        controls=(Control("noise on", metric="on_log_drop"),),
        preset="on_off",
    ),
    Claim(
        id="kick_shrinks",
        statement="Kicks to the second layer shrink the first at the predicted rate, without any noise.",
        metric="kick_rate_corrected",
        bound=between(0.9, 1.1),
        where=_kicks_alone,
        controls=(Control("without kicks", {"kick_std": 0.0}),),
        preset="kick",
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Four panels for one run, or a band over several; also while the history grows."""
    step = Axis("step", range=(0, history.config.steps))
    return [
        Panel("First-layer norm", step, Axis("‖W‖²", log=True), _norm(history)),
        Panel("Alignment and kernel change", step, Axis("alignment, kernel change"), _phases(history)),
        Panel("Neurons: first and second layer", step, Axis("‖w<sub>j</sub>‖ and a<sub>j</sub>"), _neurons(history)),
        Panel("Training loss without the noise", step, Axis("loss", log=True), _loss(history)),
    ]


def _norm(history: History) -> list[Mark]:
    """|W|^2 with the theory that applies: flow and end line, the rate of kicks, or the noise-free end."""
    config, t = history.config, history.at("w2")
    marks: list[Mark] = [median_line("measured", t, history["w2"], LAYER1)]
    if config.fresh:
        marks.append(median_line("flow", t, history["flow_w2"], GREY, dash=True))
        marks.append(Level("end of the flow: √d ‖β*‖/s", y=config.end_norm))
    elif config.kick_std > 0:
        marks.append(_kick_law(history))
    else:
        marks.append(Level("noise-free theory", y=sum(config.noise_free_norms)))
    if config.noise_period > 0:
        switches = np.arange(0, config.steps + 1, max(1, config.steps // 600))
        height = np.where(noise_is_on(switches, config.noise_period), 0.7 * config.end_norm, np.nan)
        marks.append(Line("noise is on", switches, height, RED, width=6))
    return marks


def _kick_law(history: History) -> Line:
    """Fall at the rate 2 lr c^2/m times its step-size factor, from the measured norm at a quarter of the steps on."""
    config, t = history.config, history.at("w2")
    rows = np.flatnonzero(t >= config.steps / 4)
    t, W2 = t[rows], np.median(history["w2"][rows], axis=1)  # (T',)
    factor = kick_factor(W2, config.lr, config.dim, config.width)
    time = cumulative_trapezoid(factor, t, initial=0) if len(rows) else t
    law = W2[:1] * np.exp(-2 * config.lr * config.kick_std**2 / config.width * time)
    return Line("law of kicks, rate 2ηc²/m", t, law, GREY, dash=True)


def _phases(history: History) -> list[Mark]:
    """Alignment with the truth and change of the tangent kernel."""
    config, t = history.config, history.at("align")
    along, across = config.noise_free_norms
    marks: list[Mark] = [
        median_line("kernel change ‖ΔK‖/‖K₀‖", t, history["ntk"], KERNEL),
        median_line("alignment with β*", t, history["align"], ALIGNMENT),
    ]
    if config.fresh:
        marks.append(median_line("flow: alignment", t, history["flow_align"], GREY, dash=True))
    marks.append(Level("alignment without noise", y=along / (along + across), color=ALIGNMENT))
    marks.append(Level("one half", y=0.5))
    if (half := half_time(config)) < config.steps:
        marks.append(Level("alignment ½: t = L/2k₀", x=half))
    return marks


def _neurons(history: History) -> list[Mark]:
    """Single neurons of one run; over several runs the root mean square over neurons."""
    config, t = history.config, history.at("w2")
    if len(history.seeds) > 1:
        w_rms, a_rms = np.sqrt(history["w2"] / config.width), np.sqrt(history["a2"] / config.width)
        return [
            median_line("rms ‖w<sub>j</sub>‖", t, w_rms, LAYER1),
            median_line("rms a<sub>j</sub>", t, a_rms, LAYER2),
        ]
    norms, a = history["row_norm"][:, 0], history["a"][:, 0]  # (T, 8)
    return [
        Line(name, t, values[:, j], color, width=1.2, legend=j == 0)
        for name, values, color in (("‖w<sub>j</sub>‖", norms, LAYER1), ("a<sub>j</sub>", a, LAYER2))
        for j in range(values.shape[1])
    ]


def _loss(history: History) -> list[Mark]:
    """Loss against the true labels, and the noise that training adds to it."""
    config = history.config
    marks: list[Mark] = [median_line("noise-free loss", history.at("loss"), history["loss"], TRAIN)]
    if config.noise_std > 0:
        marks.append(Level("label noise τ²/2", y=config.noise_std**2 / 2))
    return marks


# ---- The record ----

EXPERIMENT = Experiment(
    name="label_noise.linear",
    title="Two-phase label noise",
    question="Does fresh label noise turn a lazy two-layer linear net into a rich one, in two phases, "
    "as the flow predicts?",
    paper="2603.10397",
    seconds=2.2,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    predictions={"t_align": half_time},
    borders={"alignment ½ at the end": lambda c: c.excess if c.fresh or c.rate == c.kick_std == 0 else math.nan},
)
