"""The figure of `grokking.modular`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import GREEN, TEST, TRAIN, Axis, Heat, Level, Panel
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.phenomena.grokking.delay_figure import course_map, delay_marks
from dyntoolkit.phenomena.grokking.modular_claims import accuracy_times
from dyntoolkit.probes.fourier_concentration import random_concentration

FRAMES = 60  # points of the geometric grid of steps


def panels(history: History) -> list[Panel]:
    """Losses; accuracies with the neurons' concentration; gains of the modes; the neurons' spectra as they are now.

    The two maps show the first run.
    """
    return [_losses(history), _accuracies(history), _gains(history), _spectrum(history)]


def _losses(history: History) -> Panel:
    return Panel(
        "Loss",
        log_steps(history),
        Axis("squared error, sum over classes", log=True),
        [
            recorded_line(history, "train_loss", "train", TRAIN, start=1),
            recorded_line(history, "test_loss", "test", TEST, start=1),
            Level("start, by theory: 1 + 3 s⁶/p", y=history.config.start_loss),
        ],
    )


def _accuracies(history: History) -> Panel:
    (steps, train), (_, test) = recorded(history, "train_accuracy", 1), recorded(history, "test_accuracy", 1)
    return Panel(
        "Accuracy and concentration",
        log_steps(history),
        Axis("share", range=(0, 1.03)),
        [
            recorded_line(history, "train_accuracy", "train accuracy", TRAIN, start=1),
            recorded_line(history, "test_accuracy", "test accuracy", TEST, start=1),
            recorded_line(history, "concentration", "Fourier concentration", GREEN, start=1),
            Level("random neurons", y=random_concentration(history.config.modulus)),
            *delay_marks(*accuracy_times(steps, train, test), "train > 0.95", "test > 0.9"),
        ],
    )


def _gains(history: History) -> Panel:
    heat = course_map(history, "gains", FRAMES, np.arange(1, history.config.modes + 1), "gain g<sub>k</sub>", 1.2)
    return Panel("Gain of each mode (exact: 1)", log_steps(history), Axis("Fourier mode k"), [heat])


def _spectrum(history: History) -> Panel:
    """Share of each mode in each neuron, the neurons in the order of their strongest mode."""
    config = history.config
    shares = np.full((config.width, config.modes), np.nan)
    if "spectrum" in history:
        shares = history.last("spectrum")[0]
        shares = shares[np.lexsort((-shares.max(1), shares.argmax(1)))]
    modes, neurons = np.arange(1, config.modes + 1), np.arange(1, config.width + 1)
    heat = Heat("share of the power", modes, neurons, shares, 0.0, 1.0)
    return Panel("What neurons listen to", Axis("Fourier mode k"), Axis("neuron, sorted"), [heat])
