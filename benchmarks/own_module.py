"""How much longer a torch.nn.Module of one's own trains than the built-in network of the same sizes.

Whole runs of `dt.own`, making and trying the module included, against the same training of `MLP`, in turns: both
record the same, begin with the same weights, and must end with the same loss.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from _spread import machine, spread
from sklearn.datasets import load_digits, make_moons
from torch import nn

from dyntoolkit.engine.choice import ENGINES, Asked, asking
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.layers import MLP
from dyntoolkit.experiment import to_the_end
from dyntoolkit.laboratory.losses import LOSSES
from dyntoolkit.laboratory.own import own
from dyntoolkit.laboratory.own_data import own_data
from dyntoolkit.laboratory.own_loss import named_loss
from dyntoolkit.laboratory.problem import shared
from dyntoolkit.laboratory.training import train_network

Tensor = torch.Tensor

AGREE = 0.05  # most relative difference of two losses at the end: rounding grows while they train
TO_REACH = 2.0


@dataclass(frozen=True)
class Task:
    """Sizes of a network with ReLU, the data (X, y) that it learns, and how many samples a step sees; 0: all."""

    name: str
    sizes: tuple[int, ...]
    data: tuple[Any, Any]
    batch_size: int

    def module(self) -> nn.Module:
        """As one writes it with torch."""
        layers = [part for a, b in pairwise(self.sizes) for part in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers[:-1])


class BuiltIn(MLP):
    """The built-in network, with the weights of `Task.module`."""

    def theta(self, seed: int, task: Task) -> Tensor:
        """(P,)"""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parts = list(task.module().parameters())
        return torch.cat([(part.T if part.ndim > 1 else part).detach().flatten() for part in parts])


def tasks() -> list[Task]:
    """The laboratory's first experiment, and handwritten digits."""
    digits = load_digits(return_X_y=True)
    return [
        Task("two moons, 2-32-32-1", (2, 32, 32, 1), make_moons(200, noise=0.15, random_state=0), 0),
        Task(
            "digits, 64-64-64-10, batches of 64", (64, 64, 64, 10), (digits[0].astype(np.float32) / 16, digits[1]), 64
        ),
    ]


def built_in(task: Task, configs: list[Any], seeds: range) -> Iterator[Frame]:
    """The frames of the same training of the built-in network."""
    network = BuiltIn(task.sizes, torch.relu)
    start = torch.stack([network.theta(seed, task) for seed in seeds])
    data = own_data(task.data, None, None)
    problem = shared(data.x, data.y, data.test_x, data.test_y, data.classes, len(seeds))
    loss = LOSSES[named_loss(data.classes, task.sizes[-1])]
    return train_network(configs, seeds, cast(Any, network), start, problem, loss, [])


@dataclass(frozen=True)
class Timed:
    """A whole run: seconds by the clock and of the processor, and the mean of its losses at the end."""

    wall: float
    cpu: float
    loss: float


def trained(frames: Iterator[Frame], configs: list[Any], seeds: range) -> Timed:
    """Pull the frames to the end."""
    wall, cpu = time.perf_counter(), time.process_time()
    history = to_the_end(History("run", configs, seeds), frames)
    loss = float(history.last("loss").mean())
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, loss)


def compare(task: Task, runs: int, engine: str, steps: int, repeats: int) -> None:
    """Print the times of one setting, and their ratios."""
    experiment = own(task.module, task.data)
    config = experiment.configure(steps=steps, batch_size=task.batch_size, lr=0.003)
    configs, seeds = [config] * runs, range(runs)

    def pair() -> tuple[Timed, Timed]:
        ours = trained(experiment.start(configs, seeds)[1], configs, seeds)
        return ours, trained(built_in(task, configs, seeds), configs, seeds)

    with asking(Asked(engine)):
        ours, theirs = pair()  # warm up
        if not abs(ours.loss / theirs.loss - 1) < AGREE:
            sys.exit(f"{task.name}, R = {runs}, {engine}: the losses are {ours.loss:g} and {theirs.loss:g}.")
        pairs = [pair() for _ in range(repeats)]
    print(f"{task.name}, R = {runs}, {steps} steps, {engine}")
    for name, k in (("own module", 0), ("built-in", 1)):
        print(f"  {name}: {spread([both[k].wall for both in pairs], 's', 2)}")
    wall, cpu = ([getattr(a, kind) / getattr(b, kind) for a, b in pairs] for kind in ("wall", "cpu"))
    print(f"  own module against built-in: {spread(wall, 'times', 2)}   (to reach: {TO_REACH:g})")
    print(f"  the same by processor time: {spread(cpu, 'times', 2)}", flush=True)


def main() -> None:
    """Print ratios of neighbours in time: what slows the machine down slows both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["xla"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}; one thread")
    for task in tasks():
        for runs in options.runs:
            for engine in options.engines:
                compare(task, runs, engine, options.steps, options.repeats)


if __name__ == "__main__":
    main()
