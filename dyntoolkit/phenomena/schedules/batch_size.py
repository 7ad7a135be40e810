"""With a fixed number of samples, at what point should the batch grow?

arXiv 2602.14208 (a hard task wants small batches for most of the training and a late switch to large ones, an easy task
a growing batch), on one-pass linear regression; theory after arXiv 2509.19189.
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
    Map,
    Preset,
    at_least,
    at_most,
    between,
    number,
    settings,
)
from dyntoolkit.figure.panels import (
    BLUE,
    GREEN,
    GREY,
    MEASURED,
    ORANGE,
    PURPLE,
    Axis,
    Line,
    Mark,
    Panel,
    median_line,
    medians,
)
from dyntoolkit.figure.recorded import newest, recorded
from dyntoolkit.phenomena.schedules import _regression as regression
from dyntoolkit.phenomena.schedules._regression import Samples, excess_risk, initial_errors, problem
from dyntoolkit.phenomena.schedules._switch import check_batches
from dyntoolkit.phenomena.schedules._theory import Moments, Update

Tensor = torch.Tensor

# ---- Settings and presets ----

POINTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)  # p, share of the data before


class Config(regression.Config):
    """Settings of one run: 14 schedules that see the same samples and switch to the large batch at different points."""

    small_batch: int = number(
        8, 2, 32, label="small batch", help="batch before the switch", doubling=True, main=True, structural=True
    )
    large_batch: int = number(
        64, 16, 256, label="large batch", help="batch after the switch", doubling=True, main=True, structural=True
    )
    data: int = number(64000, 8000, 128000, label="samples", help="samples in all", log=True, structural=True)

    def check(self) -> None:
        """The large batch is larger."""
        check_batches(self.small_batch, self.large_batch)

    def warnings(self) -> list[str]:
        """A learning rate that the small batch does not bear."""
        return regression.warnings(self, self.small_batch)

    @property
    def chunks(self) -> int:
        """C: so many large batches, the points at which a schedule may switch."""
        return self.data // self.large_batch

    @property
    def ratio(self) -> int:
        """Small steps per large one."""
        return self.large_batch // self.small_batch

    @property
    def switches(self) -> Array:
        """The chunk before which each schedule switches, (S,)."""
        return np.round(np.array(POINTS) * self.chunks).astype(int)

    @property
    def recorded_chunks(self) -> list[int]:
        """The chunks after which a run is measured: every 20th, more often where there are few, and the last."""
        every = max(1, min(20, self.chunks // 50))
        return sorted({*range(0, self.chunks, every), self.chunks})


PRESETS = {
    "hard": Preset("A hard task: small batches for most of the data, then a late switch."),
    "easy": Preset("The target lies in the loud features: grow at once.", {"source": 1.0}),
    "noiseless": Preset("Without label noise a small batch costs nothing: never grow.", {"noise_std": 0.0}),
    "random_start": Preset(
        "A random start turns the easy task into a hard one: late again.", {"source": 1.0, "init_scale": 1.0}
    ),
    "loud": Preset("Much noise: the best point moves to the middle.", {"noise_std": 3.0}),
}


# ---- Data, model, step ----

# Features, target, samples and excess risk are those of `_regression`, exact expectation and scaling law of `_theory`


class State(NamedTuple):
    """Where the S schedules of each run stand.

    v: w - w*, (R, S, M). gradient: the sum over the samples since a schedule's last step, (R, S, M).
    """

    v: Tensor
    gradient: Tensor


class Batch(NamedTuple):
    """b = small_batch samples, and which schedules make a step after them: 1/B for those, else 0, (S, 1)."""

    x: Tensor  # (R, b, M)
    noise: Tensor  # (R, b)
    due: Tensor


def make_batches(configs: Sequence[Config], samples: Samples) -> Callable[[int, int], Batch]:
    """The batches of small steps k0..k1-1: every schedule sees the same samples."""
    config, ratio = configs[0], configs[0].ratio
    switches = torch.from_numpy(config.switches)

    def batches(k0: int, k1: int) -> Batch:
        k = torch.arange(k0, k1, dtype=torch.int64)[:, None]  # (K, 1)
        small = k // ratio < switches  # (K, S)
        whole = (k % ratio == ratio - 1).expand_as(small)  # a chunk is complete
        due = torch.where(small, 1 / config.small_batch, torch.where(whole, 1 / config.large_batch, 0.0))  # (K, S)
        x, noise = samples.draw(k1 - k0, config.small_batch)
        return Batch(x, noise, due.float()[:, :, None])

    return batches


def make_step(lr: Tensor) -> Callable[[State, Batch], State]:
    """The step of all schedules on b more samples. lr: (R, 1, 1)."""

    def step(state: State, batch: Batch) -> State:
        error = batch.x @ state.v.mT - batch.noise[:, :, None]  # x.v - noise, (R, b, S)
        gradient = state.gradient + error.mT @ batch.x  # (R, S, M)
        # v <- v - (lr/B) sum_i x_i (x_i.v - noise_i) at the end of a batch
        v = state.v - lr * batch.due * gradient  # (R, S, M)
        return State(v, torch.where(batch.due > 0, 0.0, gradient))

    return step


def theory(configs: Sequence[Config]) -> Iterator[tuple[Array, Array]]:
    """Excess risk of all schedules, exact and by the law, (U, S) each, at every recorded chunk of U settings.

    One trunk at small_batch, and a branch copied from it at each switch.
    """
    config, (variances, _, start) = configs[0], problem(configs)
    variances, start = variances[:, None], start[:, None]  # (U, 1, M)
    noise_std, lr = (np.array([getattr(c, of) for c in configs])[:, None, None] for of in ("noise_std", "lr"))
    small, large = (Update.of(variances, noise_std, lr, size) for size in (config.small_batch, config.large_batch))
    trunk = Moments.start(variances, start)  # (U, 1, M)
    shape = len(configs), len(POINTS), start.shape[-1]
    branches = Moments(*(np.broadcast_to(part, shape).copy() for part in trunk))
    with np.errstate(all="ignore"):  # an expectation may diverge
        for chunk in range(config.chunks + 1):
            before, now = (
                int((config.switches < end).sum()) for end in (chunk, chunk + 1)
            )  # p ascends: the first ones
            for part, of_trunk in zip(branches, trunk, strict=True):
                part[:, before:] = of_trunk
            if chunk in config.recorded_chunks:
                yield branches.risks(variances)
            for part, new in zip(branches, large(Moments(*(part[:, :now] for part in branches))), strict=True):
                part[:, :now] = new
            for _ in range(config.ratio):
                trunk = small(trunk)


def simulate(configs: Sequence[Config], seeds: Sequence[int], samples_of: type[Samples] = Samples) -> Iterator[Frame]:
    """All schedules of all runs in one loop, a step of which is one small batch; on samples of this kind.

    Values (R, S): risk, the excess risk of sampled SGD; exact and fsl, in expectation and by the functional scaling
    law; exact_quiet, the expectation without label noise.
    """
    config, samples = configs[0], samples_of(configs, seeds)
    different = list(dict.fromkeys([*configs, *(c.replace(noise_std=0.0) for c in configs)]))
    own = [different.index(c) for c in configs]
    quiet = [different.index(c.replace(noise_std=0.0)) for c in configs]
    predicted = theory(different)
    variances = torch.from_numpy(problem(configs).variances)[:, None]  # (R, 1, M)
    v = initial_errors(configs, seeds)[:, None].repeat(1, len(POINTS), 1)  # (R, S, M)

    def measure(k: int, state: State) -> dict[str, Array]:
        exact, fsl = next(predicted)
        risk = excess_risk(variances, state.v).numpy()
        return {"risk": risk, "exact": exact[own], "fsl": fsl[own], "exact_quiet": exact[quiet]}

    return train(
        State(v, torch.zeros_like(v)),
        make_step(per_run(configs, "lr", ndim=3)),
        make_batches(configs, samples),
        [chunk * config.ratio for chunk in config.recorded_chunks],
        measure,
        block=samples.at_once(config.small_batch),
    )


def simulate_exact(configs: Sequence[Config], seeds: Sequence[int]) -> Iterator[Frame]:
    """The exact expectation alone, as the map shows it. Values (R, S): exact."""
    config, healthy = configs[0], np.full(len(seeds), -1)
    for chunk, (exact, _) in zip(config.recorded_chunks, theory(configs), strict=True):
        yield Frame(chunk * config.ratio, config.chunks * config.ratio, {"exact": exact}, healthy)


# ---- What is measured, claims ----


def best(risks: Array) -> Array:
    """Index of the schedule with the smallest final risk, the first one of several, (R, S) -> (R,)."""
    return np.asarray(np.where(np.isnan(risks), np.inf, risks).argmin(1))


def judged(risks: Array, name: str) -> dict[str, Array]:
    """best_switch: p of the smallest final risk F(p); early_cost: F(0)/min F; late_cost: F(1)/min F. risks: (R, S)."""
    least = risks[np.arange(len(risks)), best(risks)]  # (R,)
    return {
        f"best_switch{name}": np.where(np.isnan(least), np.nan, np.array(POINTS)[best(risks)]),
        f"early_cost{name}": risks[:, 0] / least,
        f"late_cost{name}": risks[:, -1] / least,
    }


def metrics(history: History) -> dict[str, Array]:
    """What the recipe names, (R,) each.

    best_switch, early_cost, late_cost of the sampled run; _exact: in expectation; best_switch_fsl: by the law.
    sgd_error: mean over p of |F(p)/exact - 1|; quiet_error: the same with the expectation without label noise.
    fsl_error: mean of |FSL/exact - 1| over p and all frames but those of the first tenth.
    """
    risk, exact, quiet = (history.last(name) for name in ("risk", "exact", "exact_quiet"))  # (R, S)
    late = history.at("fsl") >= history.total / 10  # (T,)
    with np.errstate(all="ignore"):  # of a run that is about to diverge
        return {
            **judged(risk, ""),
            **judged(exact, "_exact"),
            "best_switch_fsl": judged(history.last("fsl"), "")["best_switch"],
            "sgd_error": np.abs(risk / exact - 1).mean(1),
            "quiet_error": np.abs(risk / quiet - 1).mean(1),
            "fsl_error": np.abs(history["fsl"][late] / history["exact"][late] - 1).mean((0, 2)),
        }


def best_switch_exact(history: History) -> Array:
    """The best p in expectation, (R,); NaN before the end."""
    if not history.done:
        return np.full(len(history.seeds), np.nan)
    return judged(history.last("exact"), "")["best_switch"]


# where the recipe found it one setting at a time, and the exact expectation of settings drawn from all of them agrees
HARD = settings(
    source=at_most(0.2),
    capacity=between(1.5, 3),
    noise_std=between(0.1, 1),
    lr=between(0.02, 0.2),
    small_batch=(8, 16, 32),
    n_features=at_least(300),
)
NOISY = settings(
    source=at_most(0.2),
    capacity=between(1.35, 1.6),
    noise_std=between(0.5, 1),
    init_scale=at_most(1),
    lr=between(0.1, 0.3),
    small_batch=at_most(8),
    large_batch=at_least(64),
    data=at_least(32000),
    n_features=at_most(300),
)
LOUD = settings(
    source=at_most(0.2),
    capacity=between(1.35, 1.5),
    noise_std=at_least(1),
    init_scale=0.0,
    lr=between(0.2, 0.3),
    small_batch=at_most(8),
    large_batch=at_least(64),
    data=at_least(64000),
    n_features=at_most(300),
)
EASY = {"source": 1.0}
QUIET = {"noise_std": 0.0}

CLAIMS = (
    Claim(
        id="late_switch",
        statement="A hard task wants small batches for most of the data: the best switch point.",
        metric="best_switch",
        bound=at_least(0.8),
        where=HARD,
        controls=(Control("an easy task, source 1", EASY),),
    ),
    Claim(
        id="early_costs",
        statement="Growing at once costs: the final risk at p = 0 over that of the best p.",
        metric="early_cost",
        bound=at_least(2),
        where=NOISY,
        controls=(Control("an easy task, source 1", EASY),),
    ),
    Claim(
        id="growing_pays",
        statement="Never growing costs, too: the risk at p = 1 over that of the best p, in expectation.",
        metric="late_cost_exact",
        bound=at_least(1.4),
        where=LOUD,
        controls=(Control("no label noise", QUIET),),
    ),
    Claim(
        id="random_start_is_hard",
        statement="A random start makes an easy task hard: the best switch point.",
        metric="best_switch",
        bound=at_least(0.7),
        where=settings(source=1.0, capacity=1.5, init_scale=1.0, noise_std=1.0, lr=0.2, small_batch=8),
        preset="random_start",
        controls=(Control("start at 0", {"init_scale": 0.0}),),
    ),
    Claim(
        id="theory",
        statement="Sampled SGD follows the exact expectation: the mean error of the 14 final risks.",
        metric="sgd_error",
        bound=at_most(0.2),
        where=HARD,
        controls=(Control("the expectation without label noise", metric="quiet_error"),),
    ),
)


# ---- Figure ----

SHOWN = (BLUE, ORANGE, GREEN)  # p = 0, p = 1, and the best on top; as in `_switch`: large, small, switched


def panels(history: History) -> list[Panel]:
    """Excess risk against the samples used; the final risk against the switch point. The median over several runs."""
    return [_courses(history), _ends(history)]


def _best(history: History) -> int:
    """The schedule with the smallest risk so far."""
    return int(best(medians(history.last("risk").T)[None])[0]) if "risk" in history else 0


def _courses(history: History) -> Panel:
    """All schedules against the samples used: three in sight, the others faint, and the law for the three."""
    config: Config = history.config
    steps, risk = recorded(history, "risk", 1)  # (T,), (T, R, S)
    fsl = recorded(history, "fsl", 1)[1]
    if not len(steps):
        risk = fsl = np.empty((0, len(history.seeds), len(POINTS)))
    samples, chosen = steps * config.small_batch, (0, len(POINTS) - 1, _best(history))
    always = np.ones(len(samples), dtype=bool)
    branched = samples >= POINTS[chosen[2]] * config.data - config.large_batch  # before, the best is the trunk
    names = ("large at once: p = 0", "never large: p = 1", f"best: p = {POINTS[chosen[2]]:g}")
    lines: list[Mark] = [
        Line(f"p = {p:g}", samples, medians(risk[:, :, s]), GREY, width=0.7, legend=False, behind=True)
        for s, p in enumerate(POINTS)
    ]
    lines += [
        median_line(name, samples[shown], risk[shown][:, :, s], color, width=2.6)
        for name, s, color, shown in zip(names, chosen, SHOWN, (always, always, branched), strict=True)
    ]
    lines += [
        Line("scaling law", samples, medians(fsl[:, :, s]), GREY, dash=True, legend=not n) for n, s in enumerate(chosen)
    ]
    return Panel(
        "Excess risk",
        Axis("samples used", log=True, range=(max(1, config.data / 100), config.data)),
        Axis("L = Σ λ v²", log=True),
        lines,
    )


def _ends(history: History) -> Panel:
    """The risk so far, at the end the final one, against the switch point p."""
    points = np.array(POINTS)
    risk, exact, fsl = (newest(history, of, len(POINTS)).T for of in ("risk", "exact", "fsl"))  # (S, R)
    s = _best(history)
    return Panel(
        "Final risk",
        Axis("p, share of samples before the switch", range=(-0.03, 1.03)),
        Axis("L at the end", log=True),
        [
            Line("exact expectation", points, medians(exact), PURPLE),
            Line("scaling law", points, medians(fsl), GREY, dash=True),
            median_line("sampled SGD", points, risk, MEASURED, markers="points"),
            Line(f"best: p = {points[s]:g}", points[s : s + 1], medians(risk)[s : s + 1], GREEN, markers="points"),
        ],
    )


# ---- The record ----

EXPERIMENT = Experiment(
    name="schedules.batch_size",
    title="When to grow the batch",
    question="With a fixed number of samples, at what point should the batch grow from 8 to 64?",
    paper="2602.14208",
    seconds=1.0,
    config=Config,
    presets=PRESETS,
    simulate=simulate,
    metrics=metrics,
    claims=CLAIMS,
    panels=panels,
    map=Map(
        title="Best switch point, in expectation",
        label="best p",
        x="source",
        y="capacity",
        xs=(0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.2),
        ys=(1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0),
        simulate=simulate_exact,
        value=best_switch_exact,
        random=False,
    ),
    borders={
        "hard | easy: s = 1 − 1/β": regression.hardness,
        "the expectation diverges": lambda config: 1 - regression.noise_gain(config, config.small_batch),
    },
)
