"""What trained runs say about each claim and its negative controls.

    judge_history(experiment, history)

judges what one history can tell (claims about a single run). For sweeps, controls and claims of another preset, train
what `plan.Plan` lists; it hands all metrics to `judge`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.errors import InputError, unknown
from dyntoolkit.experiment.claims import Array, Claim, Control, Metrics, Settings, Sweep
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.record import Experiment

HERE = "these settings"
DIVERGED = "diverged_at"  # the entry of a run's metrics that tells a diverged run from one whose answer is "never"


@dataclass(frozen=True)
class ControlVerdict:
    """What a control showed. value, diverged, confirmed: per seed; () where it was not judged, and `note` says why.

    pooled: the value is one number over all seeds, repeated for each.
    """

    label: str
    threshold: str
    value: tuple[float, ...] = ()
    confirmed: tuple[bool, ...] = ()
    pooled: bool = False
    note: str = ""
    diverged: tuple[bool, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it is confirmed for more than half of the seeds."""
        return majority(self.confirmed)


@dataclass(frozen=True)
class Verdict:
    """What became of one claim. value, holds: per seed; NaN for a diverged run or "never", which does not hold.

    expected: whether the claim may pass or fail in these settings; where not, the value may be (), not measured.
    place: the settings it was judged in, such as "preset on_off". grounds: where it is expected, in words, if known.
    controls: only those whose runs were there. note: what else a reader should know, or "". diverged: per seed, whether
    a run that it was judged by did; () where it was not measured.
    """

    id: str
    statement: str
    threshold: str
    expected: bool
    value: tuple[float, ...]
    holds: tuple[bool, ...]
    place: str = HERE
    controls: tuple[ControlVerdict, ...] = field(default=())
    note: str = ""
    grounds: str = ""
    diverged: tuple[bool, ...] = ()

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

    The entry `diverged_at` is the step at which a run diverged, NaN for a healthy one. Raises InputError where the
    experiment's metrics are anything else.
    """
    lost = np.asarray(history.diverged) >= 0
    found: Any = experiment.metrics(history)  # of anybody's code
    if not isinstance(found, Mapping):
        got = type(found).__name__
        raise InputError(f"metrics of {experiment.name} must return a dict, name -> (R,); got {got}.", "metrics")
    for name, value in found.items():
        if np.shape(value) != (len(lost),):
            wanted = f"one number for each of the {len(lost)} runs"
            raise InputError(
                f"metric {name!r} of {experiment.name} has the shape {np.shape(value)}, not {wanted}.", name
            )
    metrics = {name: np.where(lost, np.nan, value) for name, value in found.items()}
    return {**metrics, DIVERGED: np.where(lost, history.diverged, np.nan)}


def judge_history(experiment: Experiment, history: History, claims: Iterable[Claim] | None = None) -> list[Verdict]:
    """What one finished history of runs of the same settings says about the claims (default: the experiment's)."""
    chosen = experiment.claims if claims is None else claims
    metrics = {history.config: run_metrics(experiment, history)}
    return judge(experiment, history.config, len(history.seeds), metrics, chosen)


def judge(
    experiment: Experiment, config: Config, runs: int, metrics: Mapping[Config, Metrics], claims: Iterable[Claim]
) -> list[Verdict]:
    """What the trained runs say about the claims.

    runs: how many seeds were asked for. metrics: settings -> metrics (R,) as `run_metrics` gives them; the first `runs`
    are those of the seeds asked for, more may follow and serve claims about several seeds. A claim whose runs are not
    there (a sweep that was not trained) is left out; so are controls. A claim whose preset was not trained is judged
    in `config`, as not expected there.
    """
    verdicts = []
    for claim in claims:
        settings, place = judged_in(experiment, config, claim)
        if place != HERE and not _trained(claim, settings, metrics):
            settings, place = config, HERE
        verdicts.append(_judge(claim, settings, place, runs, metrics))
    return [verdict for verdict in verdicts if verdict is not None]


def judged_in(experiment: Experiment, config: Config, claim: Claim) -> tuple[Config, str]:
    """The settings in which a claim is judged, and their name: its preset, where it is not expected in `config`."""
    if claim.where(config) or not claim.preset:
        return config, HERE
    return experiment.configure(claim.preset), f"preset {claim.preset}"


def sweep_of(claim: Claim, control: Control | None) -> Sweep | None:
    """The sweep that gives the judged number of a claim or of its control, if there is one."""
    return control.sweep if control is not None and control.sweep else claim.sweep


def needed_configs(claim: Claim, settings: Config, control: Control | None) -> list[Config]:
    """The settings of the run, or of the sweep's runs, with the control's changes on top; InputError where refused."""
    sweep = sweep_of(claim, control)
    entries: Iterable[Mapping[str, Any]] = sweep.changes if sweep else ({},)
    changes = control.changes if control else {}
    return [settings.replace(**{**entry, **changes}) for entry in entries]


def _trained(claim: Claim, settings: Config, metrics: Mapping[Config, Metrics]) -> bool:
    """Whether all runs are there that judge the claim (nothing can be trained where Config refuses them)."""
    try:
        return all(needed in metrics for needed in needed_configs(claim, settings, None))
    except InputError:
        return True


@dataclass(frozen=True)
class _Measured:
    """The judged number of each seed asked for, (R,), and whether that run diverged, (R,)."""

    value: Array
    diverged: Array
    pooled: bool = False  # one number over all seeds, repeated


def _measure(
    claim: Claim, control: Control | None, configs: Sequence[Config], runs: int, metrics: Mapping[Config, Metrics]
) -> _Measured | None:
    """The number that judges the claim, or the control, in trained settings; None where a needed run is missing."""
    sweep = sweep_of(claim, control)
    least = max(runs, sweep.least_seeds if sweep else 1)
    trained = [len(metrics[config][DIVERGED]) for config in configs if config in metrics]
    if len(trained) < len(configs) or min(trained) < least:
        return None
    # exactly as many seeds as this number asks for, whatever else they were trained for
    rows = [{name: array[:least] for name, array in metrics[config].items()} for config in configs]
    diverged = np.any([~np.isnan(row[DIVERGED]) for row in rows], axis=0)
    value = np.asarray(_number(claim, control, rows, configs[0]), dtype=np.float64)
    if len(value) == least:
        return _Measured(value[:runs], diverged[:runs])
    return _Measured(np.repeat(value, runs), np.repeat(diverged.any(), runs), pooled=True)


def _number(claim: Claim, control: Control | None, rows: Sequence[Metrics], config: Config) -> Array:
    """The judged number per seed, or (1,) over all of them, from the metrics of each of the configs' runs."""
    if control is not None and control.metric:
        return _metric(control.metric, rows[0])
    sweep = sweep_of(claim, control)
    if sweep is not None:
        return sweep.value(rows)
    return claim.value(rows[0], config) if claim.value else _metric(claim.metric, rows[0])


def _metric(name: str, row: Metrics) -> Array:
    """A run's metric of that name; InputError where there is none."""
    if name not in row:
        raise unknown("metric", name, row)
    return row[name]


def _judge(claim: Claim, settings: Config, place: str, runs: int, metrics: Mapping[Config, Metrics]) -> Verdict | None:
    """The verdict on one claim in settings that were trained."""
    grounds = str(claim.where) if isinstance(claim.where, Settings) else ""
    verdict = Verdict(claim.id, claim.statement, str(claim.bound), False, (), (), place, grounds=grounds)
    if not claim.where(settings):
        return _not_expected(verdict, claim, settings, runs, metrics)
    try:
        configs = needed_configs(claim, settings, None)
    except InputError as refusal:
        return replace(verdict, note=f"cannot be judged here: {refusal}")
    own = _measure(claim, None, configs, runs, metrics)
    if own is None:
        return None
    controls = [_control(claim, settings, control, runs, metrics) for control in claim.controls]
    return replace(
        verdict,
        expected=True,
        value=tuple(own.value.tolist()),
        holds=tuple(claim.bound.holds(own.value).tolist()),
        diverged=tuple(own.diverged.tolist()),
        controls=tuple(control for control in controls if control is not None),
    )


def _not_expected(
    verdict: Verdict, claim: Claim, settings: Config, runs: int, metrics: Mapping[Config, Metrics]
) -> Verdict:
    """Where a claim has no ground only its metric is shown, if these settings have it; nothing is derived from it."""
    if claim.value or claim.sweep or claim.metric not in metrics.get(settings, {}):
        return verdict
    value = np.asarray(metrics[settings][claim.metric], dtype=np.float64)[:runs]
    lost = ~np.isnan(metrics[settings][DIVERGED][:runs])
    return replace(
        verdict,
        value=tuple(value.tolist()),
        holds=tuple(claim.bound.holds(value).tolist()),
        diverged=tuple(lost.tolist()),
    )


def _control(
    claim: Claim, settings: Config, control: Control, runs: int, metrics: Mapping[Config, Metrics]
) -> ControlVerdict | None:
    """What the control showed; None where it was not trained. A diverged run confirms nothing."""
    verdict = ControlVerdict(control.label, str(control.bound) if control.bound else f"not {claim.bound}")
    try:
        configs = needed_configs(claim, settings, control)
    except InputError as refusal:
        return replace(verdict, note=f"cannot be trained here: {refusal}")
    seen = _measure(claim, control, configs, runs, metrics)
    if seen is None:
        return None
    inside = control.bound.holds(seen.value) if control.bound else ~claim.bound.holds(seen.value)
    confirmed = inside & ~seen.diverged
    return replace(
        verdict,
        value=tuple(seen.value.tolist()),
        confirmed=tuple(confirmed.tolist()),
        pooled=seen.pooled,
        diverged=tuple(seen.diverged.tolist()),
    )
