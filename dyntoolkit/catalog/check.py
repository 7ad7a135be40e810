"""`check`: does an experiment, anybody's, keep the rules that dashboard, command line and tests rely on?"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dyntoolkit.catalog.registry import find
from dyntoolkit.engine.choice import Asked, asking
from dyntoolkit.engine.history import History
from dyntoolkit.engine.own_state import one_thread
from dyntoolkit.errors import InputError, problem_words, whole_number
from dyntoolkit.experiment import Config, Experiment, Slider, judge_history, run_metrics
from dyntoolkit.experiment.config import doublings
from dyntoolkit.experiment.words import changed_words
from dyntoolkit.figure.panels import Heat

SECONDS = 3.0  # that one run of any settings may take; what there is by then is looked at
SIMPLIFY = 15.0  # seconds spent on finding out which of the fields matter
THEORIES = 50  # settings at which theory is asked
RTOL, ATOL = 1e-3, 1e-5  # rounding differs between a run alone and among others, and grows while it trains


Rule = Callable[[Experiment, Any], None]  # about an experiment at these settings


class Broken(Exception):  # noqa: N818  # a finding, not a failure of the program
    """A rule that the experiment breaks, in words."""


@dataclass(frozen=True, repr=False)
class Report:
    """What `check` found: each rule in words, and what breaks it ("" where nothing does)."""

    experiment: str
    findings: tuple[tuple[str, str], ...]

    @property
    def passed(self) -> bool:
        """Whether every rule is kept."""
        return not any(problem for _, problem in self.findings)

    def __repr__(self) -> str:
        lines = [
            f"{'✗' if problem else '✓'} {rule}{f': {problem}' if problem else ''}" for rule, problem in self.findings
        ]
        return "\n".join([f"{self.experiment}: {'keeps all rules' if self.passed else 'breaks a rule'}", *lines])


def check(
    experiment: str | Experiment, *, most: Mapping[str, float] | None = None, until: int = 20, examples: int = 15
) -> Report:
    """Try whether an experiment keeps the rules, and report in words.

    experiment: its name, or the object. most: the largest value of some fields to try, such as {"steps": 300}, so that
    runs of any settings come to their end; without it each is given up after SECONDS. until: up to which step a run
    alone must equal the same run among others (rounding grows without bound where training is chaotic), and how far
    the runs go that are repeated under other global settings of torch. examples: how many settings are tried.

    torch's default dtype and device are changed while it works, and put back.

    >>> check("label_noise.linear", most={"steps": 500, "width": 32}, examples=3).passed
    True
    """
    experiment = find(experiment)
    examples = whole_number("examples", examples, 1, 10_000)
    any_settings(experiment.config, most or {})  # refuses what is no field, before anything is trained
    rules: tuple[tuple[str, Callable[[], None]], ...] = (
        ("presets and claims are valid", lambda: _check_record(experiment)),
        ("a run alone equals the same run among others", lambda: _check_alone(experiment, until)),
        (
            "any settings end with a figure, metrics and verdicts",
            lambda: _check_any(experiment, most or {}, examples, _check_run),
        ),
        (
            "theory is a number at any settings, NaN where there is none",
            lambda: _check_any(experiment, {}, THEORIES, _check_theory),
        ),
        ("no global random state is touched", lambda: _check_random(experiment, until)),
        ("the same whatever torch is told globally", lambda: _check_torch(experiment, until)),
    )
    with one_thread():
        return Report(experiment.name, tuple((words, _problem(rule)) for words, rule in rules))


def _problem(rule: Callable[[], None]) -> str:
    """What is wrong, in one sentence; "" where the rule is kept. Whatever an experiment raises is a finding."""
    try:
        rule()
    except Broken as found:
        return str(found)
    except Exception as problem:
        return problem_words(problem)
    return ""


def _check_record(experiment: Experiment) -> None:
    """Presets are accepted; claims are told apart, know their presets, and can say where they are expected."""
    configs = {name: experiment.configure(name) for name in experiment.presets}
    ids = [claim.id for claim in experiment.claims]
    for claim in experiment.claims:
        if ids.count(claim.id) > 1:
            raise Broken(f"two claims are called {claim.id!r}")
        if claim.preset and claim.preset not in configs:
            raise Broken(f"claim {claim.id!r} names a preset {claim.preset!r} that there is not")
        for config in configs.values():
            if not isinstance(claim.where(config), bool | np.bool_):
                raise Broken(f"where of claim {claim.id!r} says neither True nor False")
        fields = experiment.config.sliders()
        for changes in (control.changes for control in claim.controls):
            if unknown := [name for name in changes if name not in fields]:
                raise Broken(f"a control of claim {claim.id!r} changes {unknown[0]!r}, which is no field")


def _pulled(experiment: Experiment, configs: Sequence[Config], seeds: Sequence[int], until: int) -> History:
    """These runs up to the first measured frame from step `until` on."""
    history, frames = experiment.start(configs, seeds)
    with closing(frames):  # type: ignore[type-var]  # `start` gives a generator
        for frame in frames:
            history.append(frame)
            if frame.values and frame.step >= until:
                break
    return history


def _check_alone(experiment: Experiment, until: int) -> None:
    """Three runs of two settings and two seeds in one loop, and each of them alone."""
    default = experiment.configure()
    configs, seeds = [default, _other(default), default], [3, 3, 4]
    together = _pulled(experiment, configs, seeds, until)
    for r, (config, seed) in enumerate(zip(configs, seeds, strict=True)):
        alone = _pulled(experiment, [config], [seed], until)
        _check_equal(together.run(r), alone, until, RTOL, "among others")


def _other(config: Config) -> Config:
    """Settings that may share a loop with these, but differ in every number that may differ there."""
    other = config
    for name, slider in config.sliders().items():
        value = getattr(config, name)
        if slider.structural or isinstance(value, bool | str):
            continue
        for end in (slider.low, slider.high):
            changed = value + (end - value) / 10
            try:
                found = other.replace(**{name: round(changed) if isinstance(value, int) else changed})
            except InputError:  # a rule between fields
                continue
            if found != other:
                other = found
                break
    return other


def _check_equal(one: History, other: History, until: int, rtol: float, where: str) -> None:
    """What both have recorded up to step `until` is the same, to `rtol` of the largest number of its moment."""
    for name in other.names():
        if name not in one:
            raise Broken(f"{name!r} is recorded alone, and not {where}")
        rows, own = one.at(name) <= until, other.at(name) <= until
        if not np.array_equal(one.at(name)[rows], other.at(name)[own]):
            hint = "; is a field such as `steps` in need of structural=True?"
            raise Broken(f"{name!r} is measured at other steps {where}{hint}")
        for step, a, b in zip(one.at(name)[rows], one[name][rows], other[name][own], strict=True):
            a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
            scale = np.max(np.abs(b), where=np.isfinite(b), initial=0.0)
            if not np.allclose(a, b, rtol=rtol, atol=rtol and ATOL + rtol * scale, equal_nan=True):
                raise Broken(f"{name!r} at step {step} is another one {where}")


def _check_any(experiment: Experiment, most: Mapping[str, float], examples: int, rule: Rule) -> None:
    """A rule at settings anywhere in their ranges; the simplest ones that break it are reported."""

    @settings(
        max_examples=examples,
        phases=(Phase.generate,),  # without shrinking, which may take minutes: see `_simplest`
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(any_settings(experiment.config, most))
    def try_settings(fields: dict[str, Any]) -> None:
        try:
            config = experiment.config(**fields)
        except InputError:
            if experiment.config.check is Config.check:
                raise
            return  # only a rule between fields may refuse what is in range
        if _breaks(experiment, config, rule):
            config = _simplest(experiment, config, rule)
            changed = ", ".join(changed_words(config)) or "default settings"
            raise Broken(f"{changed}: {_breaks(experiment, config, rule)}")

    with asking(Asked("eager")):  # sizes of all kinds, each of which would have to be compiled
        try_settings()


def _breaks(experiment: Experiment, config: Config, rule: Rule) -> str:
    """What is wrong at these settings; "" where nothing is."""
    return _problem(lambda: rule(experiment, config))


def _simplest(experiment: Experiment, config: Config, rule: Rule) -> Config:
    """As many fields as possible back at their defaults, while they still break the rule, for SIMPLIFY seconds."""
    deadline = time.monotonic() + SIMPLIFY
    for name, value in type(config)().asdict().items():
        if time.monotonic() > deadline:
            break
        try:
            simpler = config.replace(**{name: value})
        except InputError:  # a rule between fields
            continue
        if simpler != config and _breaks(experiment, simpler, rule):
            config = simpler
    return config


def any_settings(config: type[Config], most: Mapping[str, float]) -> st.SearchStrategy[dict[str, Any]]:
    """Any values of all fields: the ends of their ranges, and anything between; numbers up to `most`.

    Raises InputError for a field in `most` that there is not.
    """
    sliders, default = config.sliders(), config().asdict()
    for name in most:
        if name not in sliders:
            raise InputError(f"most: {name!r} is no field of {config.__name__}.", name)
    fields = {name: _values(slider, default[name], most.get(name, np.inf)) for name, slider in sliders.items()}
    return st.fixed_dictionaries(fields)


def _values(slider: Slider, default: Any, most: float) -> st.SearchStrategy[Any]:
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, str):
        return st.sampled_from(slider.options)
    if slider.doubling:
        values = doublings(slider)
        return st.sampled_from([value for value in values if value <= most] or values[:1])
    low, high = slider.low, max(slider.low, min(slider.high, most))
    if isinstance(default, int):
        return st.sampled_from((int(low), int(high))) | st.integers(int(low), int(high))
    return st.sampled_from((low, high)) | st.floats(low, high)


def _check_run(experiment: Experiment, config: Config) -> None:
    """Two runs of these settings: figure and metrics while they grow and at the end, and the verdicts."""
    try:
        history, frames = experiment.start([config] * 2, [0, 1])
        first = next(frames)
    except InputError:
        if experiment.file is None:
            raise
        return  # it asks for a file of the reader's
    shape: list[Any] = []
    measured, deadline = 0, time.monotonic() + SECONDS
    with closing(frames):  # type: ignore[type-var]
        for frame in chain((first,), frames):
            history.append(frame)
            measured += bool(frame.values)
            if frame.values and measured & (measured - 1) == 0:  # the 1st, 2nd, 4th, 8th, ...
                shape = _keeps(shape, _shape(experiment, history), frame.step)
            if time.monotonic() > deadline:
                break
        else:
            if not history.done:
                raise Broken(f"the last frame is at step {history.step} of {history.total}")
    _keeps(shape, _shape(experiment, history), history.step)
    config.warnings()
    if history.done:
        _check_finite(history)
        _check_metrics(experiment, history)
        judge_history(experiment, history)


def _shape(experiment: Experiment, history: History) -> list[Any]:
    """What a figure keeps while its run goes on: titles, and kinds and names of marks (up to a colon), in order."""
    panels = experiment.panels(history)
    for heat in (mark for panel in panels for mark in panel.marks if isinstance(mark, Heat)):
        if not heat.z.shape == (len(heat.y), len(heat.x)) == (len(set(heat.y)), len(set(heat.x))):
            raise Broken(
                f"the map {heat.name!r} has {heat.z.shape} numbers for {len(heat.y)} rows, {len(heat.x)} columns"
            )
    return [(panel.title, [(type(mark), mark.name.split(":")[0]) for mark in panel.marks]) for panel in panels]


def _keeps(before: list[Any], now: list[Any], step: int) -> list[Any]:
    """The shape now; Broken where it is another one than before, if there was a figure before."""
    if before and now != before:
        raise Broken(f"the figure changes its panels or marks at step {step}")
    return now


def _check_metrics(experiment: Experiment, history: History) -> None:
    for name, value in experiment.metrics(history).items():
        if np.shape(value) != (len(history.seeds),):
            raise Broken(f"metric {name!r} has the shape {np.shape(value)}, not one number per run")
        if np.asarray(value).dtype != np.float64 and not np.can_cast(np.asarray(value).dtype, np.float64):
            raise Broken(f"metric {name!r} holds {np.asarray(value).dtype}, not numbers")
    found = run_metrics(experiment, history)
    for name, theory in experiment.predictions.items():
        if name not in found and not np.isnan(theory(history.config)):
            raise Broken(f"theory predicts {name!r}, which is no metric")
    for r in range(len(history.seeds)):
        for name, value in run_metrics(experiment, history.run(r)).items():
            if not np.allclose(value, found[name][r], rtol=RTOL, atol=ATOL, equal_nan=True):
                raise Broken(f"metric {name!r} of a run is another one when its history is alone")


def _check_theory(experiment: Experiment, config: Config) -> None:
    """Predictions and borders are numbers, and finite ones or NaN."""
    for of, theories in (("prediction", experiment.predictions), ("border", experiment.borders)):
        for name, theory in theories.items():
            value: Any = theory(config)  # of anybody's code
            if not isinstance(value, float | int | np.floating | np.integer) or np.isinf(value):
                raise Broken(f"the {of} {name!r} is {value!r}")


def _check_finite(history: History) -> None:
    """No run that counts as healthy has recorded an infinite number (NaN stands for what was not measured)."""
    healthy = np.asarray(history.diverged) < 0
    for name in history.names():
        for step, row in zip(history.at(name), history[name], strict=True):
            if np.isinf(np.asarray(row, dtype=np.float64)[healthy]).any():
                raise Broken(f"{name!r} is infinite at step {step} in a run that is not marked as diverged")


def _check_random(experiment: Experiment, until: int) -> None:
    """The states of torch's, numpy's and Python's own generators before and after a run."""
    before = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()
    history = _pulled(experiment, [experiment.configure()], [0], until)
    experiment.panels(history)
    if history.done:
        experiment.metrics(history)
    if not torch.equal(before[0], torch.get_rng_state()):
        raise Broken("it draws from torch's global generator: use Stream")
    if str(before[1]) != str(np.random.get_state(legacy=False)):
        raise Broken("it draws from numpy's global generator: use Stream")
    if before[2] != random.getstate():
        raise Broken("it draws from Python's global generator: use Stream")


def _check_torch(experiment: Experiment, until: int) -> None:
    """The same numbers, to the last bit, under other defaults; a device without numbers stands for any other one."""
    plain = _pulled(experiment, [experiment.configure()], [0], until)
    plain_metrics = experiment.metrics(plain) if plain.done else {}
    worlds: dict[str, AbstractContextManager[Any]] = {
        "in inference mode": torch.inference_mode(),
        "without gradients": torch.no_grad(),
        "with the default dtype float64": _default_dtype(torch.float64),
        "with another default device": torch.device("meta"),
    }
    for words, world in worlds.items():
        with world:
            try:
                there = _pulled(experiment, [experiment.configure()], [0], until)
                metrics = experiment.metrics(there) if there.done else {}
                experiment.panels(there)
            except Exception as problem:
                raise Broken(f"{words}: {problem_words(problem)}") from problem
        _check_equal(there, plain, until, 0.0, words)
        for name, value in metrics.items():
            if not np.array_equal(value, plain_metrics[name], equal_nan=True):
                raise Broken(f"metric {name!r} is another one {words}")


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
