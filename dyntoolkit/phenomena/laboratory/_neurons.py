"""The picture of a network's first layer of neurons."""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import Array
from dyntoolkit.figure.panels import BLUE, Axis, Heat, Line, Panel
from dyntoolkit.laboratory.function_panel import Moment

NEURONS = 64  # rows of a map of weights
TILES = (4, 6)  # rows and columns of small images


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
