"""Every metric and claim of all experiments, eager against XLA: the same runs of ten seeds, side by side.

Where training amplifies rounding (spikes, chaos) a run by itself may differ; the runs together may not.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from _spread import machine

from dyntoolkit.catalog.registry import find
from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import Array
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.judging import judge_history, run_metrics
from dyntoolkit.phenomena import EXPERIMENTS

SEEDS = range(9100, 9110)  # used nowhere else
FAR = 4.0  # standard errors between two means, beyond which they differ; of some 500 metrics none should


def measured(
    experiment: Experiment, engine: str | None, seeds: Sequence[int]
) -> tuple[dict[str, Array], list[list[bool]], str, float]:
    """Metrics (R,) of the default run, each expected claim's verdicts, which engine it was, and CPU seconds."""
    begin = time.process_time()
    with asking(Asked(engine)):
        history = experiment.run(experiment.configure(), seeds)
    metrics = {name: np.asarray(values, dtype=np.float64) for name, values in run_metrics(experiment, history).items()}
    verdicts = [
        list(verdict.holds) for verdict in judge_history(experiment, history, experiment.claims) if verdict.expected
    ]
    return metrics, verdicts, history.engine, time.process_time() - begin


def apart(eager: Array, xla: Array) -> float:
    """The distance of the means in standard errors, NaN left out; inf where one has NaN much more often."""
    lost = np.isnan(eager).sum(), np.isnan(xla).sum()
    if abs(lost[0] - lost[1]) > len(eager) // 2:
        return np.inf
    eager, xla = eager[~np.isnan(eager)], xla[~np.isnan(xla)]
    if not len(eager) or not len(xla):
        return 0.0
    error = np.sqrt(eager.var(ddof=min(1, len(eager) - 1)) / len(eager) + xla.var(ddof=min(1, len(xla) - 1)) / len(xla))
    distance = abs(eager.mean() - xla.mean())
    rounding = 1e-5 * max(np.abs(eager).max(), np.abs(xla).max())
    return float(max(0.0, distance - rounding) / error) if error > 0 else float(np.inf if distance > rounding else 0.0)


def main() -> None:
    """Print a row for each experiment, and the metrics that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of experiments (default: all)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}; seeds {SEEDS[0]} to {SEEDS[-1]}")
    print(
        "| experiment | engine | metrics | the same to 1e-3 | farthest means | claims: verdicts that differ | CPU s |"
    )
    print("|---|---|---|---|---|---|---|")
    for experiment in map(find, options.names) if options.names else EXPERIMENTS:
        eager, judged, _, slow = measured(experiment, "eager", SEEDS)
        xla, judged_too, engine, fast = measured(experiment, None, SEEDS)
        distances = {name: apart(eager[name], xla[name]) for name in eager}
        close = sum(np.allclose(eager[name], xla[name], rtol=1e-3, equal_nan=True) for name in eager)
        flips = sum(a != b for x, y in zip(judged, judged_too, strict=True) for a, b in zip(x, y, strict=True))
        count = sum(map(len, judged))
        worst = max(distances, key=lambda name: distances[name])
        print(
            f"| {experiment.name} | {engine} | {len(eager)} | {close} | {distances[worst]:.1f} s.e. ({worst}) "
            f"| {flips} of {count} | {slow:.1f}, {fast:.1f} |",
            flush=True,
        )
        for name, distance in distances.items():
            if distance > FAR:
                print(f"    {name}: {distance:.1f}, eager {eager[name]}, {engine} {xla[name]}")


if __name__ == "__main__":
    main()
