"""The figure of `loss_spikes.blocks`."""

import numpy as np

from dyntoolkit.engine.history import Array, History
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    RED,
    SKY,
    TEST,
    TRAIN,
    Axis,
    Bars,
    Level,
    Panel,
    median_line,
)
from dyntoolkit.phenomena.loss_spikes.blocks_claims import ORDER, ratio

COLORS = dict(zip(ORDER, (SKY, PURPLE, BLUE, RED, GREEN, GREY), strict=True))


STEP = Axis("step")


def panels(history: History) -> list[Panel]:
    """Average sharpness of each block against the step, and now; the ratios of the claims; the loss."""
    at, measured = _known(history, "sharpness", len(ORDER))  # (T,), (T, R, 6)
    curves = [median_line(name, at, measured[..., b], COLORS[name], markers="both") for b, name in enumerate(ORDER)]
    return [
        Panel("Average sharpness by block", STEP, Axis("average sharpness", log=True), [*curves]),
        _now(measured),
        _ratios(history, at),
        _loss(history),
    ]


def _known(history: History, name: str, *shape: int) -> tuple[Array, Array]:
    """The steps (T,) and values (T, R, *shape) measured so far, perhaps none."""
    if name not in history:
        return np.empty(0), np.empty((0, len(history.seeds), *shape))
    return history.at(name), history[name]


def _now(measured: Array) -> Panel:
    """The newest measurement in the paper's order, in decades above FFN; the median over the runs."""
    newest = measured[-1] if len(measured) else np.full((1, len(ORDER)), np.nan)  # (R, 6)
    logs = np.log10(np.maximum(newest, np.finfo(np.float32).tiny))
    decades = np.median(logs - logs[:, [ORDER.index("FFN")]], axis=0)  # (6,)
    bars = Bars("newest measurement", ORDER, decades, BLUE)
    return Panel("Now, in the paper's order", Axis("block"), Axis("decades above FFN"), [bars])


def _ratios(history: History, at: Array) -> Panel:
    """VO against FFN, and FFN against QK; above 1 where the blocks are in the paper's order."""
    none = np.empty((0, len(history.seeds)))
    lines = [
        median_line(f"{above}/{below}", at, ratio(history, above, below) if len(at) else none, color, markers="both")
        for above, below, color in (("VO", "FFN", COLORS["VO"]), ("FFN", "QK", COLORS["QK"]))
    ]
    return Panel("Ratios of the claims", STEP, Axis("ratio", log=True), [*lines, Level("equal", y=1.0)])


def _loss(history: History) -> Panel:
    """On the coming training batch and on the validation windows."""
    lines = [
        median_line("training batch", *_known(history, "loss"), TRAIN, width=1.2),
        median_line("validation", *_known(history, "validation"), TEST),
    ]
    return Panel("Loss", STEP, Axis("cross-entropy (nats)"), [*lines])
