"""The figure of `grokking.polynomial`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import (
    ALIGNMENT,
    BLUE,
    GREY,
    KERNEL,
    ORANGE,
    PURPLE,
    SKY,
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.figure.sweeps import Rows, by_field
from dyntoolkit.phenomena.grokking.delay_figure import delay_marks
from dyntoolkit.phenomena.grokking.polynomial_claims import relative_losses
from dyntoolkit.probes.crossing_times import first_below

TERMS = (("variance", SKY), ("misalignment", ORANGE), ("linear", PURPLE))


def panels(history: History) -> list[Panel]:
    """Losses with the floor of the kernel; stack of the three terms; norm and alignment; outputs against targets."""
    return [_losses(history), _terms(history), _weights(history), _outputs(history)]


def _losses(history: History) -> Panel:
    none = np.empty((0, len(history.seeds)))
    train, test = relative_losses(history) if "train_mse" in history else (none, none)
    floor = float(np.median(history["kernel_floor"][0])) if "kernel_floor" in history else np.nan
    steps = _steps(history)
    times = first_below(steps, train[1:], 0.1), first_below(steps, test[1:], 0.2)
    return Panel(
        "Loss / loss at step 0",
        log_steps(history),
        Axis("relative mean squared error", log=True),
        [
            median_line("train", steps, train[1:], TRAIN),
            median_line("test", steps, test[1:], TEST),
            Level("test loss of the initial kernel", y=floor, color=KERNEL),
            *delay_marks(*times, "train < 0.1", "test < 0.2"),
        ],
    )


def _steps(history: History) -> Array:
    return recorded(history, "train_mse", 1)[0]


def _terms(history: History) -> Panel:
    """Each term as a band on top of those before it; the median over several runs."""
    steps, runs = _steps(history), len(history.seeds)
    terms = history["terms"][1:] if "terms" in history else np.empty((0, runs, 3))
    top = np.cumsum(np.median(terms, axis=1), axis=1)  # (T, 3)
    bottom = top - np.median(terms, axis=1)
    marks: list[Mark] = [
        Line(name, steps, top[:, k], color, low=bottom[:, k], high=top[:, k], width=1.2)
        for k, (name, color) in enumerate(TERMS)
    ]
    test = history["test_mse"][1:] if "test_mse" in history else np.empty((0, runs))
    marks.append(Line("test loss", steps, np.median(test, axis=1), TEST, markers="points"))
    return Panel("Three terms of the test loss", log_steps(history), Axis("mean squared error"), marks)


def _weights(history: History) -> Panel:
    final = np.array([config.final_norm for config in history.configs])
    steps, norm = recorded(history, "norm", 1)
    return Panel(
        "Weights",
        log_steps(history),
        Axis("norm, alignment"),
        [
            median_line("‖w‖ / its end, by theory", steps, norm / final, BLUE),
            recorded_line(history, "alignment", "alignment with the target", ALIGNMENT, start=1),
            Level("end, by theory", y=1.0),
        ],
    )


def _outputs(history: History) -> Panel:
    """Outputs of the first run on the test points against their targets."""
    target, found = (history.last(name)[0] if name in history else np.empty(0) for name in ("target", "prediction"))
    most = float(target.max()) if len(target) else 1.0
    ends = np.array([0.0, most])
    return Panel(
        "Outputs on test points",
        Axis("target (b·x)²/2", range=(-0.03 * most, 1.03 * most)),
        Axis("output f(x)"),
        [Line("test points", target, found, TEST, markers="points"), Line("right", ends, ends, GREY, dash=True)],
    )


def sweep_panels(rows: Rows) -> list[Panel]:
    """Delay of finished runs against alpha: every run, and the mean of those that have one.

    Drawn are the runs that differ in nothing but alpha, with the settings of which most alphas are there.
    """
    runs = max(by_field(rows, "alpha").values(), key=len)
    found = {alpha: [metrics["delay"] for metrics in of_alpha] for alpha, of_alpha in runs.items()}
    known = {alpha: [delay for delay in delays if np.isfinite(delay)] for alpha, delays in found.items()}
    points = np.array([(alpha, delay) for alpha, delays in known.items() for delay in delays]).reshape(-1, 2)
    means = np.array([np.mean(delays) if delays else np.nan for delays in known.values()])
    marks: list[Mark] = [
        Line("runs", points[:, 0], points[:, 1], SKY, markers="points"),
        Line("mean of those that arrive", np.array(list(known)), means, BLUE, markers="both"),
    ]
    return [Panel("Delay of the test loss", Axis("laziness α", log=True), Axis("delay", log=True), marks)]
