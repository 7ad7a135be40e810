"""Features: are clean samples fitted first, by the signal, and flipped ones memorised later, by their noise?

After arXiv 2505.18909: a two-patch network and flipped labels, with a signal that a few samples suffice to find. Early
stopping, or dropping the samples of high loss early, keeps the first stage and avoids the second.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.experiment import Experiment, Map
from dyntoolkit.phenomena.label_noise import signal_noise
from dyntoolkit.phenomena.label_noise.features_claims import CLAIMS, drop, metrics
from dyntoolkit.phenomena.label_noise.features_config import PRESETS, Config
from dyntoolkit.phenomena.label_noise.features_figure import panels
from dyntoolkit.phenomena.label_noise.signal_noise import Problem, State
from dyntoolkit.probes.auc import auc

Tensor = torch.Tensor


def record_steps(steps: int, points: int, *extra: int) -> tuple[int, ...]:
    """0, the whole parts of `points` log-spaced numbers from 1 to the last step, and extra ones within the run."""
    spaced = np.logspace(0, np.log10(steps), points).astype(int).tolist()
    return tuple(sorted({0, steps, *spaced, *(k for k in extra if k <= steps)}))


def selected(losses: Tensor, keep: Sequence[int]) -> Tensor:
    """1 for the keep[r] samples of smallest loss of run r, 0 for the others, (R, n)."""
    rank = losses.argsort(dim=1, stable=True).argsort(dim=1)  # (R, n)
    return (rank < torch.tensor(keep).unsqueeze(1)).to(losses.dtype)


def make_step(configs: Sequence[Config], problem: Problem, labels: Tensor) -> Callable[[State, int], State]:
    """Update k = 0, 1, ... of gradient descent; a run whose select_step is k drops samples just before it, for good."""
    lr, when = per_run(configs, "lr", ndim=2), per_run(configs, "select_step", torch.int64, ndim=2)  # (R, 1)
    keep = [c.kept for c in configs]

    def step(state: State, k: int) -> State:
        now = (when == k) & (when > 0)  # (R, 1)
        if now.any():
            f = signal_noise.output(problem, problem.y, state.signal, state.noise)
            state = state._replace(keep=torch.where(now, selected(signal_noise.losses(f, labels), keep), state.keep))
        return signal_noise.descend(problem, state, labels, lr)

    return step


def share(right: Tensor, among: Tensor) -> Tensor:
    """The share of `right` among the chosen samples, (R, n) each: (R,) float64, NaN where there are none."""
    return (right & among).sum(1).double() / among.sum(1)


def measure(problem: Problem, state: State, start: State, labels: Tensor) -> dict[str, Array]:
    """What a frame shows of each run, (R,) unless said otherwise.

    clean_fit, noisy_fit: share of unflipped, of flipped samples with label f > 0; test: accuracy on the test samples;
    auc: probability that a flipped sample's loss exceeds a clean one's; gamma: see `signal_learned`; rho, rho_noisy:
    mean of `noise_memorised` over unflipped, over flipped; grad_ratio: see `gradient_ratio`; loss: mean over all
    samples; losses (R, n); kept_clean: unflipped share of the samples trained on.
    """
    f = signal_noise.output(problem, problem.y, state.signal, state.noise)  # (R, n)
    flipped, clean = problem.flipped, ~problem.flipped
    losses, rho = signal_noise.losses(f, labels), signal_noise.noise_memorised(problem, state, labels)  # (R, n)
    values = {
        "clean_fit": share(labels * f > 0, clean),
        "noisy_fit": share(labels * f > 0, flipped),
        "test": (problem.test_y * signal_noise.test_output(problem, state) > 0).double().mean(1),
        "gamma": signal_noise.signal_learned(problem, state, start),
        "rho": (rho * clean).sum(1) / clean.sum(1),
        "rho_noisy": (rho * flipped).sum(1) / flipped.sum(1),
        "grad_ratio": signal_noise.gradient_ratio(problem, state, labels),
        "loss": losses.mean(1),
        "losses": losses,
        "kept_clean": share(clean, state.keep > 0),
    }
    found = {name: value.numpy() for name, value in values.items()}
    return {**found, "auc": auc(found["losses"], flipped.numpy())}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Full-batch gradient descent in float32; frames at log-spaced steps and at early_step, with `measure`'s values.

    At step 0 also flipped (R, n), 1 where the training label is the wrong one.
    """
    config, (problem, start) = configs[0], signal_noise.draw(configs, seeds, power=1)
    labels = torch.where(problem.flipped, -problem.y, problem.y)  # (R, n)

    def values(k: int, state: State) -> dict[str, Array]:
        found = measure(problem, state, start, labels)
        return found if k else {**found, "flipped": problem.flipped.numpy().astype(np.float32)}

    record = record_steps(config.steps, 60, config.early_step)
    return train(start, make_step(configs, problem, labels), range, record, values)


EXPERIMENT = Experiment(
    name="label_noise.features",
    title="Clean samples first, flipped ones later",
    question="Are clean samples fitted first, by the signal, and flipped ones memorised later, by their noise?",
    paper="2505.18909",
    seconds=0.6,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    map=Map(
        title="Fall of the test accuracy",
        label="best − last",
        x="signal_norm",
        y="flip_rate",
        xs=(1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
        ys=(0.0, 0.1, 0.2, 0.3, 0.4),
        simulate=simulate,
        value=drop,
    ),
)
