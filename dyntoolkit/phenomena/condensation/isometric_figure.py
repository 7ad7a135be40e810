"""The figure of `condensation.isometric`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import GREY, MEASURED, ORANGE, PURPLE, TRAIN, Axis, Level, Line, Panel, median_line

STEP = Axis("step")


def panels(history: History) -> list[Panel]:
    """The difference of the two ways; their losses; lengths of the wide network's neurons by either way."""
    known = "loss" in history
    steps = history.at("loss") if known else np.empty(0)
    none = np.empty((0, len(history.seeds)))
    error, loss, wide = (history[name] if known else none for name in ("commute_error", "loss", "wide_loss"))
    mapped, trained = (history.last(name)[0] if known else np.empty(0) for name in ("mapped", "wide"))
    most = float(max(mapped.max(initial=0), trained.max(initial=0))) or 1.0
    split_first = median_line("split, then trained", steps, wide, ORANGE, dash=True)
    lengths = [
        Line("neuron", mapped, trained, MEASURED, markers="points"),
        Line("equal", np.array([0, most]), np.array([0, most]), GREY, dash=True),
    ]
    return [
        Panel(
            "Difference of the two ways",
            STEP,
            Axis("|T(θ) - η| / |η|", log=True, range=(1e-17, 10)),
            [median_line("measured", steps, np.maximum(error, 1e-17), PURPLE), Level("threshold", y=1e-12)],
        ),
        Panel(
            "Loss", STEP, Axis("loss", log=True), [median_line("trained, then split", steps, loss, TRAIN), split_first]
        ),
        Panel(
            "Lengths of the wide neurons", Axis("|w|, trained then split"), Axis("|w|, split then trained"), [*lengths]
        ),
    ]
