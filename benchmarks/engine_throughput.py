"""Training steps per second, summed over runs: the run axis against nn.Module with torch.optim.Adam, run by run.

The network of the design's table: 5-100-1 tanh, 80 points, full batch, Adam. Prints the median and the range.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.initialization import lecun, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Adam, adam

X = torch.randn(80, 5, generator=torch.Generator().manual_seed(0))  # (n, d)
Y = torch.sin(X.sum(1, keepdim=True))  # (n, 1)
NETWORK = MLP((5, 100, 1), torch.tanh)


def run_axis(runs: int, steps: int) -> None:
    """All runs in one loop, as the experiments train."""
    gradients = value_and_grad(lambda theta: (NETWORK(theta, X) - Y).square().mean((1, 2)))
    state = Adam.start(normal_init(NETWORK, Stream(range(runs), "init"), lecun(NETWORK)))
    lr = torch.full((runs,), 1e-3)
    frames = train(
        state,
        lambda state, _: adam(state, gradients(state.theta)[1], lr),
        full_batch,
        (0, steps),
        lambda k, state: {},
    )
    for _ in frames:
        pass


def modules(runs: int, steps: int) -> None:
    """One run after the other, as a plain torch script trains."""
    for _ in range(runs):
        module = nn.Sequential(nn.Linear(5, 100), nn.Tanh(), nn.Linear(100, 1))
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.mse_loss(module(X), Y))
            optimizer.step()


def report(name: str, way: Callable[[int, int], None], runs: int, steps: int, repeats: int) -> None:
    """One line: steps/s summed over runs."""
    way(runs, 50)  # warm up
    speeds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        way(runs, steps)
        speeds.append(runs * steps / (time.perf_counter() - begin))
    low, middle, high = min(speeds), statistics.median(speeds), max(speeds)
    print(f"{name:22s} R = {runs:3d}  {middle:8,.0f} steps/s  ({low:,.0f} to {high:,.0f}, {repeats} repeats)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--steps", type=int, default=1000, help="steps of each run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s)")
    for runs in options.runs:
        report("run axis", run_axis, runs, options.steps, options.repeats)
        report("nn.Module, torch Adam", modules, runs, max(options.steps // runs, 50), options.repeats)


if __name__ == "__main__":
    main()
