"""The figure of `grokking.modular`."""

import numpy as np

from dyntoolkit.claims import Array
from dyntoolkit.engine.history import History
from dyntoolkit.engine.loop import geometrically
from dyntoolkit.panels import GREEN, TEST, TRAIN, Axis, Heat, Level, Panel, median_line
from dyntoolkit.probes.fourier_concentration import random_concentration

FRAMES = 60  # points of the geometric grid of steps


def panels(history: History) -> list[Panel]:
    """Losses; accuracies with the neurons' concentration; gains of the modes; the neurons' spectra as they are now.

    The two maps show the first run.
    """
    return [_losses(history), _accuracies(history), _gains(history), _spectrum(history)]


def _step(history: History) -> Axis:
    return Axis("step", log=True, range=(1, history.config.steps))


def _course(history: History, name: str) -> tuple[Array, Array]:
    """Steps (T,) and values (T, R) from step 1 on: a logarithmic axis has no place for step 0."""
    if name not in history:
        return np.empty(0), np.empty((0, len(history.seeds)))
    return history.at(name)[1:], history[name][1:]


def _losses(history: History) -> Panel:
    return Panel(
        "Loss",
        _step(history),
        Axis("squared error, sum over classes", log=True),
        [
            median_line("train", *_course(history, "train_loss"), TRAIN),
            median_line("test", *_course(history, "test_loss"), TEST),
            Level("start, by theory: 1 + 3 s⁶/p", y=history.config.start_loss),
        ],
    )


def _accuracies(history: History) -> Panel:
    return Panel(
        "Accuracy and concentration",
        _step(history),
        Axis("share", range=(0, 1.03)),
        [
            median_line("train accuracy", *_course(history, "train_accuracy"), TRAIN),
            median_line("test accuracy", *_course(history, "test_accuracy"), TEST),
            median_line("Fourier concentration", *_course(history, "concentration"), GREEN),
            Level("random neurons", y=random_concentration(history.config.modulus)),
        ],
    )


def _gains(history: History) -> Panel:
    """The gains g_k over the whole grid of steps, with gaps where the run has not come yet."""
    config = history.config
    grid = np.array(geometrically(config.steps, FRAMES)[1:])
    gains = np.full((config.modes, len(grid)), np.nan)
    if "gains" in history:
        known = history["gains"][1:, 0]  # (T, K)
        gains[:, : len(known)] = known.T
    modes = np.arange(1, config.modes + 1)
    heat = Heat("gain g<sub>k</sub>", grid.astype(np.float64), modes, gains, 0.0, 1.2)
    return Panel("Gain of each mode (exact: 1)", _step(history), Axis("Fourier mode k"), [heat])


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
