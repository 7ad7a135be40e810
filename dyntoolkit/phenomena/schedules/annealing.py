"""Does one formula in two areas, fitted on two learning-rate schedules, predict others that it has not seen?

Tissue, Wang and Wang 2024, "Scaling law with learning rate annealing" (arXiv 2408.11029), for language models; here on
one-pass linear regression, beside the functional scaling law (arXiv 2509.19189), which needs no fit.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from dyntoolkit.engine.history import Array, Frame, History
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.experiment import (
    Claim,
    Control,
    Experiment,
    Preset,
    at_least,
    at_most,
    between,
    choice,
    number,
    settings,
)
from dyntoolkit.figure.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, Axis, Line, Mark, Panel, medians
from dyntoolkit.figure.recorded import newest, recorded
from dyntoolkit.phenomena.schedules import _annealing_law as law
from dyntoolkit.phenomena.schedules import _regression as regression
from dyntoolkit.phenomena.schedules._regression import Samples, excess_risk, initial_errors, problem
from dyntoolkit.phenomena.schedules._theory import Moments, Update

Tensor = torch.Tensor

# ---- Settings and presets ----

FITS = {"cosine_wsd": ("cosine", "wsd"), "constant_cosine": ("constant", "cosine")}


class Config(regression.Config):
    """Settings of one run: six learning-rate schedules on the same samples, and the two that the law is fitted on."""

    batch: int = number(8, 2, 64, label="batch size", help="samples per step", doubling=True, structural=True)
    replicas: int = number(8, 1, 16, label="replicas", help="independent runs whose mean is shown", structural=True)
    steps: int = number(4000, 1000, 6000, label="steps", help="updates", log=True, structural=True)
    fit: str = choice("cosine_wsd", tuple(FITS), label="fitted on", help="the two schedules that the law may see")

    def warnings(self) -> list[str]:
        """A learning rate that the batch does not bear."""
        return regression.warnings(self, self.batch)


PRESETS = {
    "hard": Preset("Fitted on cosine and wsd, the law foretells the four others."),
    "easy": Preset("An easy task: the ends are few noisy modes, and the law misses them by far more.", {"source": 1.0}),
    "noiseless": Preset("Without noise, annealing gains nothing: it only slows down.", {"noise_std": 0.0}),
    "paper_fit": Preset("The paper's pair, without a fast drop, does not fix the decay.", {"fit": "constant_cosine"}),
}


# ---- Data, model, step ----

# Features, target, samples and excess risk are those of `_regression`, the scaling law without a fit is in `_theory`

FRAMES = 100


def schedules(steps: int) -> dict[str, Array]:
    """eta_k/eta_0 of each schedule, (N,)."""
    k, N = np.arange(steps), steps
    return {
        "constant": np.ones(N),
        "cosine": 0.1 + 0.45 * (1 + np.cos(np.pi * k / N)),
        "wsd": 1 - 0.9 * np.clip((k - 0.8 * N) / (0.2 * N), 0, 1),
        "two_step": np.where(k < N / 2, 1.0, 0.3),
        "linear": 1 - 0.9 * k / N,
        "wsd_50": 1 - 0.9 * np.clip((k - 0.5 * N) / (0.5 * N), 0, 1),
    }


NAMES = tuple(schedules(2))


class State(NamedTuple):
    """v = w - w* of each replica and schedule, (R, G, 6, M), and the sum of the mean risks of all updates, (R, 6)."""

    v: Tensor
    risks: Tensor


class Batch(NamedTuple):
    """b samples for each replica, and the factors of the learning rate, (6, 1)."""

    x: Tensor  # (R, G, b, M)
    noise: Tensor  # (R, G, b)
    factor: Tensor


def make_step(lr: Tensor, variances: Tensor, batch_size: int) -> Callable[[State, Batch], State]:
    """The step of all schedules. lr: (R, 1, 1, 1). variances: (R, 1, 1, M)."""

    def step(state: State, batch: Batch) -> State:
        error = state.v @ batch.x.mT - batch.noise[:, :, None]  # x.v - noise, (R, G, 6, b)
        # v <- v - (lr/B) sum_i x_i (x_i.v - noise_i)
        v = state.v - lr * batch.factor / batch_size * (error @ batch.x)  # (R, G, 6, M)
        return State(v, state.risks + excess_risk(variances, v).mean(1))

    return step


def theory(configs: Sequence[Config], frames: Sequence[int]) -> Iterator[Array]:
    """Excess risk of the six schedules by the law of `_theory`, the mean over the updates of a frame, (U, 6)."""
    config, (variances, _, start) = configs[0], problem(configs)
    variances = variances[:, None]  # (U, 1, M)
    noise_std, lr = (np.array([getattr(c, of) for c in configs])[:, None, None] for of in ("noise_std", "lr"))
    factors = np.stack(list(schedules(config.steps).values()))[:, :, None]  # (6, N, 1)
    moments = Moments.start(variances, np.repeat(start[:, None], len(NAMES), axis=1))  # (U, 6, M)
    with np.errstate(all="ignore"):  # an expectation may diverge
        for first, last in pairwise(frames):
            total = np.zeros(moments.exact.shape[:2])  # (U, 6)
            for k in range(first, last):
                moments = Update.of(variances, noise_std, lr * factors[:, k], config.batch)(moments)
                total += moments.risks(variances)[1]
            yield total / (last - first)


def simulate(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """All replicas of the six schedules of all runs in one loop; then the law is fitted, run by run.

    Values, means over the updates since the frame before: loss, the excess risk of sampled SGD, mean over the replicas,
    (R, 6); fsl, by the functional scaling law. In the last frame those of `fitted`.
    """
    losses: list[Array] = []
    for frame in _train(configs, seeds):
        if "loss" in frame.values:
            losses.append(frame.values["loss"])
        if frame.step < frame.total or not frame.values:
            yield frame
            continue
        beat = replace(frame, step=frame.total - 1, values={})
        values = yield from fitted(configs, np.stack(losses, 2), frame.diverged < 0, beat)
        yield replace(frame, values={**frame.values, **values})


def _train(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """The frames of the training."""
    config, samples = configs[0], Samples(configs, seeds)
    frames = evenly(config.steps, FRAMES + 1)
    different = list(dict.fromkeys(configs))
    own = [different.index(c) for c in configs]
    predicted = theory(different, frames)
    factors = torch.from_numpy(np.stack(list(schedules(config.steps).values()), 1)).float()  # (N, 6)
    variances = torch.from_numpy(problem(configs).variances)[:, None, None]  # (R, 1, 1, M)
    v = initial_errors(configs, seeds)[:, None, None].repeat(1, config.replicas, len(NAMES), 1)
    nothing = torch.zeros(v.shape[0], len(NAMES), dtype=torch.float64)
    done, before = 0, nothing  # updates and sum of risks at the frame before

    def batches(k0: int, k1: int) -> Batch:
        return Batch(*samples.draw(k1 - k0, config.replicas, config.batch), factors[k0:k1, :, None])

    def measure(k: int, state: State) -> dict[str, Array]:
        nonlocal done, before
        if k == 0:
            return {}
        loss = (state.risks - before) / (k - done)
        done, before = k, state.risks
        return {"loss": loss.numpy(), "fsl": next(predicted)[own]}

    step = make_step(per_run(configs, "lr", ndim=4), variances, config.batch)
    room = samples.at_once(config.replicas, config.batch)
    return train(State(v, nothing), step, batches, frames, measure, block=room)


# ---- What is measured, claims ----

SETTLED = 100  # steps that no fit sees
LAST = 5  # frames at the end over which errors are judged


def fitted(
    configs: Sequence[Config], losses: Array, healthy: Array, heartbeat: Frame
) -> Generator[Frame, None, dict[str, Array]]:
    """The law fitted to two schedules of each run. losses: (R, 6, F). healthy: (R,).

    Returns law, without_S2: what it says of all six schedules, with and without S2, (R, 6, F); decay (R,);
    coefficients (R, 4): L0, ln A, alpha, C. NaN for a run that diverged.
    """
    frames = np.array(evenly(configs[0].steps, FRAMES + 1))
    shapes = {
        "law": losses.shape,
        "without_S2": losses.shape,
        "decay": (len(configs),),
        "coefficients": (len(configs), 4),
    }
    found = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
    for r, config in enumerate(configs):
        if not healthy[r]:
            continue
        yield heartbeat
        lr = config.lr * np.stack(list(schedules(config.steps).values()))  # (6, N)
        seen = np.isin(NAMES, FITS[config.fit])[:, None] & (frames[1:] > SETTLED)  # (6, F)
        best = law.fit_decay(losses[r], lr, frames, seen)
        S1 = law.framewise(law.area(lr), frames)
        without, _ = law.fit(losses[r][seen], S1[seen], np.zeros(seen.sum()), with_S2=False)
        found["law"][r] = law.predict(best.coefficients, S1, law.framewise(law.annealed(lr, best.decay), frames))
        found["without_S2"][r] = law.predict(without, S1, np.zeros_like(S1))
        found["decay"][r], found["coefficients"][r] = best.decay, best.coefficients
    return found


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, (R,) each; over the last 5 frames.

    error_X: the law over the sampled loss of schedule X, minus 1; without_S2_X: the same of the law without S2.
    error_unseen: the larger size of error_two_step and error_wsd_50. decay: of the law. annealing_gain: the loss of
    constant over that of wsd.
    """
    never = np.full(len(history.seeds), np.nan)
    if "law" not in history:
        errors = {f"{of}_{name}": never for of in ("error", "without_S2") for name in NAMES}
        return {**errors, "error_unseen": never, "decay": never, "annealing_gain": never}
    ends = dict(zip(NAMES, history["loss"][-LAST:].mean(0).T, strict=True))  # (R,) each
    laws, without = (
        dict(zip(NAMES, history.last(of)[:, :, -LAST:].mean(2).T, strict=True)) for of in ("law", "without_S2")
    )
    errors = {f"error_{name}": laws[name] / ends[name] - 1 for name in NAMES}
    return {
        **errors,
        **{f"without_S2_{name}": without[name] / ends[name] - 1 for name in NAMES},
        "error_unseen": np.maximum(np.abs(errors["error_two_step"]), np.abs(errors["error_wsd_50"])),
        "decay": history.last("decay"),
        "annealing_gain": ends["constant"] / ends["wsd"],
    }


