"""The figure of `cross_task_linearity.spawn`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import (
    BASELINE,
    GREEN,
    GREY,
    MEASURED,
    ORANGE,
    RED,
    SKY,
    TRAIN,
    Axis,
    Bars,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import recorded_line
from dyntoolkit.figure.sweeps import Rows, by_field, sweep_line
from dyntoolkit.phenomena.cross_task_linearity.spawn_claims import FAILED_LOSS
from dyntoolkit.phenomena.cross_task_linearity.spawn_config import Config
from dyntoolkit.probes.barrier import ALPHAS

ZERO = 3  # where the logarithmic axis shows "no shared steps"


def panels(history: History) -> list[Panel]:
    """Losses; barriers by step; loss and error on the way between the copies; conditions; features by layer."""
    config: Config = history.config
    step, way = Axis("step", range=(0, config.total)), Axis("weight α of copy A", range=(0, 1))
    split = Level("copied", x=float(config.spawn_step) if config.spawn_step else np.nan)
    return [
        Panel(
            "Training loss",
            step,
            Axis("cross-entropy (nats)", log=True),
            [
                recorded_line(history, "shared_loss", "shared", TRAIN),
                recorded_line(history, "loss", "copy A", ORANGE, column=0),
                recorded_line(history, "loss", "copy B", GREEN, column=1),
                Level("loss 2: not trained", y=FAILED_LOSS),
                split,
            ],
        ),
        Panel(
            "Barrier between the copies",
            step,
            Axis("rise of loss, of error"),
            [
                recorded_line(history, "loss_barrier", "loss (nats)", MEASURED),
                recorded_line(history, "error_barrier", "error rate", RED),
                split,
            ],
        ),
        Panel(
            "Loss on the way, now", way, Axis("cross-entropy (nats)"), path(history, "loss_path", "test loss", MEASURED)
        ),
        Panel(
            "Error on the way, now",
            way,
            Axis("error rate"),
            [*path(history, "error_path", "test error", RED), _bound(history)],
        ),
        Panel("What makes features linear, now", Axis("weight layer"), Axis("relative distance"), _conditions(history)),
        Panel("Features layer by layer, now", Axis("layer"), Axis("1 − cosine", log=True), features(history)),
    ]


def path(history: History, name: str, label: str, color: str) -> list[Mark]:
    """A quantity (R, 11) of the newest frame along the way, and the straight line between its ends."""
    rows = history.last(name) if name in history else np.full((len(history.seeds), len(ALPHAS)), np.nan)
    ends = np.median(rows[:, [0, -1]], axis=0)
    return [
        median_line(label, ALPHAS, rows.T, color, markers="both"),
        Line("no barrier", np.array([0.0, 1.0]), ends, GREY, dash=True),
    ]


def _bound(history: History) -> Level:
    """If the outputs are linear on the way, the error is at most twice that of the worse end."""
    known = "error_path" in history
    worse = float(np.median(history.last("error_path")[:, [0, -1]].max(1))) if known else np.nan
    return Level("2 × the larger end: with linear outputs", y=2 * worse)


def _conditions(history: History) -> list[Mark]:
    config: Config = history.config
    names = [*(f"{k + 1}" for k in range(config.depth)), "output"]
    marks: list[Mark] = []
    for name, label, color in (
        ("com", "commutativity", MEASURED),
        ("dist_W", "weights", BASELINE),
        ("dist_H", "inputs", GREEN),
        ("additivity", "additivity", SKY),
    ):
        heights = np.full(len(names), np.nan)
        if name in history:
            found = np.median(history.last(name), axis=0)
            heights[: len(found)] = found
        marks.append(Bars(label, names, heights, color))
    return marks


def features(history: History) -> list[Mark]:
    """Error of the averaged network by layer, beside the difference of the two (medians over the runs)."""
    names = [*(f"layer {k + 1}" for k in range(history.config.depth)), "logits"]
    marks: list[Mark] = []
    for name, label, color in (
        ("ctl_l", "ctl: average against mean", MEASURED),
        ("base_l", "base: A against B", BASELINE),
    ):
        heights = np.median(history.last(name), axis=0) if name in history else np.full(len(names), np.nan)
        marks.append(Bars(label, names, np.where(heights > 0, heights, np.nan), color))
    return marks


def sweep_panels(rows: Rows) -> list[Panel]:
    """Barriers of finished runs against the spawn step, and of networks with different starts as a level.

    Drawn are the runs that differ in nothing else, with the settings of which most spawn steps are there.
    """
    groups = by_field(rows, "spawn_step")
    swept = max(groups, key=lambda config: (len(groups[config]), config.shared_init))
    apart = groups.get(swept.replace(shared_init=False), {}).get(0, [])
    steps = Axis(f"shared steps (0 is drawn at {ZERO})", log=True)
    start = "one start" if swept.shared_init else "different starts"
    return [
        Panel(
            title,
            steps,
            Axis(label),
            [
                sweep_line(start, groups[swept], name, color, least=ZERO),
                Level("different starts", y=float(np.median([run[name] for run in apart])) if apart else np.nan),
            ],
        )
        for title, label, name, color in (
            ("Loss barrier by shared steps", "rise of the loss (nats)", "loss_barrier", MEASURED),
            ("Error barrier by shared steps", "rise of the error rate", "error_barrier", RED),
        )
    ]
