"""After a late switch to large batches, does the loss join the curve of a run that used large batches all along?

arXiv 2602.14208 (it does, at a speed that depends on the difficulty), on one-pass linear regression; theory after arXiv
2509.19189.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Metrics,
    Preset,
    Sweep,
    at_least,
    at_most,
    between,
    number,
    settings,
)
from dyntoolkit.figure.panels import (
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    Axis,
    Level,
    Line,
    Mark,
    Panel,
    median_line,
    medians,
    positive,
)
from dyntoolkit.figure.recorded import recorded
from dyntoolkit.phenomena.schedules import _regression as regression
from dyntoolkit.phenomena.schedules._regression import Samples, excess_risk, initial_errors, problem
from dyntoolkit.phenomena.schedules._switch import COLORS, SCHEDULES, apart, check_batches, weights, why_no_gap, window
from dyntoolkit.phenomena.schedules._theory import Moments, Update

Tensor = torch.Tensor

# ---- Settings and presets ----

HARD, EASY = 0.2, 1.0  # sources


class Config(regression.Config):
    """Settings of one run: a small batch, a large one, and a switch between them, with equally many steps."""

    small_batch: int = number(
        8, 2, 32, label="small batch", help="batch before the switch", doubling=True, structural=True
    )
    large_batch: int = number(
        64, 16, 256, label="large batch", help="batch after the switch", doubling=True, structural=True
    )
    steps: int = number(4000, 1000, 4000, label="steps", help="updates", log=True, structural=True)
    switch: float = number(0.5, 0.1, 0.95, label="switch", help="share of the steps before the switch", main=True)

    def check(self) -> None:
        """The large batch is larger."""
        check_batches(self.small_batch, self.large_batch)

    def warnings(self) -> list[str]:
        """A learning rate that the small batch does not bear."""
        return regression.warnings(self, self.small_batch)

    @property
    def switch_step(self) -> int:
        """K, the first step with the large batch."""
        return round(self.switch * self.steps)

    def samples(self, steps: Array) -> Array:
        """Samples that each schedule has used after so many steps, (T,) -> (T, 3)."""
        after = np.maximum(steps - self.switch_step, 0)
        b, B = self.small_batch, self.large_batch
        return np.stack([b * steps, B * steps, b * (steps - after) + B * after], 1)


PRESETS = {
    "hard": Preset("A few hundred steps after the switch nothing is left of the noisy half."),
    "easy": Preset("The large-batch curve is far below: for long the switched run is behind it.", {"source": 1.0}),
    "noiseless": Preset("Without label noise there is nothing to forget.", {"noise_std": 0.0}),
    "late": Preset("Switched after four fifths of the steps: 70 % of the samples are saved.", {"switch": 0.8}),
}


# ---- Data, model, step ----

# Features, target, samples and excess risk are those of `_regression`, exact expectation and scaling law of `_theory`

EVERY = 10  # steps between two frames


class State(NamedTuple):
    """v = w - w* of the three schedules, (R, 3, M)."""

    v: Tensor


class Batch(NamedTuple):
    """B = large_batch samples, and the weight 1/batch of each in the batch of each schedule, 0 outside of it."""

    x: Tensor  # (R, B, M)
    noise: Tensor  # (R, B)
    weight: Tensor  # (R, 3, B)


def make_batches(configs: Sequence[Config], samples: Samples) -> Callable[[int, int], Batch]:
    """The batches of steps k0..k1-1: the small batch is the first part of the large one."""

    def batches(k0: int, k1: int) -> Batch:
        return Batch(*samples.draw(k1 - k0, configs[0].large_batch), weights(configs, k0, k1))

    return batches


def make_step(lr: Tensor) -> Callable[[State, Batch], State]:
    """The step of the three schedules. lr: (R, 1, 1)."""

    def step(state: State, batch: Batch) -> State:
        error = state.v @ batch.x.mT - batch.noise[:, None]  # x.v - noise, (R, 3, B)
        # v <- v - (lr/B) sum_i x_i (x_i.v - noise_i)
        return State(state.v - lr * ((batch.weight * error) @ batch.x))  # (R, 3, M)

    return step


def theory(configs: Sequence[Config]) -> Iterator[tuple[Array, Array]]:
    """Excess risk of the three schedules, exact and by the law, (U, 3) each, at every frame of U settings."""
    config, (variances, _, start) = configs[0], problem(configs)
    variances = variances[:, None]  # (U, 1, M)
    noise_std, lr = (np.array([getattr(c, of) for c in configs])[:, None, None] for of in ("noise_std", "lr"))
    switch = np.array([c.switch_step for c in configs])  # (U,)
    moments = Moments.start(variances, np.repeat(start[:, None], 3, axis=1))  # (U, 3, M)
    batch = np.tile([config.small_batch, config.large_batch, config.small_batch], (len(configs), 1))  # (U, 3)
    frames = record(config.steps)
    with np.errstate(all="ignore"):  # an expectation may diverge
        for k in range(config.steps + 1):
            if k == 0 or k in switch:
                batch[switch == k, 2] = config.large_batch
                update = Update.of(variances, noise_std, lr, batch[:, :, None])
            if k in frames:
                yield moments.risks(variances)
            moments = update(moments)


def record(steps: int) -> set[int]:
    """The steps at which a run is measured; the same for runs that switch at different ones."""
    return {*range(0, steps, EVERY), steps}


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """The three schedules of all runs in one loop, on the same samples.

    Values (R, 3): risk, the excess risk of sampled SGD; exact and fsl, in expectation and by the functional scaling
    law; exact_hard and exact_easy, the expectation if the source were .2 and 1.
    """
    samples = Samples(configs, seeds)
    kinds = {"": configs, "_hard": [c.replace(source=HARD) for c in configs]}
    kinds["_easy"] = [c.replace(source=EASY) for c in configs]
    different = list(dict.fromkeys(c for kind in kinds.values() for c in kind))
    rows = {name: [different.index(c) for c in kind] for name, kind in kinds.items()}
    predicted = theory(different)
    variances = torch.from_numpy(problem(configs).variances)[:, None]  # (R, 1, M)

    def measure(k: int, state: State) -> dict[str, Array]:
        exact, fsl = next(predicted)
        found = {f"exact{name}": exact[row] for name, row in rows.items()}
        return {"risk": excess_risk(variances, state.v).numpy(), "fsl": fsl[rows[""]], **found}

    return train(
        State(initial_errors(configs, seeds)[:, None].repeat(1, 3, 1)),
        make_step(per_run(configs, "lr", ndim=3)),
        make_batches(configs, samples),
        sorted(record(configs[0].steps)),
        measure,
        block=samples.at_once(configs[0].large_batch),
    )


# ---- What is measured, claims ----


def excesses(history: History, name: str) -> dict[str, Array]:
    """before, after300, end, never of a risk, (R,) each: by how much one schedule lies above the large batch.

    before: small/large - 1 in the last N/10 steps before the switch; after300: switched/large - 1 from 200 to 300 steps
    after it; end and never: switched/large - 1 and small/large - 1 in the last tenth.
    """
    steps, risks, N = history.at(name), history[name], history.config.steps
    K = np.array([c.switch_step for c in history.configs])
    after = np.where(K + 300 <= N, K, N)  # beyond the end there are no frames
    small, large, _ = window(steps, risks, K - N / 10, K).T
    _, large_after, switched_after = window(steps, risks, after + 200, after + 300).T
    small_end, large_end, switched_end = window(steps, risks, np.full(len(K), 0.9 * N), np.full(len(K), N)).T
    return {
        "before": small / large - 1,
        "after300": switched_after / large_after - 1,
        "end": switched_end / large_end - 1,
        "never": small_end / large_end - 1,
    }


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, (R,) each: those of `excesses`, sampled and in expectation (_exact).

    closed300: 1 - after300/before. data_saved: the share of the large schedule's samples that the switched one leaves.
    """
    with np.errstate(all="ignore"):  # of a run that is about to diverge
        found = excesses(history, "risk")
        exact = {f"{name}_exact": value for name, value in excesses(history, "exact").items()}
        used = np.stack([c.samples(np.array([c.steps]))[0] for c in history.configs])  # (R, 3)
        return {
            **found,
            **exact,
            "closed300": 1 - found["after300"] / found["before"],
            "data_saved": 1 - used[:, 2] / used[:, 1],
        }


