"""Judging claims: what must be trained for them, and what the trained runs say about each of them and its controls.

    verdicts = judge(experiment, config, seeds, {config: run_metrics(experiment, history)}, experiment.claims)

judges what one history can tell (claims about a single run). To judge sweeps, controls and claims of another preset
too, train first what `needs` lists, and give `judge` all of those metrics.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dyntoolkit.claims import Array, Claim, Control, Metrics
from dyntoolkit.config import Config
from dyntoolkit.engine.history import History
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment

HERE = "these settings"
MEAN_SEEDS = 5  # a condition on a mean over seeds is applied to at least so many
DIVERGED = "diverged_at"  # the entry of a run's metrics that tells a diverged run from one whose answer is "never"


@dataclass(frozen=True)
class ControlVerdict:
    """What a control showed. value: per seed. confirmed: per seed, or one for the mean; () where it was not judged.

    mean: the mean over all trained seeds, where that decides (else None). note: why it was not judged, or "".
    """

    label: str
    threshold: str
    value: tuple[float, ...] = ()
    confirmed: tuple[bool, ...] = ()
    mean: float | None = None
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether it is confirmed for more than half of the seeds (or for the mean)."""
        return majority(self.confirmed)


@dataclass(frozen=True)
class Verdict:
    """What became of one claim. value, holds: per seed; NaN for a diverged run or "never", which does not hold.

    expected: whether the claim may pass or fail in these settings. where: the settings it was judged in, such as
    "preset on_off". controls: only those whose runs were there. note: what else a reader should know, or "".
    """

    id: str
    statement: str
    threshold: str
    expected: bool
    value: tuple[float, ...]
    holds: tuple[bool, ...]
    where: str = HERE
    controls: tuple[ControlVerdict, ...] = field(default=())
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether it holds for more than half of the seeds."""
        return majority(self.holds)


def majority(answers: Sequence[bool]) -> bool:
    """Whether more than half of the answers are yes."""
    return 2 * sum(answers) > len(answers)


def succeeded(verdicts: Iterable[Verdict]) -> bool:
    """Whether each expected claim holds for the majority of seeds; controls are reported and decide nothing."""
    return all(verdict.passed for verdict in verdicts if verdict.expected)


def run_metrics(experiment: Experiment, history: History) -> dict[str, Array]:
    """The metrics of every run of a history, name -> float64 (R,), NaN throughout for a diverged run.

    The entry `diverged_at` is the step at which a run diverged, NaN for a healthy one.
    """
    lost = np.asarray(history.diverged) >= 0
    metrics = {name: np.where(lost, np.nan, value) for name, value in experiment.metrics(history).items()}
    return {**metrics, DIVERGED: np.where(lost, history.diverged, np.nan)}


def more_seeds(seeds: Sequence[int], least: int) -> tuple[int, ...]:
    """The seeds asked for, and the ones after the largest of them until there are `least`."""
    wanted = list(seeds)
    while len(wanted) < least:
        wanted.append(max(wanted) + 1)
    return tuple(wanted)


def needs(experiment: Experiment, config: Config, claims: Iterable[Claim]) -> dict[Config, int]:
    """The settings to train to judge these claims with their controls -> for how many seeds at least.

    The first one is `config` itself. A claim that is not expected in `config` is judged in its preset, if it names
    one. Controls are needed only where the claim is expected. Combinations that Config refuses are left out; the
    verdict says so.
    """
    plan = {config: 1}
    for claim in claims:
        settings, _ = _place(experiment, config, claim)
        controls = claim.controls if claim.expected(settings) else ()
        for control in (None, *controls):
            try:
                configs = _configs(claim, settings, control)
            except InputError:
                continue
            for needed in configs:
                plan[needed] = max(plan.get(needed, 1), _least_seeds(claim, control))
            if control is not None and control.exceeds and control.mean and settings in plan:
                plan[settings] = max(plan[settings], MEAN_SEEDS)
    return plan


def judge(
    experiment: Experiment,
    config: Config,
    seeds: Sequence[int],
    metrics: Mapping[Config, Metrics],
    claims: Iterable[Claim],
) -> list[Verdict]:
    """What the trained runs say about the claims.

    metrics: settings -> metrics (R,) as `run_metrics` gives them; the first len(seeds) runs are those of `seeds`, more
    may follow (`more_seeds`) and serve claims about several seeds. A claim whose runs are not there (a sweep that was
    not trained) is left out; so are controls. A claim whose preset was not trained is judged in `config`, as not
    expected there.
    """
    verdicts = []
    for claim in claims:
        settings, where = _place(experiment, config, claim)
        if where != HERE and not _trained(claim, settings, metrics):
            settings, where = config, HERE
        verdict = _judge(claim, settings, where, len(seeds), metrics)
        if verdict is not None:
            verdicts.append(verdict)
    return verdicts


def _place(experiment: Experiment, config: Config, claim: Claim) -> tuple[Config, str]:
    """The settings in which a claim is judged, and their name."""
    if claim.expected(config) or not claim.preset:
        return config, HERE
    preset: Config = experiment.configure(claim.preset)
    return preset, f"preset {claim.preset}"


def _configs(claim: Claim, settings: Config, control: Control | None) -> list[Config]:
    """The settings of the run, or of the sweep's runs, with the control's changes on top; InputError where refused."""
    entries: Iterable[Mapping[str, Any]] = claim.sweep.changes if claim.sweep else ({},)
    changes = control.changes if control else {}
    return [settings.replace(**{**entry, **changes}) for entry in entries]


def _trained(claim: Claim, settings: Config, metrics: Mapping[Config, Metrics]) -> bool:
    """Whether all runs are there that judge the claim (nothing can be trained where Config refuses them)."""
    try:
        return all(needed in metrics for needed in _configs(claim, settings, None))
    except InputError:
        return True


def _least_seeds(claim: Claim, control: Control | None) -> int:
    """How many seeds it takes to judge the claim, or its control."""
    mean = control.mean if control else bool(claim.mean)
    return max(claim.sweep.least_seeds if claim.sweep else 1, MEAN_SEEDS if mean else 1)


@dataclass(frozen=True)
class _Measured:
    """The judged number of each of `seeds` seeds, or (1,) pooled over them; diverged, likewise."""

    value: Array
    diverged: Array
    seeds: int


def _first(array: Array, runs: int) -> Array:
    """(runs,) the entry of each seed asked for; a pooled one counts for all of them."""
    return np.repeat(array, runs) if len(array) == 1 else array[:runs]


def _measure(
    claim: Claim, control: Control | None, configs: Sequence[Config], runs: int, metrics: Mapping[Config, Metrics]
) -> _Measured | None:
    """The number that judges the claim, or the control, in trained settings; None where a needed run is missing."""
    if any(config not in metrics for config in configs):
        return None
    trained = min(len(array) for config in configs for array in metrics[config].values())
    least = claim.sweep.least_seeds if claim.sweep else 1
    if trained < max(runs, least):
        return None
    trained = min(trained, max(runs, _least_seeds(claim, control)))  # as many, whatever else the seeds serve
    rows = [{name: array[:trained] for name, array in metrics[config].items()} for config in configs]
    healthy = np.full(trained, np.nan)
    diverged = np.any([~np.isnan(row.get(DIVERGED, healthy)) for row in rows], axis=0)
    if control is not None and control.metric:
        value = rows[0][control.metric]
    elif claim.sweep:
        value = claim.sweep.value(rows)
    else:
        value = claim.value(rows[0], configs[0]) if claim.value else rows[0][claim.metric]
    value = np.asarray(value, dtype=np.float64)
    return _Measured(value, diverged if len(value) == trained else np.array([diverged.any()]), trained)


def _judge(claim: Claim, settings: Config, where: str, runs: int, metrics: Mapping[Config, Metrics]) -> Verdict | None:
    """The verdict on one claim in settings that were trained."""
    expected = claim.expected(settings)
    try:
        configs = _configs(claim, settings, None)
    except InputError as refusal:
        void, note = (math.nan,) * runs, f"cannot be judged here: {refusal}"
        return Verdict(claim.id, claim.statement, str(claim.bounds), False, void, (False,) * runs, where, note=note)
    own = _measure(claim, None, configs, runs, metrics)
    if own is None:
        return None
    value = _first(own.value, runs)
    means = list(_means(claim, settings, metrics))
    holds = claim.bounds.hold(value) & all(held for _, held in means)
    threshold = "; ".join([str(claim.bounds), *(f"mean {name} {bounds}" for name, bounds in claim.mean.items())])
    controls = [_control(claim, settings, control, own, runs, metrics) for control in claim.controls if expected]
    return Verdict(
        claim.id,
        claim.statement,
        threshold,
        expected,
        tuple(value.tolist()),
        tuple(holds.tolist()),
        where,
        tuple(control for control in controls if control is not None),
        "; ".join(text for text, _ in means),
    )


def _means(claim: Claim, settings: Config, metrics: Mapping[Config, Metrics]) -> Iterator[tuple[str, bool]]:
    """The claim's conditions on means, each in words and whether it holds (so with too few seeds)."""
    for name, bounds in claim.mean.items():
        values = np.asarray(metrics[settings][name])
        mean = values.mean()
        if len(values) < MEAN_SEEDS:
            yield f"mean {name} needs {MEAN_SEEDS} seeds", True
        else:
            yield f"mean {name} = {mean:.3g} over {len(values)} seeds", bool(bounds.hold(mean))


