"""The figure of `loss_spikes.quadratic`; its lines are those of the first run, for nothing in it is random."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import BLUE, GREY, PURPLE, RED, SKY, Axis, Level, Line, Panel
from dyntoolkit.phenomena.loss_spikes.quadratic_claims import (
    Run,
    envelope,
    growth,
    observed_crossing,
    peaks,
    predicted_crossing,
    run,
)

STEP = Axis("step")
NOTHING = Run(*[np.empty(0)] * len(Run._fields))
SMALLEST, LARGEST = 1e-36, 1e36  # the browser gets float32 numbers; what is smaller or larger leaves a gap


def panels(history: History) -> list[Panel]:
    """The loss with its spikes; the curvature with its predicted crossing; g^2 and v; |theta| with its closed form."""
    config = history.config
    seen = run(history, 0) if "loss" in history else NOTHING
    steps, begun = np.arange(len(seen.loss)), len(seen.loss) > 0
    tops = peaks(seen.loss) if begun else np.empty(0, dtype=int)
    upper = 10 ** envelope(seen.loss) if begun else np.empty(0)
    start, line = growth(seen, config) if begun else (-1, np.empty(0))
    predicted, observed = (f(seen, config) if begun else np.nan for f in (predicted_crossing, observed_crossing))
    return [
        Panel(
            "Loss",
            STEP,
            Axis("L = h θ² / 2, upper envelope", log=True),
            [
                Line("loss", steps, _shown(upper), BLUE, width=1.2),
                Line("spike", tops, _shown(upper[tops]), RED, markers="points"),
            ],
        ),
        Panel(
            "Curvature × η/2",
            STEP,
            Axis("λ η / 2", log=True),
            [
                Line("λ", steps, seen.curvature * config.lr / 2, BLUE, width=1.2),
                Level("stability limit", y=1.0),
                Level("predicted crossing", x=predicted),
                Level("observed", x=observed, color=RED),
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
        Panel(
            "Distance from the minimum",
            STEP,
            Axis("|θ|", log=True),
            [
                Line("|θ|", steps, _shown(np.abs(seen.theta)), BLUE, width=1.0),
                Line(
                    "closed form (β₁ = 0)",
                    start + np.arange(len(line)),
                    _shown(10 ** np.minimum(line, 300)),
                    GREY,
                    dash=True,
                ),
            ],
        ),
    ]


def _shown(values: Array) -> Array:
    """The values that a figure can show."""
    return np.where((values > SMALLEST) & (values < LARGEST), values, np.nan)