def _easy_over_hard(rows: Sequence[Metrics]) -> Array:
    """after300 of the second settings over that of the first, in expectation, (R,): one run divides by noise."""
    return np.asarray(rows[1]["after300_exact"] / rows[0]["after300_exact"])


def data_saved(config: Config) -> float:
    """1 - (b K + B (N - K))/(B N)."""
    _, large, switched = config.samples(np.array([config.steps]))[0]
    return float(1 - switched / large)


# where the recipe found it, one setting at a time
NOISY = settings(
    source=at_most(0.2),
    capacity=between(1.4, 1.6),
    noise_std=between(0.9, 1.5),
    init_scale=at_most(0.5),
    lr=between(0.15, 0.3),
    small_batch=8,
    large_batch=at_least(64),
    n_features=between(200, 1000),
    steps=at_least(3000),
    switch=between(0.25, 0.8),
)

CLAIMS = (
    Claim(
        id="noise_costs",
        statement="Before the switch the small batch pays for its noise: its excess over the large one.",
        metric="before",
        bound=at_least(0.2),
        where=NOISY,
        controls=(Control("no label noise", {"noise_std": 0.0}),),
    ),
    Claim(
        id="catches_up",
        statement="300 steps after the switch the loss is near the large-batch curve.",
        metric="after300",
        bound=at_most(0.12),
        where=NOISY,
        controls=(
            Control("the small batch kept", metric="never"),
            Control("an easy task, source 1", {"source": EASY}),
        ),
    ),
    Claim(
        id="joins",
        statement="At the end it has joined.",
        metric="end",
        bound=at_most(0.06),
        where=NOISY,
        controls=(
            Control("the small batch kept", metric="never"),
            Control("an easy task, source 1", {"source": EASY}),
        ),
    ),
    Claim(
        id="harder_is_faster",
        statement="Relative to the large-batch curve a hard task catches up faster: what is left after 300 steps, "
        "easy over hard, in expectation.",
        sweep=Sweep(({"source": HARD}, {"source": EASY}), _easy_over_hard),
        bound=at_least(4),
        where=NOISY,
        controls=(
            Control(
                "two hard tasks, source 0.2 and 0.1", sweep=Sweep(({"source": HARD}, {"source": 0.1}), _easy_over_hard)
            ),
        ),
    ),
)


