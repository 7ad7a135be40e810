"""The figure of `grokking.parity`: losses, accuracies, and the outputs' spectrum by sets of bits and by frequency."""

from collections import defaultdict

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import (
    ALIGNMENT,
    BASELINE,
    GREY,
    MEASURED,
    TEST,
    TRAIN,
    Axis,
    Level,
    Line,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import log_steps, recorded, recorded_line
from dyntoolkit.figure.sweeps import Rows
from dyntoolkit.phenomena.grokking.delay_figure import course_map, delay_marks
from dyntoolkit.phenomena.grokking.parity_claims import LOW, accuracy_times, expected_alias
from dyntoolkit.phenomena.grokking.parity_config import Config

FRAMES = 60  # points of the geometric grid of steps
FREQUENCIES = np.linspace(0, np.pi, 65)  # q along the direction of all ones
SHARES = np.round(np.arange(0.1, 0.91, 0.05), 2)  # of the cube, for the labels' alias weight


def panels(history: History) -> list[Panel]:
    """Losses; accuracies; weight by degree and step; the true set against others; the labels; |F_q|.

    The map and the last spectrum show the first run.
    """
    return [
        _losses(history),
        _accuracies(history),
        _degrees(history),
        _sets(history),
        _labels(history),
        _spectrum(history),
    ]


def _losses(history: History) -> Panel:
    return Panel(
        "Loss",
        log_steps(history),
        Axis("mean squared error", log=True),
        [
            recorded_line(history, "train_loss", "train", TRAIN, start=1),
            recorded_line(history, "test_loss", "test", TEST, start=1),
            Level("an output of 0", y=1.0),
        ],
    )


def _accuracies(history: History) -> Panel:
    (steps, train), (_, test) = recorded(history, "train_accuracy", 1), recorded(history, "test_accuracy", 1)
    return Panel(
        "Accuracy",
        log_steps(history),
        Axis("share of right signs", range=(0, 1.03)),
        [
            recorded_line(history, "train_accuracy", "train", TRAIN, start=1),
            recorded_line(history, "test_accuracy", "test", TEST, start=1),
            *delay_marks(*accuracy_times(steps, train, test), "train > 0.95", "test > 0.9"),
        ],
    )


def _degrees(history: History) -> Panel:
    config: Config = history.config
    heat = course_map(history, "weights", FRAMES, np.arange(config.n_bits + 1), "share", 1.0)
    return Panel(f"Outputs by degree (truth: {config.k})", log_steps(history), Axis("bits in the product"), [heat])


def _sets(history: History) -> Panel:
    return Panel(
        "True product against others",
        log_steps(history),
        Axis("share of the Walsh weight", range=(0, 1.03)),
        [
            recorded_line(history, "share", "true product", ALIGNMENT, start=1),
            recorded_line(history, "false_low", f"others of 1 to {LOW} bits", BASELINE, start=1),
        ],
    )


def _labels(history: History) -> Panel:
    """What the labels alone hold in low degrees, by training share: nothing of it is trained."""
    config: Config = history.config
    curve = history["alias_curve"][0].T if "alias_curve" in history else np.empty((0, len(history.seeds)))
    own = history["alias"][0] if "alias" in history else np.empty(0)
    return Panel(
        f"Products of 1 to {LOW} bits in the labels",
        Axis("training share", range=(0, 1)),
        Axis("Walsh weight", log=True),
        [
            median_line("training labels", SHARES if len(curve) else np.empty(0), curve, MEASURED),
            Line("this run's share", np.full(len(own), config.train_fraction), own, TEST, markers="points"),
            Line("theory", SHARES, expected_alias(config, SHARES * config.points), GREY, dash=True),
        ],
    )


def _spectrum(history: History) -> Panel:
    """Along the direction of all ones the target has |F_q| = |cos q|^(n - k) |sin q|^k."""
    config: Config = history.config
    q, none = FREQUENCIES, np.full(len(FREQUENCIES), np.nan)
    whole, chosen = (
        history.last(f"{name}_spectrum")[0] if f"{name}_spectrum" in history else none for name in ("cube", "train")
    )
    truth = np.abs(np.cos(q)) ** (config.n_bits - config.k) * np.abs(np.sin(q)) ** config.k
    return Panel(
        "Frequencies along (1, …, 1), now",
        Axis("frequency q", range=(0, np.pi)),
        Axis("|F<sub>q</sub>|"),
        [
            Line("outputs on training points", q, chosen, TRAIN),
            Line("outputs on the whole cube", q, whole, TEST),
            Line("target on the whole cube", q, truth, GREY, dash=True),
        ],
    )


def sweep_panels(rows: Rows) -> list[Panel]:
    """Alias weight of the labels against theory, and the peak of the test loss, by training share.

    Each from the runs whose product takes all bits; the mean over seeds with a band from the smallest to the largest.
    """
    alias: dict[float, list[float]] = defaultdict(list)
    peak: dict[float, list[float]] = defaultdict(list)
    like = None
    for (config, _), row in rows.items():
        if config.k == config.n_bits:
            like = config
            alias[config.train_fraction].append(row["alias_low_degree"])
            if config.init_scale == 1:
                peak[config.train_fraction].append(row["test_peak"])
    theory = (
        [] if like is None else [Line("theory", SHARES, expected_alias(like, SHARES * like.points), GREY, dash=True)]
    )
    share = Axis("training share", range=(0, 1))
    return [
        Panel(
            "Low degrees in the labels of the full product",
            share,
            Axis("Walsh weight of 1 to 4 bits", log=True),
            [_means("mean over seeds", alias, MEASURED), *theory],
        ),
        Panel("Bump of the test loss", share, Axis("largest test loss"), [_means("mean over seeds", peak, TEST)]),
    ]


def _means(name: str, values: dict[float, list[float]], color: str) -> Line:
    x = np.array(sorted(values))
    parts = [np.array(values[share]) for share in sorted(values)]
    mean, low, high = (np.array([of(part) for part in parts]) for of in (np.mean, np.min, np.max))
    return Line(name, x, mean, color, markers="both", low=low, high=high)
