"""The figure of `label_noise.linear`: norms, alignment, single neurons and loss against the training step."""

import numpy as np
from scipy.integrate import cumulative_trapezoid

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import (
    ALIGNMENT,
    GREY,
    KERNEL,
    LAYER1,
    LAYER2,
    RED,
    TRAIN,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
)
from dyntoolkit.phenomena.label_noise.flow import kick_factor, noise_is_on

Array = np.ndarray


def panels(history: History) -> list[Panel]:
    """Four panels for one run, or a band over several; also while the history grows."""
    step = Axis("step", range=(0, history.config.steps))
    return [
        Panel("First-layer norm", step, Axis("‖W‖²", log=True), _norm(history)),
        Panel("Alignment and kernel change", step, Axis("alignment, kernel change"), _phases(history)),
        Panel("Neurons: first and second layer", step, Axis("‖w<sub>j</sub>‖ and a<sub>j</sub>"), _neurons(history)),
        Panel("Training loss without the noise", step, Axis("loss", log=True), _loss(history)),
    ]


def _norm(history: History) -> list[Mark]:
    """|W|^2 with the theory that applies: flow and end line, the rate of kicks, or the noise-free end."""
    config, t, W2 = history.config, history.at("w2"), history["w2"]
    marks: list[Mark] = [median_line("measured", t, W2, LAYER1)]
    if config.fresh:
        marks.append(median_line("flow", t, history["flow_w2"], GREY, dash=True))
        marks.append(Level("end of the flow: √d ‖β*‖/s", y=config.end_norm))
    elif config.kick_std > 0:
        marks.append(_kick_law(history))
    else:
        marks.append(Level("noise-free theory", y=sum(config.noise_free_norms)))
    if config.noise_period > 0:
        switches = np.arange(0, config.steps + 1, max(1, config.steps // 600))
        height = np.where(noise_is_on(switches, config.noise_period), 0.7 * config.end_norm, np.nan)
        marks.append(Line("noise is on", switches, height, RED, width=6))
    return marks


def _kick_law(history: History) -> Line:
    """Fall at the rate 2 lr c^2/m times its step-size factor, from the measured norm at a quarter of the steps on."""
    config, t = history.config, history.at("w2")
    rows = np.flatnonzero(t >= config.steps / 4)
    t, W2 = t[rows], np.median(history["w2"][rows], axis=1)  # (T',)
    factor = kick_factor(W2, config.lr, config.dim, config.width)
    time = cumulative_trapezoid(factor, t, initial=0) if len(rows) else t
    law = W2[:1] * np.exp(-2 * config.lr * config.kick_std**2 / config.width * time)
    return Line("law of kicks, rate 2ηc²/m", t, law, GREY, dash=True)


def _phases(history: History) -> list[Mark]:
    """Alignment with the truth and change of the tangent kernel."""
    config, t = history.config, history.at("align")
    along, across = config.noise_free_norms
    marks: list[Mark] = [
        median_line("kernel change ‖ΔK‖/‖K₀‖", t, history["ntk"], KERNEL),
        median_line("alignment with β*", t, history["align"], ALIGNMENT),
    ]
    if config.fresh:
        marks.append(median_line("flow: alignment", t, history["flow_align"], GREY, dash=True))
    marks.append(Level("alignment without noise", y=along / (along + across), color=ALIGNMENT))
    marks.append(Level("one half", y=0.5))
    half = config.log_ratio / (2 * config.rate) if config.fresh else np.inf
    if config.noise_period == 0 and 0 < half < config.steps:
        marks.append(Level("alignment ½: t = L/2k₀", x=half))
    return marks


def _neurons(history: History) -> list[Mark]:
    """Single neurons of one run; over several runs the root mean square over neurons."""
    config, t = history.config, history.at("w2")
    if len(history.seeds) > 1:
        w_rms, a_rms = np.sqrt(history["w2"] / config.width), np.sqrt(history["a2"] / config.width)
        return [
            median_line("rms ‖w<sub>j</sub>‖", t, w_rms, LAYER1),
            median_line("rms a<sub>j</sub>", t, a_rms, LAYER2),
        ]
    norms, a = history["row_norm"][:, 0], history["a"][:, 0]  # (T, 8)
    return [
        Line(name, t, values[:, j], color, width=1.2, legend=j == 0)
        for name, values, color in (("‖w<sub>j</sub>‖", norms, LAYER1), ("a<sub>j</sub>", a, LAYER2))
        for j in range(values.shape[1])
    ]


def _loss(history: History) -> list[Mark]:
    """Loss against the true labels, and the noise that training adds to it."""
    config = history.config
    marks: list[Mark] = [median_line("noise-free loss", history.at("loss"), history["loss"], TRAIN)]
    if config.noise_std > 0:
        marks.append(Level("label noise τ²/2", y=config.noise_std**2 / 2))
    return marks
