"""The figure of `grokking.oned`: which frequencies the network has on training and on test points, and when."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import GREY, TEST, TRAIN, Axis, Line, Panel
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.phenomena.grokking.delay_figure import course_map, delay_marks
from dyntoolkit.phenomena.grokking.oned_claims import LEVEL
from dyntoolkit.probes.crossing_times import first_below

FRAMES = 100  # points of the geometric grid of steps
FREQUENCIES = np.arange(16)
STRONGEST = 0.7  # the upper end of the axes of |F|
HALF = 0.5  # |F| of a sine of amplitude 1, evenly sampled


def target(x: Array) -> Array:
    """sin 6x."""
    return np.asarray(np.sin(6 * x))


def test_points() -> Array:
    """1000 evenly spaced points in [-pi, pi], (1000,) float64."""
    return np.linspace(-np.pi, np.pi, 1000)


def panels(history: History) -> list[Panel]:
    """Losses and function; spectrum by step on the training points, and now; the same on the test points.

    The maps, the function and the stems show the first run.
    """
    known = "label_spectrum" in history
    labels = history["label_spectrum"][0, 0] if known else np.full(len(FREQUENCIES), np.nan)
    truth = np.where(FREQUENCIES == 6, HALF, 0.0)
    return [
        _losses(history),
        _function(history),
        _map(history, "train_spectrum", "On the training points"),
        _stems(history, "train_spectrum", "Training points now", labels, "labels", TRAIN),
        _map(history, "test_spectrum", "On the test points"),
        _stems(history, "test_spectrum", "Test points now", truth, "sin 6x", TEST),
    ]


def _losses(history: History) -> Panel:
    t_train, t_test = (first_below(*recorded(history, name, 1), LEVEL) for name in ("train_loss", "test_loss"))
    return Panel(
        "Loss",
        log_steps(history),
        Axis("mean squared error", log=True),
        [
            recorded_line(history, "train_loss", "train", TRAIN, start=1),
            recorded_line(history, "test_loss", "test", TEST, start=1),
            *delay_marks(t_train, t_test, f"train < {LEVEL}", f"test < {LEVEL}"),
        ],
    )


def _function(history: History) -> Panel:
    x, x_train, labels = test_points(), np.empty(0), np.empty(0)
    output = np.full(len(x), np.nan)
    if "output" in history:
        output, labels, x_train = history.last("output")[0], history["labels"][0, 0], history["train_x"][0, 0]
    return Panel(
        "Function",
        Axis("x", range=(-np.pi, np.pi)),
        Axis("f(x)", range=(-2.2, 2.2)),
        [
            Line("network", x, output, TEST),
            Line("training points", x_train, labels, TRAIN, markers="points"),
            Line("sin 6x", x, target(x), GREY, dash=True, width=1.5),
            Line("sin x, the alias", x, np.sin(x), GREY, dash=True, width=0.8),
        ],
    )


def _map(history: History, name: str, title: str) -> Panel:
    heat = course_map(history, name, FRAMES, FREQUENCIES, "|F<sub>k</sub>|", STRONGEST)
    return Panel(title, log_steps(history), Axis("frequency k"), [heat])


def _stems(history: History, name: str, title: str, truth: Array, label: str, color: str) -> Panel:
    """The outputs' spectrum at the last frame as points, that of what they should be as stems from 0."""
    now = history.last(name)[0] if name in history else np.full(len(FREQUENCIES), np.nan)
    gap = np.full(len(truth), np.nan)
    stems = np.stack([np.zeros(len(truth)), truth, gap], axis=1).ravel()
    heights = np.stack([FREQUENCIES, FREQUENCIES, gap], axis=1).ravel()
    return Panel(
        title,
        Axis("|F<sub>k</sub>|", range=(0, STRONGEST)),
        Axis("frequency k", range=(-0.5, 15.5)),
        [
            Line("outputs", now, FREQUENCIES.astype(np.float64), color, markers="points"),
            Line(label, stems, heights, GREY, dash=True),
        ],
    )
