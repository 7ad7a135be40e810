"""Refresh: at a low signal-to-noise ratio, do labels flipped anew in every step rescue generalisation?

After arXiv 2510.17526. The network of `label_noise.features` with relu^2.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.label_noise import signal_noise
from dyntoolkit.phenomena.label_noise.features import record_steps
from dyntoolkit.phenomena.label_noise.refresh_claims import CLAIMS, metrics
from dyntoolkit.phenomena.label_noise.refresh_config import PRESETS, Config
from dyntoolkit.phenomena.label_noise.refresh_figure import panels
from dyntoolkit.phenomena.label_noise.signal_noise import Problem, State

Tensor = torch.Tensor


def fixed_labels(config: Config, problem: Problem) -> Tensor:
    """Labels that are flipped once, (R, n); the true ones where flips are fresh."""
    return torch.where(problem.flipped & (not config.fresh_flips), -problem.y, problem.y)


def make_labels(
    configs: Sequence[Config], seeds: Sequence[int], problem: Problem
) -> Callable[[int, int], Iterator[Tensor]]:
    """The training labels (R, n) of updates k0..k1-1: flipped anew with probability flip_rate, or once."""
    flips, fixed = Stream(seeds, "fresh flips"), fixed_labels(configs[0], problem)
    rate = per_run(configs, "flip_rate", ndim=3)  # (R, 1, 1)

    def labels(k0: int, k1: int) -> Iterator[Tensor]:
        if not configs[0].fresh_flips:
            return repeat(fixed, k1 - k0)
        wrong = flips.uniform(k1 - k0, configs[0].n_train) < 2 * rate - 1  # (R, steps, n); uniform on [-1, 1)
        return iter(torch.where(wrong, -problem.y, problem.y).unbind(1))

    return labels


def measure(problem: Problem, state: State, start: State, labels: Tensor) -> dict[str, Array]:
    """What a frame shows of each run, (R,): judged by `labels` (R, n), the true ones where flips are fresh.

    test: accuracy on the test samples; fit: share of training samples with label f > 0; loss: their mean loss; gamma:
    see `signal_learned`; rho: mean of `noise_memorised` over all samples.
    """
    f = signal_noise.output(problem, problem.y, state.signal, state.noise)  # (R, n)
    values = {
        "test": (problem.test_y * signal_noise.test_output(problem, state) > 0).double().mean(1),
        "fit": (labels * f > 0).double().mean(1),
        "loss": signal_noise.losses(f, labels).mean(1),
        "gamma": signal_noise.signal_learned(problem, state, start),
        "rho": signal_noise.noise_memorised(problem, state, labels).mean(1),
    }
    return {name: value.numpy() for name, value in values.items()}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Full-batch gradient descent in float32; frames at 40 log-spaced steps and both ends, with `measure`'s values."""
    config, (problem, start) = configs[0], signal_noise.draw(configs, seeds, power=2)
    labels, lr = fixed_labels(config, problem), per_run(configs, "lr", ndim=2)
    return train(
        start,
        lambda state, batch: signal_noise.descend(problem, state, batch, lr),
        make_labels(configs, seeds, problem),
        record_steps(config.steps, 40),
        lambda _, state: measure(problem, state, start, labels),
    )


EXPERIMENT = Experiment(
    name="label_noise.refresh",
    title="Labels flipped anew",
    question="At a low signal-to-noise ratio, do labels flipped anew in every step rescue generalisation?",
    paper="2510.17526",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
