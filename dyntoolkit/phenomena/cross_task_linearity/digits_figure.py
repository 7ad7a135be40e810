"""What the figure of `cross_task_linearity.digits` shows, for one run or bands over several."""

import numpy as np

from dyntoolkit.engine.history import Array, History
from dyntoolkit.figure.panels import (
    BASELINE,
    BLUE,
    GREEN,
    GREY,
    MEASURED,
    ORANGE,
    PURPLE,
    RED,
    SERIES,
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
from dyntoolkit.phenomena.cross_task_linearity.digits_measure import ALPHAS, FAILED_LOSS, LAMBDAS, mean_ratio
from dyntoolkit.probes.linearity import parabola_fit

NOTHING = np.empty(0)


def panels(history: History) -> list[Panel]:
    """Training, features per layer and the scans of the last frame: six panels whose marks are there from the start."""
    step = Axis("step", range=(0, history.config.pretrain_steps + history.config.steps))
    share = Axis("test accuracy", range=(0, 1))
    difference = Axis("1 − cosine", log=True)
    scan = Axis("α (average) or λ (arithmetic)", range=(0, 1))
    return [
        Panel("Training loss", step, Axis("cross-entropy (nats)", log=True), _losses(history)),
        Panel("Accuracy on tasks A and B", step, share, _accuracies(history)),
        Panel("Features layer by layer", Axis("layer"), difference, _layers(history)),
        Panel(
            "Closer networks are more linear",
            Axis("distance", log=True),
            Axis("ratio, relative deviation", log=True),
            _scaling(history),
        ),
        Panel("Deviation from linearity", Axis("α", range=(0, 1)), Axis("‖deviation‖<sub>F</sub>"), _path(history)),
        Panel("Averaging and arithmetic", scan, share, _merging(history)),
    ]


def _losses(history: History) -> list[Mark]:
    """Mini-batch loss of the pretraining, then of both fine-tunings."""
    return [
        recorded_line(history, "pretrain_loss", "pretraining", TRAIN),
        recorded_line(history, "loss", "task A", ORANGE, column=0),
        recorded_line(history, "loss", "task B", GREEN, column=1),
        Level("loss 1: not trained", y=FAILED_LOSS),
    ]


def _accuracies(history: History) -> list[Mark]:
    """On the tests of both tasks: of the start, then of each network on its own task, their average and ensemble."""
    return [
        recorded_line(history, "pretrain_acc", "pretrained", BLUE),
        recorded_line(history, "own_acc", "A on A, B on B", SKY),
        recorded_line(history, "cross_acc", "A on B, B on A", ORANGE),
        recorded_line(history, "ensemble_acc", "outputs averaged", PURPLE),
        recorded_line(history, "merged_acc", "weights averaged", RED),
    ]


def _layers(history: History) -> list[Mark]:
    """Error of the averaged network per layer, next to the difference of the two networks (medians over runs)."""
    names = [*[f"layer {k + 1}" for k in range(history.config.depth)], "logits"]
    unknown = np.full((1, len(names)), np.nan)
    bars = [("ctl_l", "ctl: average against mean", MEASURED), ("base_l", "base: A against B", BASELINE)]
    marks: list[Mark] = []
    for name, label, color in bars:
        heights = history.last(name) if name in history else unknown  # (R, L + 1)
        marks.append(Bars(label, names, _medians(_positive(heights).T), color))
    return marks


def _scaling(history: History) -> list[Mark]:
    """Ratio against distance while fine-tuning, with slope 1; deviation of pulled-back networks, with slope 3/2."""
    x = ratio = near = deviation = NOTHING
    if "ctl_l" in history:
        x, ratio = _medians(history["distance"]), _medians(_positive(mean_ratio(history["ctl_l"], history["base_l"])))
    if "pulled_deviation" in history:
        whole = history.last("path_deviation")[:, len(ALPHAS) // 2, None]  # (R, 1, L), at alpha = 1/2
        share = history.last("pulled_deviation") / np.where(whole > 0, whole, np.nan)  # (R, 4, L)
        near, deviation = _medians(history.last("pulled_distance").T), _medians(_positive(share.mean(2)).T)
    return [
        Line("ratio ctl/base, while fine-tuning", x, ratio, MEASURED, markers="both"),
        _power_law("slope 1", x[-1:], ratio[-1:], x, 1.0),
        Line("deviation, pulled back", near, deviation, GREEN, markers="both"),
        _power_law("slope 3/2", near, deviation, near, 1.5),
    ]


def _power_law(name: str, x: Array, y: Array, ends: Array, slope: float) -> Line:
    """The straight line of that slope in double logarithmic axes through the middle of the points (x, y)."""
    known, ends = np.isfinite(y) & (x > 0), ends[ends > 0]
    if not known.any():
        return Line(name, NOTHING, NOTHING, GREY, dash=True)
    span = np.array([ends.min(), ends.max()])
    middle = np.log(x[known]).mean(), np.log(y[known]).mean()
    return Line(name, span, np.exp(middle[1] + slope * (np.log(span) - middle[0])), GREY, dash=True)


def _path(history: History) -> list[Mark]:
    """Deviation of each hidden layer along the path between the networks, with the parabola fitted to it."""
    depth, measured = history.config.depth, "path_deviation" in history
    rows = history.last("path_deviation").swapaxes(0, 1) if measured else np.full((0, 1, depth), np.nan)  # (19, R, L)
    alphas = ALPHAS if measured else NOTHING
    curve = alphas * (1 - alphas)
    marks: list[Mark] = [
        median_line(f"layer {k + 1}", alphas, rows[:, :, k], color)
        for k, color in zip(range(depth), SERIES, strict=False)
    ]
    for k in range(depth):
        c = _medians(parabola_fit(alphas, rows[:, :, k])[0][None])[0] if measured else np.nan
        marks.append(Line("c·α(1−α)", alphas, c * curve, GREY, dash=True, legend=k == 0))
    return marks


def _merging(history: History) -> list[Mark]:
    """Accuracy on both tasks of the average along alpha; after adding, and after subtracting, lambda task vectors."""
    negated = history.last("negated_acc") if "negated_acc" in history else None  # (R, 5, 2)
    columns = [
        ("weights averaged, by α", ALPHAS, _last(history, "path_merged_acc"), RED),
        ("outputs averaged, by α", ALPHAS, _last(history, "path_ensemble_acc"), PURPLE),
        ("both tasks added, by λ", LAMBDAS, _last(history, "added_acc"), BLUE),
        ("task A subtracted, on A", LAMBDAS, None if negated is None else negated[:, :, 0], ORANGE),
        ("task A subtracted, on B", LAMBDAS, None if negated is None else negated[:, :, 1], GREEN),
    ]
    return [
        Line(name, NOTHING, NOTHING, color) if runs is None else median_line(name, x, runs.T, color)
        for name, x, runs, color in columns
    ]


def _last(history: History, name: str) -> Array | None:
    return history.last(name) if name in history else None


def _positive(values: Array) -> Array:
    """NaN where there is no logarithm."""
    return np.where(values > 0, values, np.nan)


def _medians(rows: Array) -> Array:
    """Median of each row (N, R) over the runs that have a number, (N,); NaN where none has."""
    return median_line("", NOTHING, rows, "").y
