"""Pictures of what a network does: its function or its answers, and its first layer's neurons. All of the first run."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.history import Array
from dyntoolkit.figure.panels import BLUE, GREY, ORANGE, RED, SERIES, SKY, TEST, TRAIN, Axis, Heat, Line, Mark, Panel
from dyntoolkit.phenomena.laboratory._data import Data
from dyntoolkit.phenomena.laboratory._network import Network

Tensor = torch.Tensor

GRID = 41  # points of each side of a map
CURVE = 201  # points of a curve
MARGIN = 0.1  # of the data's range, seen beyond it
SCATTERED = 400  # points of a cloud
NEURONS = 64  # rows of a map of weights
TILES = (4, 6)  # rows and columns of small images
WRONG = "#F0E442"  # the yellow of the palette of figure.panels


class Moment(NamedTuple):
    """A network at a step: weights theta (1, P), NaN where none are known, and the data of its run."""

    network: Network
    theta: Tensor
    data: Data
    logits: bool  # whether the outputs for classes are logits, of which the loss is a cross-entropy

    def answer(self, x: Tensor) -> Array:
        """What is shown of the outputs at x (n, inputs): see `answer_name`. (n,)"""
        output = self.network(self.theta, x)[0]  # (n, k)
        if not self.data.problem.classes:
            return np.asarray(output[:, 0])
        if output.shape[1] == 1:
            chance = torch.sigmoid(output) if self.logits else (output + 1) / 2
            return np.asarray(chance[:, 0])
        return np.where(np.isnan(output[:, 0]), np.nan, output.argmax(1))

    @property
    def answer_name(self) -> str:
        """A number, the probability of class 1 of two, or the number of the most likely class."""
        if not self.data.problem.classes:
            return self.data.target
        return f"probability of {self.data.classes[1]}" if self.network.outputs == 1 else "most likely class"

    @property
    def top(self) -> int:
        """The largest answer that there is for classes."""
        return 1 if self.network.outputs == 1 else self.data.problem.classes - 1


# The function


def function_panel(moment: Moment) -> Panel:
    """The function over one or two inputs; for more the answers against the truth."""
    if len(moment.data.features) == 1:
        return _curve(moment)
    if len(moment.data.features) == 2:
        return _map(moment)
    return _confusion(moment) if moment.data.problem.classes else _predictions(moment)


def _ends(values: Tensor) -> tuple[float, float]:
    """The range of values, and a margin."""
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * (high - low or 1.0)
    return low - margin, high + margin


def _inputs(moment: Moment, *columns: Tensor) -> Tensor:
    """Inputs (n, inputs) of which the first columns (n,) are given; irrelevant ones are 0."""
    x = torch.zeros(len(columns[0]), moment.network.inputs, dtype=torch.float32)
    x[:, : len(columns)] = torch.stack(columns, 1)
    return x


def _curve(moment: Moment) -> Panel:
    problem, data = moment.data.problem, moment.data
    x, y = problem.x[0, :, 0], problem.y[0]  # (n,), (n, k) or (n,)
    along = torch.linspace(*_ends(x), CURVE, dtype=torch.float32)
    marks: list[Mark] = [
        Line("network", along.numpy(), moment.answer(_inputs(moment, along)), BLUE),
        Line("training data", x.numpy(), y.reshape(len(y), -1)[:, 0].numpy(), RED, markers="points"),
    ]
    if data.truth is not None:
        marks.append(Line("truth", along.numpy(), data.truth(along).numpy(), GREY, dash=True))
    return Panel("The function", Axis(data.features[0]), Axis(moment.answer_name), marks)


def _map(moment: Moment) -> Panel:
    problem, data = moment.data.problem, moment.data
    points = problem.x[0, :, :2]  # (n, 2)
    x, y = (torch.linspace(*_ends(points[:, k]), GRID, dtype=torch.float32) for k in (0, 1))
    down, across = torch.meshgrid(y, x, indexing="ij")  # (GRID, GRID)
    z = moment.answer(_inputs(moment, across.flatten(), down.flatten())).reshape(GRID, GRID)
    ends = (0.0, float(moment.top)) if problem.classes else (float(problem.y.min()), float(problem.y.max()))
    heat = Heat(moment.answer_name, x.numpy(), y.numpy(), z, *ends, "RdBu_r" if moment.top == 1 else "Viridis")
    right, up = (Axis(data.features[k], range=(float(at[0]), float(at[-1]))) for k, at in enumerate((x, y)))
    title = "The map of decisions" if problem.classes else "The function"
    return Panel(title, right, up, [heat, *_points(moment, points.numpy())])


def _points(moment: Moment, points: Array) -> list[Mark]:
    """The training points (n, 2), by class, those with a wrong label apart."""
    problem = moment.data.problem
    if not problem.classes:
        return [Line("training data", points[:, 0], points[:, 1], RED, markers="points")]
    labels, wrong = problem.y[0].numpy(), (problem.y != problem.clean)[0].numpy()  # (n,)
    colors = (SKY, ORANGE) if problem.classes == 2 else SERIES
    shown = [(name, (labels == k) & ~wrong, colors[k % len(colors)]) for k, name in enumerate(moment.data.classes)]
    return [
        Line(name, points[chosen, 0], points[chosen, 1], color, markers="points")
        for name, chosen, color in (*shown, ("wrong label", wrong, WRONG))
    ]


def _predictions(moment: Moment) -> Panel:
    """What the network says against what is true, on data to train and to test on."""
    problem, target = moment.data.problem, moment.data.target
    marks: list[Mark] = []
    for name, x, y, color in (
        ("training", problem.x[0], problem.clean[0], TRAIN),
        ("test", problem.test_x[0], problem.test_y[0], TEST),
    ):
        marks.append(
            Line(name, y[:SCATTERED, 0].numpy(), moment.answer(x[:SCATTERED]), color, markers="points", width=1.0)
        )
    ends = np.array(_ends(problem.clean[0, :, 0]))
    marks.append(Line("right", ends, ends, GREY, dash=True))
    return Panel("Answers against the truth", Axis(f"{target}, true"), Axis(f"{target}, by the network"), marks)


def _confusion(moment: Moment) -> Panel:
    """Which class the network finds in the test samples of each class."""
    problem, names = moment.data.problem, moment.data.classes
    true, k = problem.test_y[0].numpy(), problem.classes
    answer = moment.answer(problem.test_x[0])  # (n,)
    counts = np.full((k, k), np.nan)
    if np.isfinite(answer).all():
        found = (answer > 0.5 if moment.network.outputs == 1 else answer).astype(np.int64)
        counts = np.zeros((k, k))
        np.add.at(counts, (true, found), 1)
    share = counts / np.maximum(np.bincount(true, minlength=k), 1)[:, None]
    heat = Heat("share of the class", names, names, share, 0.0, 1.0, "Blues")
    return Panel("Answers on the test data", Axis("class found by the network"), Axis("true class"), [heat])


# The neurons


def neurons_panel(moment: Moment) -> Panel:
    """The first layer: arrows for two inputs, kinks for one, small images, or a map of the weights."""
    weights, amplitudes = (part[0].numpy() for part in moment.network.neurons(moment.theta.double()))
    w, b = weights[:, :-1], weights[:, -1]  # (m, inputs), (m,)
    if moment.data.image:
        return _tiles(w)
    if len(moment.data.features) == 2:
        return _arrows(w, amplitudes / np.maximum(np.linalg.norm(weights, axis=1), 1e-30), moment.data.features)
    if len(moment.data.features) == 1:
        return _kinks(w[:, 0], b, amplitudes, moment.data.features[0])
    rows = np.arange(min(len(w), NEURONS))
    heat = Heat("|weight|", np.arange(w.shape[1]), rows, np.abs(w[: len(rows)]), 0.0)
    return Panel("Input weights of the neurons", Axis("input"), Axis("neuron"), [heat])


def _arrows(w: Array, outward: Array, names: Sequence[str]) -> Panel:
    """Lines from the origin to |a| w: w the input weights (m, d) of a neuron, outward (m,) the length |a|."""
    tips = outward[:, None] * w[:, :2]  # (m, 2)
    gap = np.full(len(tips), np.nan)
    x, y = (np.stack([0 * tip, tip, gap], 1).ravel() for tip in tips.T)
    return Panel(
        "Neurons: input weights times |a|",
        Axis(f"weight of {names[0]}"),
        Axis(f"weight of {names[1]}"),
        [
            Line("neurons", x, y, BLUE, width=1.2),
            Line("tips", tips[:, 0], tips[:, 1], BLUE, markers="points", legend=False),
        ],
    )


def _kinks(w: Array, b: Array, amplitudes: Array, name: str) -> Panel:
    """Where a neuron's argument w x + b is zero, and how much it weighs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.where(w == 0, np.nan, -b / w)
    line = Line("neurons", at, amplitudes * np.sign(w), BLUE, markers="points")
    return Panel("Neurons: where w x + b = 0", Axis(f"{name} = −b/w", range=(-3, 3)), Axis("± |a| |(w, b)|"), [line])


def _tiles(w: Array) -> Panel:
    """The input weights (m, 64) of the first neurons as images of 8x8 pixels."""
    rows, columns = TILES
    sheet = np.full((9 * rows - 1, 9 * columns - 1), np.nan)
    for k, image in enumerate(w[: rows * columns, :64].reshape(-1, 8, 8)):
        row, column = divmod(k, columns)
        sheet[9 * row : 9 * row + 8, 9 * column : 9 * column + 8] = image
    top = float(np.nanmax(np.abs(sheet), initial=1e-12))
    down, across = (np.arange(size, dtype=np.float64) for size in sheet.shape)
    heat = Heat("weight", across, down, sheet, -top, top, "RdBu_r")
    axis = Axis("pixel", range=(len(down) - 0.5, -0.5))  # the first row on top
    return Panel("Input weights of the neurons, as images", Axis("pixel"), axis, [heat])
