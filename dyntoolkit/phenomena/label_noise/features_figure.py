"""The figure of `label_noise.features`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import ALIGNMENT, BLUE, ORANGE, TEST, Axis, Bars, Level, Panel
from dyntoolkit.figure.recorded import log_steps, recorded_line

CLEAN, FLIPPED = BLUE, ORANGE
EDGES = 10.0 ** np.arange(-2.5, 1.01, 0.5)  # of the bins of the losses; the outer bins take all beyond
NAMES = [f"{middle:.1g}" for middle in np.sqrt(EDGES[1:] * EDGES[:-1])]


def panels(history: History) -> list[Panel]:
    """Fits and test accuracy; signal and noise in the filters; losses now; how well losses tell samples apart."""
    step = log_steps(history)
    return [
        Panel(
            "Who is fitted when",
            step,
            Axis("share of samples", range=(0, 1.03)),
            [
                recorded_line(history, "clean_fit", "clean samples", CLEAN, start=1),
                recorded_line(history, "noisy_fit", "flipped samples", FLIPPED, start=1),
                recorded_line(history, "test", "test accuracy", TEST, start=1),
                *_times(history),
            ],
        ),
        Panel(
            "What the filters hold",
            step,
            Axis("γ, ρ"),
            [
                recorded_line(history, "gamma", "signal γ", ALIGNMENT, start=1),
                recorded_line(history, "rho", "noise ρ of clean samples", CLEAN, start=1),
                recorded_line(history, "rho_noisy", "noise ρ of flipped samples", FLIPPED, start=1),
            ],
        ),
        _losses(history),
        Panel(
            "Can the loss tell flipped samples?",
            step,
            Axis("P(flipped loss > clean loss)", range=(0, 1.03)),
            [
                recorded_line(history, "auc", "area under the ROC curve", TEST, start=1),
                Level("chance", y=0.5),
                *_times(history),
            ],
            note="" if history.config.flipped else "No label is flipped.",
        ),
    ]


def _times(history: History) -> list[Level]:
    """Where "early" is, and where samples are dropped."""
    select = history.config.select_step
    dropped = float(select) if 0 < select <= history.config.steps else np.nan
    return [Level("early", x=float(history.config.early_step)), Level("samples dropped", x=dropped, color=FLIPPED)]


def _losses(history: History) -> Panel:
    """How many samples of the first run have which loss now."""
    counts = [np.full(len(NAMES), np.nan)] * 2
    if "losses" in history:
        flipped = history["flipped"][0, 0] > 0
        losses = np.clip(history.last("losses")[0], EDGES[0], EDGES[-1] * 0.999)
        counts = [np.histogram(losses[group], EDGES)[0].astype(float) for group in (~flipped, flipped)]
    bars = [
        Bars(name, NAMES, n, color)
        for name, n, color in zip(("clean", "flipped"), counts, (CLEAN, FLIPPED), strict=True)
    ]
    return Panel("Losses of the training samples now", Axis("loss, about"), Axis("samples"), [*bars])