def _control(
    claim: Claim, settings: Config, control: Control, own: _Measured, runs: int, metrics: Mapping[Config, Metrics]
) -> ControlVerdict | None:
    """What the control showed; None where it was not trained. A diverged run confirms nothing."""
    conditions = [] if control.bounds is None else [str(control.bounds)]
    conditions += ["above the claim's own"] if control.exceeds else []
    threshold = ", ".join(conditions) or f"not {claim.bounds}"
    threshold = f"mean {threshold}" if control.mean else threshold
    try:
        configs = _configs(claim, settings, control)
    except InputError as refusal:
        return ControlVerdict(control.label, threshold, note=f"cannot be trained here: {refusal}")
    seen = _measure(claim, control, configs, runs, metrics)
    if seen is None:
        return None
    value = _first(seen.value, runs)
    verdict = ControlVerdict(control.label, threshold, tuple(value.tolist()))
    if not control.mean:
        confirmed = _confirms(claim, control, value, _first(own.value, runs)) & ~_first(seen.diverged, runs)
        return replace(verdict, confirmed=tuple(confirmed.tolist()))
    if seen.seeds < MEAN_SEEDS:
        return replace(verdict, note=f"the mean needs {MEAN_SEEDS} seeds")
    mean = seen.value.mean()
    confirmed = _confirms(claim, control, mean, own.value.mean()) & ~seen.diverged.any()
    return replace(verdict, confirmed=(bool(confirmed),), mean=float(mean))


def _confirms(claim: Claim, control: Control, value: Array, own: Array) -> Array:
    """Whether numbers seen in the control are what it must show, next to the claim's own."""
    if control.bounds is None and not control.exceeds:
        return ~claim.bounds.hold(value)
    inside = np.isfinite(value) if control.bounds is None else control.bounds.hold(value)
    return inside & (value > own) if control.exceeds else inside