# where the recipe found it, one setting at a time
LOUD = settings(
    source=at_most(0.2),
    capacity=between(1.45, 1.55),
    noise_std=between(0.9, 1.1),
    init_scale=0.0,
    lr=between(0.18, 0.25),
    n_features=between(200, 500),
    batch=8,
    replicas=at_least(8),
    steps=at_least(3500),
    fit="cosine_wsd",
)
QUIET = {"noise_std": 0.0}

CLAIMS = (
    Claim(
        id="predicts_unseen",
        statement="Fitted on cosine and wsd, the law predicts the ends of two_step and wsd_50: the larger error.",
        metric="error_unseen",
        bound=at_most(0.06),
        where=LOUD,
        controls=(
            Control("two_step, without S₂", metric="without_S2_two_step"),
            Control("wsd_50, without S₂", metric="without_S2_wsd_50"),
        ),
    ),
    Claim(
        id="annealing_pays",
        statement="Lowering the learning rate at the end lowers the loss: that of constant over that of wsd.",
        metric="annealing_gain",
        bound=at_least(1.2),
        where=LOUD,
        controls=(Control("no label noise", QUIET),),
    ),
    Claim(
        id="S2_is_noise",
        statement="Without S₂ the law fails: its error at the end of wsd_50.",
        metric="without_S2_wsd_50",
        bound=at_least(0.1),
        where=LOUD,
        controls=(Control("no label noise", QUIET),),
    ),
)


