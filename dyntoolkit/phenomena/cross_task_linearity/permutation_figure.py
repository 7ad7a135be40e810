"""The figure of `cross_task_linearity.permutation`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import (
    GREEN,
    MEASURED,
    ORANGE,
    PURPLE,
    RED,
    Axis,
    Bars,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.figure.recorded import recorded_line
from dyntoolkit.figure.sweeps import Rows, by_field, sweep_line
from dyntoolkit.phenomena.cross_task_linearity.digits_measure import mean_ratio
from dyntoolkit.phenomena.cross_task_linearity.permutation_claims import VERSIONS
from dyntoolkit.probes.barrier import ALPHAS

COLORS = dict(zip(VERSIONS, (RED, PURPLE, GREEN, ORANGE), strict=True))
LABELS = dict(zip(VERSIONS, ("as trained", "matched by weights", "matched by activations", "at random"), strict=True))


def panels(history: History) -> list[Panel]:
    """Training; error and loss on the way for the four versions; their barriers and features."""
    step, way = Axis("step", range=(0, history.config.steps)), Axis("weight α of network A", range=(0, 1))
    return [
        Panel(
            "Training loss and barrier",
            step,
            Axis("loss (nats), error rate", log=True),
            [
                recorded_line(history, "loss", "loss of A", ORANGE, column=0),
                recorded_line(history, "loss", "loss of B", GREEN, column=1),
                recorded_line(history, "error_barrier", "error barrier, as trained", RED),
            ],
        ),
        Panel("Error on the way", way, Axis("error rate"), [*_paths(history, "error_path")]),
        Panel("Loss on the way", way, Axis("cross-entropy (nats)"), [*_paths(history, "loss_path")]),
        Panel("What is left", Axis("network B"), Axis("barrier, ratio"), _left(history)),
    ]


def _paths(history: History, name: str) -> list[Line]:
    """Along the way to each version; until there are any, that to the network as trained."""
    runs = len(history.seeds)
    known = {"plain": history.last(name)} if name in history else {}  # (R, 11)
    if f"{name}_4" in history:
        known = {version: history.last(f"{name}_4")[:, k] for k, version in enumerate(VERSIONS)}
    empty = np.full((runs, len(ALPHAS)), np.nan)
    return [
        median_line(LABELS[version], ALPHAS, known.get(version, empty).T, COLORS[version], markers="both")
        for version in VERSIONS
    ]


def _left(history: History) -> list[Mark]:
    """Error barrier and feature ratio of each version, medians over the runs."""
    error = ratio = np.full((1, len(VERSIONS)), np.nan)  # (R, 4)
    if "error_barrier_4" in history:
        error = history.last("error_barrier_4")
        ratio = mean_ratio(history.last("ctl_l_4"), history.last("base_l_4"))
    names = ["plain", "weights", "activations", "random"]
    return [
        Bars("error barrier", names, np.median(error, axis=0), RED),
        Bars("features: ctl/base", names, np.median(ratio, axis=0), MEASURED),
    ]


def sweep_panels(rows: Rows) -> list[Panel]:
    """Error barriers of finished runs against the width, for the four versions.

    Drawn are the runs that differ in nothing else, with the settings of which most widths are there.
    """
    runs = max(by_field(rows, "width").values(), key=len)
    lines = [sweep_line(LABELS[name], runs, f"error_{name}", COLORS[name]) for name in VERSIONS]
    return [Panel("Error barrier by width", Axis("width", log=True), Axis("rise of the error rate"), [*lines])]
