"""The figure of `label_noise.refresh`."""

from dyntoolkit.course import course_line, log_steps
from dyntoolkit.engine.history import History
from dyntoolkit.panels import ALIGNMENT, ORANGE, TEST, TRAIN, Axis, Level, Panel


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
                course_line(history, "fit", f"training samples, {judged}", TRAIN, start=1),
                course_line(history, "test", "test samples", TEST, start=1),
                Level("guessing", y=0.5),
            ],
        ),
        Panel(
            "What the filters hold",
            step,
            Axis("γ, ρ"),
            [
                course_line(history, "gamma", "signal γ", ALIGNMENT, start=1),
                course_line(history, "rho", "noise ρ", ORANGE, start=1),
            ],
        ),
        Panel(
            "Training loss",
            step,
            Axis(f"loss, {judged}", log=True),
            [course_line(history, "loss", "train", TRAIN, start=1)],
        ),
    ]
