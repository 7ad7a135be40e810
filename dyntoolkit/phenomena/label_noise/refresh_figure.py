"""The figure of `label_noise.refresh`."""

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import ALIGNMENT, ORANGE, TEST, TRAIN, Axis, Level, Panel
from dyntoolkit.figure.recorded import log_steps, recorded_line


def panels(history: History) -> list[Panel]:
    """Accuracies; signal and noise in the filters; training loss."""
    step = log_steps(history)
    judged = "true labels" if history.config.fresh_flips else "given labels"
    return [
        Panel(
            "Accuracy",
            step,
            Axis("share of samples", range=(0, 1.03)),
            [
                recorded_line(history, "fit", f"training samples, {judged}", TRAIN, start=1),
                recorded_line(history, "test", "test samples", TEST, start=1),
                Level("guessing", y=0.5),
            ],
        ),
        Panel(
            "What the filters hold",
            step,
            Axis("γ, ρ"),
            [
                recorded_line(history, "gamma", "signal γ", ALIGNMENT, start=1),
                recorded_line(history, "rho", "noise ρ", ORANGE, start=1),
            ],
        ),
        Panel(
            "Training loss",
            step,
            Axis(f"loss, {judged}", log=True),
            [recorded_line(history, "loss", "train", TRAIN, start=1)],
        ),
    ]
