"""The figure of `label_noise.diagonal`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import (
    ALIGNMENT,
    BASELINE,
    GREY,
    KERNEL,
    LAYER1,
    MEASURED,
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Panel,
)
from dyntoolkit.figure.recorded import recorded_line


def panels(history: History) -> list[Panel]:
    """Losses; the coefficients, sorted; |beta|_1 and the size of the weights; kernel change and cosine."""
    config, step = history.config, Axis("step", range=(0, history.config.steps))
    return [
        Panel(
            "Loss without the noise",
            step,
            Axis("half the mean squared error", log=True),
            [
                recorded_line(history, "train", "training points", TRAIN),
                recorded_line(history, "test", "all possible points", TEST),
            ],
        ),
        _coefficients(history),
        Panel(
            "What the noise minimizes",
            step,
            Axis("sum over coordinates"),
            [
                recorded_line(history, "size", "Σ u² + v²", LAYER1),
                recorded_line(history, "l1", "‖β‖₁", BASELINE),
                Level("‖β*‖₁", y=float(config.n_nonzero)),
            ],
        ),
        Panel(
            "Kernel change and direction",
            step,
            Axis("‖ΔK‖/‖K₀‖, cosine"),
            [
                recorded_line(history, "ntk", "change of the tangent kernel", KERNEL),
                recorded_line(history, "cos", "cos(β, β*)", ALIGNMENT),
            ],
        ),
    ]


def _coefficients(history: History) -> Panel:
    """beta of the first run in the order of the truth, then of its size."""
    config, beta, truth = history.config, np.empty(0), np.empty(0)
    if "truth" in history:
        beta, truth = history.last("beta")[0], history["truth"][0, 0]
    order: Array = np.lexsort((-beta, -truth))
    border = config.n_nonzero + 0.5
    return Panel(
        "Coefficients now",
        Axis("coordinate, the true ones first", log=True),
        Axis("β"),
        [
            Line("model", np.arange(1.0, len(beta) + 1), beta[order], MEASURED, markers="points"),
            Line("truth", np.array([0.9, border, border, config.dim]), np.array([1.0, 1.0, 0.0, 0.0]), GREY, dash=True),
        ],
    )
