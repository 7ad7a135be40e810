"""The figure of `condensation.split`, of the first run."""

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import BLUE, GREEN, GREY, ORANGE, RED, TRAIN, Axis, Level, Line, Mark, Panel
from dyntoolkit.phenomena.condensation.split_claims import ESCAPED, RATIOS, is_critical


def panels(history: History) -> list[Panel]:
    """The fit; the wide Hessian's spectrum and inertia against c; the escape."""
    return [_fit(history), _spectrum(history), _inertia(history), _escape(history)]


def _note(history: History) -> str:
    if "narrow_gradient" not in history:
        return "The narrow network is still on its way to a critical point."
    if is_critical(history)[0]:
        return ""
    return f"No critical point: the fit ends with a gradient of {history.last('narrow_gradient')[0]:.1g}."


def _fit(history: History) -> Panel:
    known = "fit_loss" in history
    x, y = (history.at("fit_loss"), history["fit_loss"][:, 0]) if known else (np.empty(0), np.empty(0))
    level = history.last("critical_loss")[0] if "critical_loss" in history else np.nan
    marks: list[Mark] = [Line("Adam", x, y, TRAIN), Level("critical point", y=level)]
    return Panel("The narrow network", Axis("step"), Axis("mean squared error", log=True), marks)


def _spectrum(history: History) -> Panel:
    count = 3 * history.config.width + 3
    values = np.full((len(RATIOS), count), np.nan)
    if is_critical(history)[0]:
        values = history.last("spectrum")[0]
    marks: list[Mark] = [
        Line("eigenvalues", RATIOS, values[:, k], BLUE, width=1.2, legend=k == 0) for k in range(count)
    ]
    marks += [Level("zero", y=0.0), Level("this c", x=history.config.split_ratio, color=RED)]
    top = 0.12  # the large positive ones are not what the theory is about
    axes = Axis("split ratio c"), Axis("eigenvalue, wide Hessian", range=(-0.25, top))
    return Panel("Spectrum", *axes, marks, _note(history))


def _inertia(history: History) -> Panel:
    measured = predicted = np.full((len(RATIOS), 3), np.nan)
    if is_critical(history)[0]:
        measured, predicted = history.last("inertia")[0], history.last("predicted")[0]
    marks: list[Mark] = []
    for k, (name, color) in enumerate((("negative", RED), ("zero", GREEN), ("positive", ORANGE))):
        marks.append(Line(name, RATIOS, measured[:, k], color, markers="points"))
    marks += [Line("predicted", RATIOS, predicted[:, k], GREY, dash=True, legend=k == 0) for k in range(3)]
    return Panel("Signs of the curvatures", Axis("split ratio c"), Axis("eigenvalues"), marks, _note(history))


def _escape(history: History) -> Panel:
    x = y = theory = np.empty(0)
    if "escape_loss" in history and is_critical(history)[0]:
        x = history.at("escape_loss") - history.at("escape_loss")[0]
        loss = history["escape_loss"][:, 0]
        gone = 1 - loss / history.last("critical_loss")[0]
        y = np.where(gone > 1e-14, gone, np.nan)
        theory = _growth(x, gone, float(history.last("lambda_min")[0]), history.config.lr)
    marks: list[Mark] = [
        Line("lost share of the loss", x, y, BLUE),
        Line("e<sup>2η|λ|t</sup>", x, theory, GREY, dash=True),
    ]
    marks.append(Level("escaped", y=1 - ESCAPED))
    axes = Axis("step after the kick"), Axis("1 − L / L(critical)", log=True, range=(1e-12, 1.5))
    return Panel("Escape", *axes, marks, "" if len(x) else _note(history))


def _growth(x: np.ndarray, gone: np.ndarray, lowest: float, lr: float) -> np.ndarray:
    """exp(2 lr |lambda| t) through the point at which a thousandth of the loss is lost; NaN where nothing escapes."""
    out = np.flatnonzero(gone > 1 - ESCAPED)
    if not len(out) or lowest >= 0:
        return np.full(len(x), np.nan)
    line = gone[out[0]] * np.exp(2 * np.log1p(lr * abs(lowest)) * (x - x[out[0]]))
    return np.where((line < 1) & (line > 1e-30), line, np.nan)
