"""The figure of `grokking.digits`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.panels import GREEN, PURPLE, TEST, TRAIN, Axis, Level, Line, Panel, median_line


def panels(history: History) -> list[Panel]:
    """Losses; accuracies; high-frequency share with the line of the labels; errors of the two parts."""
    step = Axis("step", log=True, range=(1, history.config.steps))
    target = float(np.median(history["hf_target"][0])) if "hf_target" in history else np.nan
    return [
        Panel(
            "Loss",
            step,
            Axis("mean squared error", log=True),
            [_course(history, "train_loss", "train", TRAIN), _course(history, "test_loss", "test", TEST)],
        ),
        Panel(
            "Accuracy",
            step,
            Axis("share of images", range=(0, 1.03)),
            [_course(history, "train_accuracy", "train", TRAIN), _course(history, "test_accuracy", "test", TEST)],
        ),
        Panel(
            "High frequencies in the test outputs",
            step,
            Axis("share of ‖F‖²", range=(0, 1.03)),
            [_course(history, "hf", "outputs", TEST), Level("labels", y=target)],
        ),
        Panel(
            "Error by frequency, on test images",
            step,
            Axis("relative error", log=True),
            [_course(history, "e_low", "low", GREEN), _course(history, "e_high", "high", PURPLE)],
        ),
    ]


def _course(history: History, name: str, label: str, color: str) -> Line:
    """A quantity from step 1 on: a logarithmic axis has no place for step 0."""
    if name not in history:
        return median_line(label, np.empty(0), np.empty((0, len(history.seeds))), color)
    return median_line(label, history.at(name)[1:], history[name][1:], color)
