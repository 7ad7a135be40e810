"""What `label_noise.linear` reports of a run, and the sentences of the paper judged by it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dyntoolkit.claims import Bounds, Claim, Control, Metrics
from dyntoolkit.engine.history import History
from dyntoolkit.phenomena.label_noise.flow import kick_factor
from dyntoolkit.phenomena.label_noise.linear_config import Config
from dyntoolkit.probes.crossing_times import first_above, first_value

Array = np.ndarray
END = 5  # frames whose mean is "the end"


def metrics(history: History) -> dict[str, Array]:
    """Every quantity of the recipe, name -> (R,); NaN for "never" and "does not apply".

    A history that still grows, or was stopped, is judged as far as it goes; a diverged run by its frozen state.
    """
    t, W2, align, ntk = (history.at("w2"), history["w2"], history["align"], history["ntk"])  # (T,), (T, R) each
    config, at_end = history.config, {name: history[name][-END:].mean(0) for name in ("w2", "align", "ntk", "erank")}
    beta_norm = np.array([c.target_norm for c in history.configs])
    t_ntk, t_align = first_above(t, ntk, 0.5), first_above(t, align, 0.5)
    on, off = log_drops(t, W2, config.noise_period, 0), log_drops(t, W2, config.noise_period, config.noise_period)
    return {
        "w2_ratio": at_end["w2"] / W2[0],
        "align_end": at_end["align"],
        "ntk_end": at_end["ntk"],
        "erank_end": at_end["erank"],
        "a_rms_end": np.sqrt(history["a2"][-END:].mean(0) / config.width),
        "loss_end": history["loss"][-END:].mean(0),
        "t_ntk": t_ntk,
        "t_align": t_align,
        "phase_ratio": t_align / t_ntk,
        "align_at_half": first_value(align, W2 / W2[0] < 0.5),
        "end_norm_ratio": at_end["w2"] * config.scale / (np.sqrt(config.dim) * beta_norm),
        "on_log_drop": on,
        "off_log_drop": off,
        **kick_rates(history, t, W2),
        "flow_w2_error": largest(np.abs(history["flow_w2"] - W2) / W2),
        "flow_align_error": largest(np.abs(history["flow_align"] - align)),
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
    config, rows = history.config, np.flatnonzero(t >= history.config.steps / 4)
    void = np.full(W2.shape[1], np.nan)
    if len(rows) < 2:
        return {"kick_rate_ratio": void, "kick_rate_corrected": void}
    lr, c = (np.array([getattr(config, name) for config in history.configs]) for name in ("lr", "kick_std"))
    window, span = slice(rows[0], None), t[-1] - t[rows[0]]
    rate = (np.log(W2[rows[0]]) - np.log(W2[-1])) / span
    law = np.where(c > 0, 2 * lr * c**2 / config.width, np.nan)
    gain = kick_factor(W2[window], lr, config.dim, config.width)  # (T', R)
    mean_gain = np.trapezoid(gain, t[window], axis=0) / span
    with np.errstate(all="ignore"):  # a vanishing kick has no rate to compare with
        return {"kick_rate_ratio": rate / law, "kick_rate_corrected": rate / law / mean_gain}


def largest(errors: Array) -> Array:
    """The largest of errors (T, R) over time where there are any, (R,); NaN where there are none."""
    return np.asarray(np.fmax.reduce(errors, axis=0))


def _sharp(c: Config) -> bool:
    return c.fresh and c.excess >= 2.3 and c.target_norm / ((c.width * c.dim) ** 0.5 * c.init_scale**2) <= 0.04


def _aligned(c: Config) -> bool:
    enough = (c.excess >= 2.3 and c.lr <= 0.05) if c.sam_rho > 0 else c.excess >= 3.2
    return c.fresh and enough and c.noise_std <= 2.5 and c.whiten


def _flow(c: Config) -> bool:
    small = c.noise_std <= 2 and c.init_scale >= 0.2 and c.width >= 48 and c.dim >= 6
    if c.sam_rho > 0:
        return c.fresh and small and c.noise_std == 0 and c.sam_rho <= 0.5 and c.lr <= 0.05
    return c.fresh and small and c.lr <= 0.2 and c.batch >= 10


def _on_off(c: Config) -> bool:
    fall = 2 * c.rate * c.noise_period
    return c.fresh and c.sam_rho == 0 and c.steps >= 4 * c.noise_period and 0.6 < fall < c.log_ratio / 3


def _kick(c: Config) -> bool:
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
STRONG = Control("noise 3: flow further off", {"noise_std": 3.0, "sam_rho": 0.0}, exceeds=True)

CLAIMS = (
    Claim("w_shrinks", "The first layer shrinks.", "w2_ratio", Bounds(high=0.05), _sharp, (SILENT, FROZEN)),
    Claim("aligned", "The neurons align with the truth.", "align_end", Bounds(low=0.9), _aligned, (SILENT, FROZEN)),
    Claim(
        "kernel_moves", "The tangent kernel moves far: training is rich.", "ntk_end", Bounds(low=0.8), _sharp, (SILENT,)
    ),
    Claim(
        "two_phases",
        "The kernel moves long before the neurons align: two phases.",
        "phase_ratio",
        Bounds(low=3.0),
        lambda c: c.fresh and c.log_ratio >= 2.8 and c.excess >= 1,
        (SILENT,),
    ),
    Claim(
        "shrinks_first",
        "While the first layer shrinks to half, the alignment stays at chance (d times the alignment).",
        "align_at_half",
        Bounds(high=2.0),
        lambda c: c.fresh and c.log_ratio >= 2.5 and c.excess >= 1,
        value=_chance_units,
    ),
    Claim("flow_w2", "The flow predicts the first-layer norm.", "flow_w2_error", Bounds(high=0.15), _flow, (STRONG,)),
    Claim("flow_align", "The flow predicts the alignment.", "flow_align_error", Bounds(high=0.1), _flow, (STRONG,)),
    Claim(
        "end_norm",
        "The first layer ends at the norm √d |β*|/s.",
        "end_norm_ratio",
        Bounds(0.9, 1.1),
        _aligned,
        (SILENT,),
    ),
    Claim(
        "noise_on_shrinks",
        "The first layer shrinks while the noise is on.",
        "on_log_drop",
        Bounds(low=0.5),
        _on_off,
        (Control("noise off", metric="off_log_drop"),),
        preset="on_off",
    ),
    Claim(
        "noise_off_keeps",
        "The first layer keeps its norm while the noise is off.",
        "off_log_drop",
        Bounds(-0.05, 0.05),
        _on_off,
        (Control("noise on", metric="on_log_drop"),),
        preset="on_off",
    ),
    Claim(
        "kick_shrinks",
        "Kicks to the second layer shrink the first at the predicted rate, without any noise.",
        "kick_rate_corrected",
        Bounds(0.9, 1.1),
        _kick,
        (Control("without kicks", {"kick_std": 0.0}),),
        preset="kick",
    ),
)
