"""Metrics and claims of `loss_spikes.blocks`: which block is sharper than which, and when."""

from collections.abc import Callable

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array, Claim, Control, above
from dyntoolkit.phenomena.loss_spikes.blocks_config import BLOCKS, Config

ORDER = tuple(BLOCKS)  # of the measured sharpnesses


def ratio(history: History, above: str, below: str) -> Array:
    """Average sharpness of one block over that of another at every measurement, (T, R)."""
    measured = history["sharpness"].astype(np.float64)  # (T, R, 6)
    tiny = np.finfo(np.float32).tiny  # queries and keys start almost flat
    return np.asarray(measured[..., ORDER.index(above)] / np.maximum(measured[..., ORDER.index(below)], tiny))


def metrics(history: History) -> dict[str, Array]:
    """Ratios of average sharpnesses S, name -> (R,); NaN before a run has come so far.

    vo_ffn_min: least S_VO/S_FFN from 15 % of the steps on; vo_ffn_start: before training. ffn_qk_early: least
    S_FFN/S_QK up to 20 %; ffn_qk_late: median of it from 50 % on. norm_vo_late, emb_ffn_late: medians of S_Norm/S_VO
    and S_Emb/S_FFN from 50 % on. validation_end: the last loss on the validation windows, nats.
    """
    # a measurement lies at a rounded step
    done = (history.at("sharpness") + 0.5) / history.config.steps  # (T,)
    middle, late, early = done >= 0.15, done >= 0.5, history.at("sharpness") - 0.5 <= 0.2 * history.config.steps
    vo_ffn, ffn_qk = ratio(history, "VO", "FFN"), ratio(history, "FFN", "QK")
    return {
        "vo_ffn_min": _reduced(np.min, vo_ffn[middle]),
        "vo_ffn_start": vo_ffn[0],
        "ffn_qk_early": _reduced(np.min, ffn_qk[early]),
        "ffn_qk_late": _reduced(np.median, ffn_qk[late]),
        "norm_vo_late": _reduced(np.median, ratio(history, "Norm", "VO")[late]),
        "emb_ffn_late": _reduced(np.median, ratio(history, "Emb", "FFN")[late]),
        "validation_end": history.last("validation").astype(np.float64),
    }


def _reduced(function: Callable[..., Array], values: Array) -> Array:
    """Over the measurements (T', R) -> (R,); NaN where there is none."""
    return np.asarray(function(values, axis=0)) if len(values) else np.full(values.shape[1], np.nan)


def _measured(c: Config) -> bool:
    """Where it was measured: the default, and half its steps."""
    return c.steps in (200, 400) and c.replace(steps=400) == Config()


CLAIMS = (
    Claim(
        id="vo_above_ffn",
        statement="From 15 % of the steps on, value and output matrices are sharper than feed-forward ones.",
        metric="vo_ffn_min",
        bound=above(1.2),
        where=_measured,
        controls=(Control("before training", metric="vo_ffn_start"),),
    ),
    Claim(
        id="qk_below_ffn_early",
        statement="In the first 20 % of the steps, queries and keys are flatter than feed-forward matrices.",
        metric="ffn_qk_early",
        bound=above(1.0),
        where=lambda c: c == Config(),
    ),
)
