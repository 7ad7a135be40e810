"""The figure of `condensation.directions`; neurons are those of the first run."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import (
    BASELINE,
    GREEN,
    GREY,
    MEASURED,
    PURPLE,
    TRAIN,
    Axis,
    Heat,
    Level,
    Line,
    Panel,
    median_line,
)
from dyntoolkit.phenomena.condensation.directions_claims import ANGLES, NEAR_START, q_curve, theory_lines
from dyntoolkit.probes.cosine_matrix import cosine_matrix

DRAWN = 100  # neurons in the cosine matrix
STEP = Axis("step")


def panels(history: History) -> list[Panel]:
    """Input weights with the theory's rays, orientation and amplitude, |Q_p|, cosines, directions, loss."""
    flat = history.config.data == "cubic_1d"
    return [
        _plane(history) if flat else _along(history),
        _orientation(history),
        _cosines(history),
        _theory(history),
        _count(history),
        _loss(history),
    ]


def _weights(history: History, row: int) -> Array:
    """(D, m) the first run's input weights at a frame."""
    dims = 2 if history.config.data == "cubic_1d" else 6
    return history["w"][row, 0] if "w" in history else np.empty((dims, 0))


def _plane(history: History) -> Panel:
    w, b = _weights(history, -1)
    radius = float(np.hypot(w, b).max(initial=1e-30))
    angles = np.radians(theory_lines(history))
    ends = np.stack([-radius * np.ones(len(angles)), radius * np.ones(len(angles)), np.full(len(angles), np.nan)], 1)
    x, y = ((ends * turn(angles)[:, None]).ravel() for turn in (np.cos, np.sin))
    marks = [Line("neuron", w, b, MEASURED, markers="points"), Line("maxima of |Qₚ|", x, y, GREY, dash=True)]
    limits = (-1.1 * radius, 1.1 * radius)
    return Panel("Input weights", Axis("weight w", range=limits), Axis("bias b", range=limits), [*marks])


def _along(history: History) -> Panel:
    w = _weights(history, -1)
    cosine = history.last("along")[0] if "along" in history else np.empty(0)
    length = np.hypot.reduce(w, axis=0)
    x, y = length * cosine, length * np.sqrt(np.maximum(1 - cosine**2, 0))
    radius = 1.1 * float(length.max(initial=1e-30))
    ray = Line("line of v", np.array([-radius, radius]), np.zeros(2), GREY, dash=True)
    axes = Axis("part along v", range=(-radius, radius)), Axis("part across v", range=(-0.05 * radius, radius))
    return Panel("Input weights", *axes, [Line("neuron", x, y, MEASURED, markers="points"), ray])


def _orientation(history: History) -> Panel:
    """Before and now; in five dimensions the angle to v."""
    flat, marks = history.config.data == "cubic_1d", []
    for name, row, color in (("before", 0, BASELINE), ("now", -1, MEASURED)):
        w, size = _weights(history, row), np.empty(0)
        if "w" in history:
            size = history["amplitude"][row, 0]
            size = size / (size.max() if 0 < size.max() < np.inf else np.nan)  # infinite after a divergence
        angle = np.degrees(np.arctan2(w[1], w[0]))
        if not flat:
            angle = np.degrees(np.arccos(np.clip(history["along"][row, 0], -1, 1))) if "along" in history else angle
        marks.append(Line(name, angle, size, color, markers="points"))
    rays = theory_lines(history)
    both = np.concatenate([rays, rays - 180])
    x = np.repeat(both, 3)
    y = np.tile([0.0, 1.0, np.nan], len(both))
    marks.append(Line("maxima of |Qₚ|", x, y, GREY, dash=True))
    label = "orientation of (w, b) in degrees" if flat else "angle between w and v in degrees"
    limits = (-185.0, 185.0) if flat else (-5.0, 185.0)
    return Panel("Orientation", Axis(label, range=limits), Axis("|a||w| / largest", range=(-0.02, 1.05)), [*marks])


def _cosines(history: History) -> Panel:
    w = _weights(history, -1)[:, :DRAWN].T
    z = cosine_matrix(w) if len(w) else np.zeros((1, 1))
    places = np.arange(len(z))
    heat = Heat("cosine", places, places, z, low=-1, high=1, colors="RdBu")
    return Panel("Cosines between neurons", Axis("neuron, by leading eigenvector"), Axis("neuron"), [heat])


def _theory(history: History) -> Panel:
    config = history.config
    known = "x" in history and config.data == "cubic_1d" and config.multiplicity
    x, curve = np.degrees(ANGLES), np.full(len(ANGLES), np.nan)
    if known:
        curve = np.abs(q_curve(history.last("x")[0, :, 0], history.last("y")[0], config.multiplicity))
        curve = curve / curve.max()
    w = _weights(history, -1)
    turned = np.degrees(np.arctan2(w[1], w[0])) % 180 if known else np.empty(0)
    height = np.interp(turned, x, curve) if known else np.empty(0)
    marks = [Line("theory", x, curve, GREY, dash=True), Line("neuron", turned, height, PURPLE, markers="points")]
    note = "" if known or "x" not in history else "For this activation or in five dimensions there is no such curve."
    axes = Axis("line of (w, b) in degrees", range=(-3, 183)), Axis("|Qₚ| / largest", range=(-0.02, 1.1))
    return Panel("|Qₚ| and the lines of the neurons", *axes, [*marks], note)


def _count(history: History) -> Panel:
    steps = history.at("n_eff") if "n_eff" in history else np.empty(0)
    values = history["n_eff"] if "n_eff" in history else np.empty((0, len(history.seeds)))
    bound = Level("2p", y=2.0 * history.config.multiplicity or np.nan)
    curve = median_line("N<sub>eff</sub>", steps, values, GREEN)
    return Panel("Effective number of directions", STEP, Axis("N<sub>eff</sub>"), [curve, bound])


def _loss(history: History) -> Panel:
    steps = history.at("gone") if "gone" in history else np.empty(0)
    values = 1 - history["gone"] if "gone" in history else np.empty((0, len(history.seeds)))
    edge = Level("end of the theory's reach", y=1 - NEAR_START)
    return Panel("Loss", STEP, Axis("loss / loss at the start"), [median_line("loss", steps, values, TRAIN), edge])
