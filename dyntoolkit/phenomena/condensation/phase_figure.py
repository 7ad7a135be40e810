"""The figure of `condensation.phase`."""

from dataclasses import replace

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.claims import Array
from dyntoolkit.figure.panels import BLUE, GREY, MEASURED, ORANGE, RED, Axis, Level, Line, Mark, Panel
from dyntoolkit.phenomena.condensation.phase_claims import boundary, predicted_slope, slopes
from dyntoolkit.phenomena.condensation.phase_config import Config

GAMMA = Axis("γ", range=(0.2, 2.55))
FLAT = 0.1  # a slope nearer to 0 counts as none


def panels(history: History) -> list[Panel]:
    """RD against the width, S against gamma, where S has which sign in the plane, and the loss."""
    config = history.config
    distance = history.last("distance") if "distance" in history else np.empty((0, config.n_gammas, config.n_widths))
    return [
        _distances(config, distance),
        _slopes(config, slopes(distance, config.widths)),
        _plane(config, slopes(distance, config.widths)),
        _losses(history),
    ]


def shades(n: int) -> list[str]:
    """n colours from BLUE, the smallest gamma, to ORANGE, the largest."""
    ends = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in (BLUE, ORANGE)])
    parts = np.linspace(0, 1, n)[:, None] if n > 1 else np.zeros((1, 1))
    return [f"#{r:02X}{g:02X}{b:02X}" for r, g, b in ((1 - parts) * ends[0] + parts * ends[1]).round().astype(int)]


def _mean(values: Array) -> tuple[Array, Array, Array]:
    """Mean, smallest and largest over the runs (R, N) -> (N,) each; NaN where no run has a value."""
    known = ~np.isnan(values)
    count = known.sum(0)
    mean = np.where(known, values, 0).sum(0) / np.where(count, count, np.nan)
    if len(values) == 0:
        return mean, mean, mean
    return mean, np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)


def _band(name: str, x: Array, mean: Array, low: Array, high: Array, color: str, runs: int) -> Line:
    """The mean with a band over the runs; a bare line for one run."""
    if runs < 2:
        return Line(name, x, mean, color, markers="both")
    return Line(name, x, mean, color, markers="both", low=low, high=high)


def _distances(config: Config, distance: Array) -> Panel:
    """A line per gamma, and the slope of theory through its middle where there is a theory."""
    m, marks, dashed = np.array(config.widths, dtype=float), [], []
    with np.errstate(divide="ignore"):
        logs = np.log(np.where(distance > 0, distance, np.nan))  # (R, n_gammas, n_widths)
    slope = predicted_slope(config.gammas) if config.gamma_prime == 0 else np.full(config.n_gammas, np.nan)
    for g, (gamma, color) in enumerate(zip(config.gammas, shades(config.n_gammas), strict=True)):
        mean, low, high = _mean(logs[:, g])
        band = _band(f"γ = {gamma:.3g}", m, np.exp(mean), np.exp(low), np.exp(high), color, len(logs))
        marks.append(replace(band, legend=g in (0, config.n_gammas - 1)))
        line = np.exp(mean.mean() + slope[g] * (np.log(m) - np.log(m).mean()))
        dashed.append(Line("theory", m, line, GREY, dash=True, legend=g == 0))
    return Panel(
        "Relative change of the input weights",
        Axis("width m", log=True),
        Axis("‖w − w(0)‖ / ‖w(0)‖", log=True),
        [*marks, *dashed],
    )


def _slopes(config: Config, S: Array) -> Panel:
    grid = np.linspace(0.25, 2.5, 91)
    theory = predicted_slope(grid) if config.gamma_prime == 0 else np.full(len(grid), np.nan)
    measured = _band("measured", config.gammas, *_mean(S), MEASURED, len(S))
    return Panel(
        "Slope S of ln RD against ln m",
        GAMMA,
        Axis("S", range=(-0.8, 0.8)),
        [
            measured,
            Line("theory at γ′ = 0", grid, theory, GREY, dash=True),
            Level("boundary", x=float(boundary(np.array(config.gamma_prime)))),
        ],
    )


def _plane(config: Config, S: Array) -> Panel:
    """Where the run's networks lie in the plane, and which sign their slope has."""
    mean, gamma_prime = _mean(S)[0], np.linspace(-0.55, 1.05, 161)
    kinds = {
        f"S < −{FLAT}: linear": (mean < -FLAT, BLUE),
        f"|S| < {FLAT}: critical": (np.abs(mean) <= FLAT, GREY),
        f"S > {FLAT}: condensed": (mean > FLAT, RED),
    }
    points: list[Mark] = [
        Line(name, config.gammas[chosen], np.full(chosen.sum(), config.gamma_prime), color, markers="points")
        for name, (chosen, color) in kinds.items()
    ]
    line = Line("boundary of the paper", boundary(gamma_prime), gamma_prime, GREY, dash=True)
    return Panel("Phase diagram", GAMMA, Axis("γ′", range=(-0.55, 1.05)), [*points, line])


def _losses(history: History) -> Panel:
    """The loss of the widest networks of the first run, without step 0."""
    config, late = history.config, np.empty(0, dtype=int)
    steps, losses = late, np.empty((0, config.n_gammas))
    if "loss" in history:
        late = np.flatnonzero(history.at("loss") > 0)
        steps, losses = history.at("loss")[late], history["loss"][late, 0, :, -1]  # (T, n_gammas)
    lines: list[Mark] = [
        Line(f"γ = {gamma:.3g}", steps, losses[:, g], color, legend=False)
        for g, (gamma, color) in enumerate(zip(config.gammas, shades(config.n_gammas), strict=True))
    ]
    title = f"Loss at m = {config.widths[-1]}"
    return Panel(
        title, Axis("step", log=True), Axis("mean squared error", log=True), [*lines, Level("tolerance", y=config.tol)]
    )
