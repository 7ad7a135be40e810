"""The spectrum of what a network gives out: by frequency for one input, by degree for bits."""

from typing import Any

import torch

from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import GREY, SERIES, Axis, Panel, median_line
from dyntoolkit.figure.recorded import recorded, recorded_line
from dyntoolkit.laboratory.probe import Moment, Probe
from dyntoolkit.probes.nudft import nudft
from dyntoolkit.probes.walsh import cube, degree_weights, walsh

Tensor = torch.Tensor

FREQUENCIES = 6  # k = 1..6
POINTS = 256  # of the even grid
LEAST = 1e-5  # Walsh weight that is shown


def spectrum(moment: Moment) -> Tensor:
    """The spectrum of the first output, irrelevant inputs at 0; NaN where it is not defined.

    For bits the Walsh weight by degree, (R, n_bits + 1); for one input |c_k|, (R, 6), k = 1..6 the number of periods in
    the range of the first run's training inputs, without a window.
    """
    config, x = moment.configs[0], moment.problem.x
    runs, inputs = len(x), x.shape[2]
    if config.data == "parity":
        return degree_weights(walsh(_output(moment, cube(config.n_bits))))
    if inputs - config.irrelevant > 1:
        return torch.full((runs, 1), torch.nan, dtype=torch.float64)
    low, high = x[0, :, 0].min(), x[0, :, 0].max()
    share = (torch.arange(POINTS, dtype=torch.float32) / POINTS)[:, None]  # (256, 1)
    frequencies = 2 * torch.pi * torch.arange(1, FREQUENCIES + 1, dtype=torch.float64)[:, None]  # (6, 1)
    return nudft(_output(moment, low + (high - low) * share), share, frequencies)


def _output(moment: Moment, own: Tensor) -> Tensor:
    """The first output at inputs of which the first ones are own (n, d), (R, n)."""
    x = torch.zeros(len(own), moment.problem.x.shape[2], dtype=torch.float32)
    x[:, : own.shape[1]] = own
    return moment.model(moment.theta, x)[:, :, 0]


SPECTRUM = Probe("spectrum", "spectrum of the output", "no gradient", spectrum)


def spectrum_panel(history: History, inputs: int) -> Panel:
    """The weights or amplitudes by step. inputs: how many there are, without irrelevant ones."""
    config: Any = history.config
    if config.data != "parity" and inputs > 1:
        note = "There is a spectrum of functions of one input (Fourier) or of bits (Walsh) only."
        return Panel("Spectrum of the output", Axis("step"), Axis(""), note=note)
    bits = config.data == "parity"
    label = "Walsh weight" if bits else "|c<sub>k</sub>|"
    few = min(len(SERIES), config.n_bits + 1)
    names = [f"degree {d}" for d in range(few)] if bits else [f"k = {k + 1}" for k in range(FREQUENCIES)]
    marks = [recorded_line(history, "spectrum", name, SERIES[k], column=k) for k, name in enumerate(names)]
    if bits and config.n_bits >= few:
        steps, weights = recorded(history, "spectrum")
        rest = weights[:, :, few:].sum(2) if weights.ndim > 2 else weights  # (T, R)
        marks.append(median_line(f"{few} and more", steps, rest, GREY))
    axis = Axis(label, log=True, range=(LEAST, 2.0) if bits else None)
    return Panel("Spectrum of the output", Axis("step"), axis, [*marks])
