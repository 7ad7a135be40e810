"""While neurons condense onto a few lines, how many dimensions do their input weights still fill?

A measurement of your own, with a panel, added to an experiment that exists:

    dyntoolkit run examples/own_probe.py --preset five_d --json
"""

from dataclasses import replace

import numpy as np

import dyntoolkit as dt

BASE = dt.find("condensation.directions")


def stable_rank(weights):
    """|W|_F^2 / |W|_2^2 of each run's weights (R, D, m): (R,) between 1, all neurons on one line, and D."""
    values = np.linalg.svd(weights, compute_uv=False)  # (R, min(D, m)), the largest one first
    return ((values / values[:, :1]) ** 2).sum(1)


def simulate(configs, seeds):
    """The frames of the experiment, with the stable rank of the input weights beside its own quantities."""
    for frame in BASE.simulate(configs, seeds):
        if frame.values:  # the others only say that work goes on
            frame = replace(frame, values={**frame.values, "stable_rank": stable_rank(frame.values["w"])})
        yield frame


def metrics(history):
    """Those of the experiment, and the stable rank before and after, (R,) each."""
    rank = history["stable_rank"]  # (T, R)
    return {**BASE.metrics(history), "rank_start": rank[0], "rank_end": rank[-1]}


def panels(history):
    """The figure of the experiment, and the stable rank; also before anything is measured."""
    steps, rank = np.empty(0), np.empty((0, len(history.seeds)))
    if "stable_rank" in history:
        steps, rank = history.at("stable_rank"), history["stable_rank"]
    marks = [dt.median_line("measured", steps, rank, "#0072B2"), dt.Level("one line", y=1.0)]
    return [*BASE.panels(history), dt.Panel("Dimensions filled", dt.Axis("step"), dt.Axis("stable rank"), marks)]


EXPERIMENT = replace(BASE, name="condensation.rank", simulate=simulate, metrics=metrics, panels=panels)

if __name__ == "__main__":
    dt.explore(EXPERIMENT, "five_d")
