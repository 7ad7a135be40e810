"""The figure of `grokking.digits`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import GREEN, PURPLE, TEST, TRAIN, Axis, Level, Panel
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.phenomena.grokking.delay_figure import delay_marks
from dyntoolkit.phenomena.grokking.digits_claims import accuracy_times


def panels(history: History) -> list[Panel]:
    """Losses; accuracies; high-frequency share with the line of the labels; errors of the two parts."""
    step, (steps, train), (_, test) = (
        log_steps(history),
        recorded(history, "train_accuracy", 1),
        recorded(history, "test_accuracy", 1),
    )
    target = float(np.median(history["hf_target"][0])) if "hf_target" in history else np.nan
    return [
        Panel(
            "Loss",
            step,
            Axis("mean squared error", log=True),
            [
                recorded_line(history, "train_loss", "train", TRAIN, start=1),
                recorded_line(history, "test_loss", "test", TEST, start=1),
            ],
        ),
        Panel(
            "Accuracy",
            step,
            Axis("share of images", range=(0, 1.03)),
            [
                recorded_line(history, "train_accuracy", "train", TRAIN, start=1),
                recorded_line(history, "test_accuracy", "test", TEST, start=1),
                *delay_marks(*accuracy_times(steps, train, test), "train > 0.95", "test > 0.85"),
            ],
        ),
        Panel(
            "High frequencies in the test outputs",
            step,
            Axis("share of ‖F‖²", range=(0, 1.03)),
            [recorded_line(history, "hf", "outputs", TEST, start=1), Level("labels", y=target)],
        ),
        Panel(
            "Error by frequency, on test images",
            step,
            Axis("relative error", log=True),
            [
                recorded_line(history, "e_low", "low", GREEN, start=1),
                recorded_line(history, "e_high", "high", PURPLE, start=1),
            ],
        ),
    ]
