"""What `label_noise.linear` reports of a run, and the sentences of the paper judged by it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Claim, Control, Metrics, Sweep, above, below, between
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
        where=_sharp,
        controls=(SILENT, FROZEN),
    ),
    Claim(
        id="aligned",
        statement="The neurons align with the truth.",
        metric="align_end",
        bound=above(0.9),
        where=_aligned,
        controls=(SILENT, FROZEN),
    ),
    Claim(
        id="kernel_moves",
        statement="The tangent kernel moves far: training is rich.",
        metric="ntk_end",
        bound=above(0.8),
        where=_sharp,
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
        where=_flow,
        controls=(further_off("flow_w2_error"),),
    ),
    Claim(
        id="flow_align",
        statement="The flow predicts the alignment.",
        metric="flow_align_error",
        bound=below(0.1),
        where=_flow,
        controls=(further_off("flow_align_error"),),
    ),
    Claim(
        id="end_norm",
        statement="The first layer ends at the norm √d |β*|/s.",
        metric="end_norm_ratio",
        bound=between(0.9, 1.1),
        where=_aligned,
        controls=(SILENT,),
    ),
    Claim(
        id="noise_on_shrinks",
        statement="The first layer shrinks while the noise is on.",
        metric="on_log_drop",
        bound=above(0.5),
        where=_on_off,
        controls=(Control("noise off", metric="off_log_drop"),),
        preset="on_off",
    ),
    Claim(
        id="noise_off_keeps",
        statement="The first layer keeps its norm while the noise is off.",
        metric="off_log_drop",
        bound=between(-0.05, 0.05),
        where=_on_off,
        controls=(Control("noise on", metric="on_log_drop"),),
        preset="on_off",
    ),
    Claim(
        id="kick_shrinks",
        statement="Kicks to the second layer shrink the first at the predicted rate, without any noise.",
        metric="kick_rate_corrected",
        bound=between(0.9, 1.1),
        where=_kick,
        controls=(Control("without kicks", {"kick_std": 0.0}),),
        preset="kick",
    ),
)
