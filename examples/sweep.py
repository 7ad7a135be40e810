"""From which learning rate on does gradient descent leave the valley of `first.py`, and how fast does it move before?

Several settings times several seeds in one call, as a table and a figure:

    python examples/sweep.py figure.png
    dyntoolkit run examples/sweep.py --set lr=0.05
"""

import sys

import numpy as np
from first import EXPERIMENT
from matplotlib.figure import Figure

import dyntoolkit as dt

RATES = (0.03, 0.06, 0.1, 0.15, 0.17, 0.19, 0.21, 0.23)


def factor(runs):
    """What the loss is multiplied by in a step, in the mean of the last ten steps: (learning rates, seeds)."""
    loss = runs["loss"].sel(step=[40, 50]).transpose("step", ...).values
    return (loss[1] / loss[0]) ** (1 / 10)


def theory(lr, curvatures=(1.0, 10.0)):
    """max_i (1 - lr h_i)^2: in the end, the slower of the two directions is all that is left."""
    return np.max([(1 - np.asarray(lr) * h) ** 2 for h in curvatures], axis=0)


def main(path):
    """Train, print the table, save the figure."""
    runs = dt.run(EXPERIMENT, lr=RATES, steps=50, seeds=4)
    measured = factor(runs)
    print("   lr   loss per step, least and largest of 4 seeds   theory")
    for lr, row in zip(RATES, measured, strict=True):
        print(f"{lr:5.2f}   {row.min():20.4f} {row.max():20.4f}   {theory(lr):9.4f}")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(RATES, measured, "o", color="#0072B2")
    grid = np.linspace(RATES[0], RATES[-1], 200)
    axes.plot(grid, theory(grid), "--", color="#8A8A8A", label="theory")
    axes.axhline(1.0, color="#D55E00", label="above: it runs away")
    axes.set(xlabel="learning rate", ylabel="factor of the loss in one step")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sweep.png")
