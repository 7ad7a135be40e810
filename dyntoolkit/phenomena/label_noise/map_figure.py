"""The figure of `label_noise.map`."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import GREY, MEASURED, PURPLE, RED, Axis, Heat, Line, Mark, Panel
from dyntoolkit.phenomena.label_noise.map_claims import RICH
from dyntoolkit.phenomena.label_noise.map_config import Config


def panels(history: History) -> list[Panel]:
    """Alignment with the borders of flow and formula; kernel change; the flow's alignment; one against the other.

    Of the first run.
    """
    config: Config = history.config
    empty = np.full(config.shape, np.nan)
    align, ntk, flow = (history.last(name)[0] if name in history else empty for name in ("align", "ntk", "flow_align"))
    scale, noise = Axis("initialization scale", log=True, range=edges(config)), Axis("label noise ±τ")
    border, formula = flow_border(config, flow), critical_noise(config)
    lines: list[Mark] = [
        Line("flow at ½", *border, RED, dash=True, width=3),
        Line("formula: √(L B m / η² steps)", *formula, PURPLE, dash=True, width=3),
    ]
    return [
        Panel("Alignment with the truth", scale, noise, [_heat(config, "alignment", align), *lines]),
        Panel("Change of the tangent kernel", scale, noise, [_heat(config, "‖ΔK‖/‖K₀‖, up to 1", ntk)]),
        Panel("Alignment, by the flow", scale, noise, [_heat(config, "alignment", flow)]),
        Panel(
            "Network against flow, cell by cell",
            Axis("alignment by the flow", range=(0, 1.03)),
            Axis("alignment of the network", range=(0, 1.03)),
            [
                Line("cells", flow.ravel(), align.ravel(), MEASURED, markers="points"),
                Line("equal", np.array([0.0, 1.0]), np.array([0.0, 1.0]), GREY, dash=True),
            ],
        ),
    ]


def edges(config: Config) -> tuple[float, float]:
    """Where the map begins and ends on its logarithmic axis: half a cell beyond the outer centres."""
    half = (config.init_scale_max / config.init_scale_min) ** (0.5 / (config.n_init_scale - 1))
    return config.init_scale_min / half, config.init_scale_max * half


def _heat(config: Config, label: str, z: Array) -> Heat:
    """z (n_noise_std, n_init_scale) over the plane; where no cell has noise all rows are alike, and one is drawn."""
    rows = config.n_noise_std if config.noise_std_max > 0 else 1
    return Heat(label, config.init_scales, config.noise_stds[:rows], z[:rows], 0.0, 1.0)


def flow_border(config: Config, flow: Array) -> tuple[Array, Array]:
    """Initialization scales and noise at which the flow's alignment, (n_noise_std, n_init_scale), passes 1/2.

    Interpolated between neighbours: along the row without noise from the left, then up each column.
    """
    scales, noise, points = np.log(config.init_scales), config.noise_stds, []
    for j in range(1, len(scales)):
        a, b = flow[0, j - 1], flow[0, j]
        if a > RICH >= b:
            points.append((scales[j - 1] + (a - RICH) / (a - b) * (scales[j] - scales[j - 1]), noise[0]))
    for j in range(len(scales)):
        for i in range(1, len(noise)):
            a, b = flow[i - 1, j], flow[i, j]
            if a <= RICH < b:
                points.append((scales[j], noise[i - 1] + (RICH - a) / (b - a) * (noise[i] - noise[i - 1])))
                break
    x, y = np.array(points).reshape(-1, 2).T
    return np.exp(x), y


def critical_noise(config: Config) -> tuple[Array, Array]:
    """The noise from which on alignment 1/2 is reached in time, sqrt(L B m/(lr^2 steps)), where L > 0.

    Own derivation, from t = L/(2 k0) with L = ln((d-1) sqrt(m) init_scale^2/(sqrt(d)|beta*|)); beyond the map it ends.
    """
    scales = np.geomspace(*edges(config), 101)
    cell = config.cell(config.init_scale_max, 0.0)
    L = cell.log_ratio + 2 * np.log(scales / config.init_scale_max)  # (101,)
    noise = np.sqrt(np.maximum(L, 0) * cell.batch * config.width / (config.lr**2 * config.steps))
    return scales, np.where((L > 0) & (noise <= config.noise_std_max), noise, np.nan)
