"""Refresh: at a low signal-to-noise ratio, do labels flipped anew in every step rescue generalization?

After arXiv 2510.17526. The network of `label_noise.features` with relu^2, see `_signal_noise`.
"""

from collections.abc import Callable, Iterator, Sequence

import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    above,
    at_least,
    below,
    between,
    config,
    defaults,
    number,
    switch,
)
from dyntoolkit.figure.panels import ALIGNMENT, ORANGE, TEST, TRAIN, Axis, Level, Panel
from dyntoolkit.figure.recorded import log_steps, recorded_line
from dyntoolkit.phenomena.label_noise import _signal_noise as network
from dyntoolkit.phenomena.label_noise._signal_noise import Problem, State, record_steps
from dyntoolkit.probes.crossing_times import first_above

Tensor = torch.Tensor

# ---- Settings and presets ----


class Config(config.Config):
    """Settings of one run with labels flipped anew in every step (arXiv 2510.17526)."""

    flip_rate: float = number(0.3, 0.0, 0.45, label="flipped labels", help="share of wrong training labels", main=True)
    fresh_flips: bool = switch(True, label="flipped anew in every step", help="or once, before training", main=True)
    signal_norm: float = number(3.0, 0.5, 6.0, label="signal |μ|", help="length of the signal", log=True, main=True)
    lr: float = number(0.1, 0.02, 0.3, label="learning rate η", help="step size", log=True, main=True)
    init_scale: float = number(
        0.003, 0.001, 0.03, label="initialization scale", help="standard deviation of the filters", log=True, main=True
    )
    steps: int = number(6000, 500, 20000, label="steps", help="updates", log=True, structural=True)
    input_noise_std: float = number(1.0, 0.3, 3.0, label="input noise", help="standard deviation of the noise patch")
    width: int = number(10, 2, 50, label="filters per sign m", help="of either sign", structural=True)
    dim: int = number(2000, 200, 4000, label="patch size", help="coordinates of a patch", log=True, structural=True)
    n_train: int = number(50, 20, 100, label="training samples n", help="samples", structural=True)


PRESETS = {
    "fresh": Preset("Labels flipped anew in every step: nothing can be memorized, and the signal is found."),
    "clean": Preset(
        "All labels right: the noise is memorized, and test accuracy is that of guessing.", {"flip_rate": 0.0}
    ),
    "fixed": Preset("Flipped once: memorized as well.", {"fresh_flips": False}),
}


# ---- Data, model, step ----


def fixed_labels(config: Config, problem: Problem) -> Tensor:
    """Labels that are flipped once, (R, n); the true ones where flips are fresh."""
    return torch.where(problem.flipped & (not config.fresh_flips), -problem.y, problem.y)


def make_labels(configs: Sequence[Config], seeds: Sequence[int], problem: Problem) -> Callable[[int, int], Tensor]:
    """The training labels (k1 - k0, R, n) of updates k0..k1-1: flipped anew with probability flip_rate, or once."""
    flips = Stream(seeds, "fresh flips")
    fixed = fixed_labels(configs[0], problem)  # (R, n)
    rate = per_run(configs, "flip_rate", ndim=3)  # (R, 1, 1)

    def labels(k0: int, k1: int) -> Tensor:
        if not configs[0].fresh_flips:
            return fixed.expand(k1 - k0, -1, -1)
        # uniform on [-1, 1): below 2 flip_rate - 1 with probability flip_rate
        wrong = flips.uniform(k1 - k0, configs[0].n_train) < 2 * rate - 1  # (R, steps, n)
        return torch.where(wrong, -problem.y, problem.y).transpose(0, 1)

    return labels


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """Full-batch gradient descent in float32; frames at 40 log-spaced steps and both ends, with `measure`'s values."""
    config = configs[0]
    problem, start = network.draw(configs, seeds, power=2)
    labels = fixed_labels(config, problem)  # (R, n)
    lr = per_run(configs, "lr", ndim=2)  # (R, 1)
    return train(
        start,
        lambda state, batch: network.descend(problem, state, batch, lr),
        make_labels(configs, seeds, problem),
        record_steps(config.steps, 40),
        lambda _, state: measure(problem, state, start, labels),
    )


