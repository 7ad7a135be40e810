"""The figure of `label_noise.refresh`."""

from dyntoolkit.engine.history import History
from dyntoolkit.panels import ALIGNMENT, ORANGE, TEST, TRAIN, Axis, Level, Panel
from dyntoolkit.phenomena.label_noise.features_figure import course


def panels(history: History) -> list[Panel]:
    """Accuracies; signal and noise in the filters; training loss."""
    step = Axis("step", log=True, range=(1, history.config.steps))
    judged = "true labels" if history.config.fresh_flips else "given labels"
    return [
        Panel(
            "Accuracy",
            step,
            Axis("share of samples", range=(0, 1.03)),
            [
                course(history, "fit", f"training samples, {judged}", TRAIN),
                course(history, "test", "test samples", TEST),
                Level("guessing", y=0.5),
            ],
        ),
        Panel(
            "What the filters hold",
            step,
            Axis("γ, ρ"),
            [
                course(history, "gamma", "signal γ", ALIGNMENT),
                course(history, "rho", "noise ρ", ORANGE),
            ],
        ),
        Panel("Training loss", step, Axis(f"loss, {judged}", log=True), [course(history, "loss", "train", TRAIN)]),
    ]