# ---- Figure ----

SINCE = Axis("steps after the switch", log=True)


def panels(history: History) -> list[Panel]:
    """Excess risk by steps and by samples; what is left of the gap after the switch. The median over several runs."""
    return [_by_step(history), _gap(history), _by_samples(history)]


def _risks(history: History, name: str) -> tuple[Array, Array]:
    """Steps (T,) and risks (T, R, 3) without the start, which has no place on a logarithmic axis."""
    steps, risks = recorded(history, name, 1)
    return steps, risks if len(steps) else np.empty((0, len(history.seeds), 3))


def _by_step(history: History) -> Panel:
    """The three curves, the law dashed, and the switch."""
    config: Config = history.config
    steps, risk = _risks(history, "risk")
    fsl = _risks(history, "fsl")[1]
    lines: list[Mark] = [
        median_line(name, steps[shown], risk[shown][:, :, s], color)
        for s, (name, color, shown) in enumerate(zip(SCHEDULES, COLORS, apart(config, steps), strict=True))
    ]
    lines += [Line("scaling law", steps, medians(fsl[:, :, s]), GREY, dash=True, legend=s == 0) for s in range(3)]
    return Panel(
        "Excess risk",
        Axis("step", log=True, range=(EVERY, config.steps)),
        Axis("L = Σ λ v²", log=True),
        [*lines, Level("switch", x=config.switch_step)],
    )


def _gap(history: History) -> Panel:
    """switched/large - 1 after the switch: sampled, in expectation, and in expectation for a hard and an easy task."""
    first = history.config.switch_step
    looks = {
        "risk": ("sampled", GREEN, False),
        "exact": ("exact", GREEN, True),
        "exact_hard": (f"exact, source {HARD:g}", PURPLE, True),
        "exact_easy": (f"exact, source {EASY:g}", ORANGE, True),
    }
    lines: list[Mark] = []
    for name, (label, color, dash) in looks.items():
        steps, risk = _risks(history, name)
        after = steps > first
        with np.errstate(all="ignore"):
            gap = medians((risk[:, :, 2] / risk[:, :, 1] - 1)[after])  # (T,)
        lines.append(Line(label, steps[after] - first, positive(gap), color, dash=dash))
    return Panel("Above the large batch", SINCE, Axis("switched/large − 1", log=True), lines, why_no_gap(history))


def _by_samples(history: History) -> Panel:
    """The three curves against the samples that each has used."""
    config: Config = history.config
    steps, risk = _risks(history, "risk")
    used = config.samples(steps)  # (T, 3)
    ends = config.samples(np.array([config.steps]))[0]
    lines: list[Mark] = [
        Line(f"{name}: {int(end):,}", used[shown, s], medians(risk[shown][:, :, s]), color)
        for s, (name, color, end, shown) in enumerate(zip(SCHEDULES, COLORS, ends, apart(config, steps), strict=True))
    ]
    return Panel("By samples used", Axis("samples used", log=True), Axis("L = Σ λ v²", log=True), lines)


# ---- The record ----

EXPERIMENT = Experiment(
    name="schedules.catch_up",
    title="Catching up after the switch",
    question="After a late switch to large batches, does the loss join the curve of large batches all along?",
    paper="2602.14208",
    seconds=1.5,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    predictions={"data_saved": data_saved},
    borders={
        "hard | easy: s = 1 − 1/β": regression.hardness,
        "the expectation diverges": lambda config: 1 - regression.noise_gain(config, config.small_batch),
    },
)