# ---- What is measured, claims ----


def measure(problem: Problem, state: State, start: State, labels: Tensor) -> dict[str, Array]:
    """What a frame shows of each run, (R,): judged by `labels` (R, n), the true ones where flips are fresh.

    test: accuracy on the test samples; fit: share of training samples with label f > 0; loss: their mean loss; gamma:
    see `signal_learned`; rho: mean of `noise_memorized` over all samples.
    """
    f = network.output(problem, problem.y, state.signal, state.noise)  # (R, n)
    values = {
        "test": (problem.test_y * network.test_output(problem, state) > 0).double().mean(1),
        "fit": (labels * f > 0).double().mean(1),
        "loss": network.losses(f, labels).mean(1),
        "gamma": network.signal_learned(problem, state, start),
        "rho": network.noise_memorized(problem, state, labels).mean(1),
    }
    return {name: value.numpy() for name, value in values.items()}


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, name -> (R,); NaN for "never".

    final_test, fit_end, loss_end, gamma_end, rho_end: at the last frame. t_test95: first frame with a test accuracy
    above .95.
    """
    ends = {f"{name}_end": history.last(name) for name in ("fit", "loss", "gamma", "rho")}
    return {
        "final_test": history.last("test"),
        "t_test95": first_above(history.at("test"), history["test"], 0.95),
        **ends,
    }


CONTROLS = (
    Control("no flips", {"flip_rate": 0.0}),
    Control("flipped once", {"fresh_flips": False}),
)

CLAIMS = (
    Claim(
        id="refresh_generalizes",
        statement="With labels flipped anew in every step it generalizes: test accuracy over 95 % in the end.",
        metric="final_test",
        bound=above(0.95),
        where=defaults(flip_rate=between(0.1, 0.4), signal_norm=at_least(1), steps=at_least(6000)),
        controls=CONTROLS,
    ),
    Claim(
        id="learns_signal",
        statement="The filters have turned to the signal.",
        metric="gamma_end",
        bound=above(0.2),
        where=defaults(steps=at_least(6000)),
        controls=CONTROLS,
    ),
    Claim(
        id="no_memory",
        statement="They hold no noise patch: one that is memorized has a ρ near 2.",
        metric="rho_end",
        bound=below(0.2),
        where=defaults(steps=at_least(6000)),
        controls=CONTROLS,
    ),
)


# ---- Figure ----


def panels(history: History) -> list[Panel]:
    """Accuracies; signal and noise in the filters; training loss."""
    step = log_steps(history)
    judged = "true labels" if history.config.fresh_flips else "given labels"
    return [
        Panel(
            "Accuracy",
            step,
            Axis("share of samples", range=(0, 1.03)),
            [
                recorded_line(history, "fit", f"training samples, {judged}", TRAIN, start=1),
                recorded_line(history, "test", "test samples", TEST, start=1),
                Level("guessing", y=0.5),
            ],
        ),
        Panel(
            "What the filters hold",
            step,
            Axis("γ, ρ"),
            [
                recorded_line(history, "gamma", "signal γ", ALIGNMENT, start=1),
                recorded_line(history, "rho", "noise ρ", ORANGE, start=1),
            ],
        ),
        Panel(
            "Training loss",
            step,
            Axis(f"loss, {judged}", log=True),
            [recorded_line(history, "loss", "training", TRAIN, start=1)],
        ),
    ]


# ---- The record ----

EXPERIMENT = Experiment(
    name="label_noise.refresh",
    title="Labels flipped anew",
    question="At a low signal-to-noise ratio, do labels flipped anew in every step rescue generalization?",
    paper="2510.17526",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
)