# ---- Figure ----

COLORS = dict(zip(NAMES, (BLUE, ORANGE, GREEN, RED, PURPLE, SKY), strict=True))


def panels(history: History) -> list[Panel]:
    """The schedules; losses with the fitted law, and with the one that needs no fit; the ends. Medians over runs."""
    return [_rates(history), _losses(history), _unfitted(history), _ends(history)]


def _rates(history: History) -> Panel:
    """The learning rate of each schedule."""
    config: Config = history.config
    steps = np.arange(config.steps)
    lines: list[Mark] = [
        Line(name, steps[::10], config.lr * factor[::10], COLORS[name])
        for name, factor in schedules(config.steps).items()
    ]
    return Panel("Learning rate", Axis("step", range=(0, config.steps)), Axis("η"), lines)


def _measured(history: History, name: str) -> tuple[Array, Array]:
    """Steps after which a frame ends (F,), and medians over the runs, (6, F); (0,) and (6, 0) before the first.

    Without the first fifth of the run, or a quarter of what there is: the beginning, alike for all, is far above.
    """
    steps, values = recorded(history, name, min(history.config.steps // 5, history.step // 4))  # (F,), (F, R, 6)
    return (steps, medians(values.transpose(2, 0, 1))) if len(steps) else (steps, np.empty((len(NAMES), 0)))


def _losses(history: History) -> Panel:
    """What was measured, and the fitted law: solid where it was fitted, dashed where it predicts."""
    config: Config = history.config
    steps, loss = _measured(history, "loss")
    fits = medians(newest(history, "law", len(NAMES), FRAMES).transpose(1, 2, 0))  # (6, F)
    at = np.array(evenly(config.steps, FRAMES + 1))[1:]
    late = at >= config.steps // 5
    seen = FITS[config.fit]
    lines: list[Mark] = [Line(name, steps, y, COLORS[name], width=1.2) for name, y in zip(NAMES, loss, strict=True)]
    lines += [
        Line(
            "law, fitted" if name in seen else "law, predicted",
            at[late],
            y[late],
            GREY,
            dash=name not in seen,
            width=2.4,
        )
        for name, y in zip(NAMES, fits, strict=True)
    ]
    return Panel("Loss and the fitted law", Axis("step"), Axis("mean of Σ λ v²", log=True), _one_legend(lines))


def _one_legend(lines: list[Mark]) -> list[Mark]:
    """Each name once in the legend."""
    names = [line.name for line in lines]
    return [
        replace(line, legend=names.index(line.name) == k) if isinstance(line, Line) else line
        for k, line in enumerate(lines)
    ]


def _unfitted(history: History) -> Panel:
    """What was measured, and the functional scaling law, which has no free number."""
    steps, loss = _measured(history, "loss")
    fsl = _measured(history, "fsl")[1]
    lines: list[Mark] = [
        Line(name, steps, y, COLORS[name], width=1.2, legend=False) for name, y in zip(NAMES, loss, strict=True)
    ]
    lines += [Line("functional scaling law", steps, y, GREY, dash=True) for y in fsl]
    return Panel("Loss and the law without a fit", Axis("step"), Axis("mean of Σ λ v²", log=True), _one_legend(lines))


def _ends(history: History) -> Panel:
    """Predicted against measured loss at the end, of each schedule."""
    measured = np.full(len(NAMES), np.nan)
    kinds = dict.fromkeys(("law", "without_S2", "fsl"), measured)
    if "law" in history:
        measured = medians(history["loss"][-LAST:].mean(0).T)  # (6,)
        kinds = {of: medians(history.last(of)[:, :, -LAST:].mean(2).T) for of in ("law", "without_S2")}
        kinds["fsl"] = medians(history["fsl"][-LAST:].mean(0).T)
    known = measured[np.isfinite(measured)]
    diagonal = np.array([known.min(), known.max()]) if len(known) else np.full(2, np.nan)
    return Panel(
        "Loss at the end",
        Axis("measured", log=True),
        Axis("predicted", log=True),
        [
            Line("equal", diagonal, diagonal, GREY, dash=True),
            Line("fitted law", measured, kinds["law"], BLUE, markers="points"),
            Line("without S₂", measured, kinds["without_S2"], ORANGE, markers="points"),
            Line("functional scaling law", measured, kinds["fsl"], PURPLE, markers="points"),
        ],
        "" if "law" in history else "The law is fitted at the end of the run.",
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="schedules.annealing",
    title="A law for lowering the learning rate",
    question="Does a formula fitted on two learning-rate schedules predict others that it has not seen?",
    paper="2408.11029",
    seconds=2.3,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    borders={"hard | easy: s = 1 − 1/β": regression.hardness},
)
