"""How much longer 32 runs of label noise take at once than one alone: default settings, in turns."""

import argparse
import time

import torch
from _spread import machine, spread

from dyntoolkit.catalog.registry import find


def seconds(seeds: range) -> float:
    """Seconds of one training with these seeds."""
    begin = time.perf_counter()
    find("label_noise.linear").run(seeds=seeds)
    return time.perf_counter() - begin


def main() -> None:
    """Print the ratio of neighbours in time: what slows the machine down slows both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--runs", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds(range(1))  # warm up
    one, many = [], []
    for _ in range(options.repeats):
        one.append(seconds(range(1)))
        many.append(seconds(range(options.runs)))
    print(f"{machine()}; one thread")
    print(f"1 run: {spread(one, 's', 2)}; {options.runs} runs: {spread(many, 's', 2)}")
    ratios = [all_ / alone for all_, alone in zip(many, one, strict=True)]
    print(f"{options.runs} runs at once against one: {spread(ratios, 'times', 2)}   (to reach: 6 for 32 runs)")


if __name__ == "__main__":
    main()
