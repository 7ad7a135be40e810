"""What a network says, over one or two inputs, or against the truth. Of the first run."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import expit

from dyntoolkit.engine.history import Array, History
from dyntoolkit.figure.literal import literal
from dyntoolkit.figure.panels import BLUE, GREY, ORANGE, RED, SERIES, SKY, TEST, TRAIN, Axis, Heat, Line, Mark, Panel
from dyntoolkit.laboratory.problem import Problem

Tensor = torch.Tensor

GRID = 41  # points of each side of a map
CURVE = 201  # points of a curve
MARGIN = 0.1  # of the data's range, seen beyond it
SCATTERED = 400  # points of a cloud
WRONG = "#F0E442"  # the yellow of the palette of figure.panels


class Data(NamedTuple):
    """A problem and its words. features: names of the inputs, without irrelevant ones. classes: their names.

    image: whether the inputs are the pixels of images of 8x8. truth: of functions of one input, where it is known.
    """

    problem: Problem
    features: tuple[str, ...]
    target: str
    classes: tuple[str, ...]
    image: bool = False
    truth: Callable[[Tensor], Tensor] | None = None


def named(problem: Problem, features: Sequence[str], target: str, classes: Sequence[str], image: bool = False) -> Data:
    """The data of a problem whose names are a reader's own: no markup, and different for different classes."""
    names = [literal(name) for name in classes]
    different = [name if names.count(name) == 1 else f"{k}, {name}" for k, name in enumerate(names)]
    return Data(problem, tuple(map(literal, features)), literal(target), tuple(different), image)


def newest_weights(history: History, network: Any) -> Tensor:
    """The first run's weights by now, (1, P); NaN as long as none are known."""
    if "theta" in history:
        return torch.from_numpy(history.last("theta")[:1])
    return torch.full((1, network.parameters), torch.nan, dtype=torch.float32)


class Moment(NamedTuple):
    """A network at a step: weights theta (1, P), NaN where none are known, and the data of its run."""

    network: Any  # a `Model`, which may know more of itself
    theta: Tensor
    data: Data
    logits: bool  # whether the outputs for classes are logits, of which the loss is a cross-entropy

    @property
    def outputs(self) -> int:
        """How many numbers the network gives for a sample."""
        return int(self.network(self.theta, self.data.problem.x[:1, :1]).shape[2])

    def answer(self, x: Tensor) -> Array:
        """What is shown of the outputs at x (n, inputs): see `answer_name`. (n,)"""
        output = self.network(self.theta, x)[0].numpy()  # (n, k)
        if not self.data.problem.classes:
            return np.asarray(output[:, 0])
        if output.shape[1] == 1:
            chance = expit(output) if self.logits else (output + 1) / 2
            return np.asarray(chance[:, 0])
        return np.where(np.isnan(output[:, 0]), np.nan, output.argmax(1))

    @property
    def answer_name(self) -> str:
        """A number, the probability of class 1 of two, or the number of the most likely class."""
        if not self.data.problem.classes:
            return self.data.target
        return f"probability of {self.data.classes[1]}" if self.outputs == 1 else "most likely class"

    @property
    def top(self) -> int:
        """The largest answer that there is for classes."""
        return 1 if self.outputs == 1 else self.data.problem.classes - 1


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
    x = torch.zeros(len(columns[0]), moment.data.problem.x.shape[2], dtype=torch.float32)
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
        found = (answer > 0.5 if moment.outputs == 1 else answer).astype(np.int64)
        counts = np.zeros((k, k))
        np.add.at(counts, (true, found), 1)
    share = counts / np.maximum(np.bincount(true, minlength=k), 1)[:, None]
    heat = Heat("share of the class", names, names, share, 0.0, 1.0, "Blues")
    return Panel("Answers on the test data", Axis("class found by the network"), Axis("true class"), [heat])
