"""Seconds of the default run of each experiment: training, measuring, metrics and claims.

Every repeat has a seed of its own, so no network trained before is remembered.
"""

import argparse
import statistics
import time

import torch
from _spread import machine, spread

from dyntoolkit.catalog.registry import find
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.judging import judge, run_metrics
from dyntoolkit.phenomena import EXPERIMENTS


def seconds(experiment: Experiment, seed: int) -> float:
    """Seconds from the start of one default run to its verdicts."""
    begin = time.perf_counter()
    config = experiment.configure()
    history = experiment.run(config, [seed])
    judge(experiment, config, 1, {config: run_metrics(experiment, history)}, experiment.claims)
    return time.perf_counter() - begin


def main() -> None:
    """Print the first run of the process apart: it also loads what the later ones find loaded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("names", nargs="*", help="of experiments (default: all)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}; one thread")
    medians = []
    for experiment in map(find, options.names) if options.names else EXPERIMENTS:
        first, *times = [seconds(experiment, seed) for seed in range(options.repeats + 1)]
        print(f"{experiment.name}: {spread(times, 's', 2)}, the first one {first:.2f} s", flush=True)
        medians.append(statistics.median(times))
    print(f"{len(medians)} experiments together: {sum(medians):.1f} s")


if __name__ == "__main__":
    main()
