"""Sentences of a paper made checkable: what is measured, against which threshold, where expected, what controls it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dyntoolkit.errors import InputError, unknown
from dyntoolkit.experiment.config import Config, value_words

Array = np.ndarray
Metrics = Mapping[str, Array]  # name -> (R,) one number per run; NaN means "never" or "void"
Value = Callable[[Metrics, Any], Array]  # metrics, settings -> (R,)

ROUNDING = 1e-9  # a number that should be exactly on a closed bound may be off by so much, or by this share of it


@dataclass(frozen=True)
class Bound:
    """An interval that a number must lie in. Made by `at_least`, `at_most`, `above`, `below`, `between`.

    closed: whether its ends belong to it (to rounding). NaN and infinity lie in none.
    """

    low: float = -math.inf
    high: float = math.inf
    closed: bool = True

    def holds(self, value: Array) -> Array:
        """Whether each value lies inside, of the same shape."""
        inside = (value > self.low) & (value < self.high)
        return inside | _equals(value, self.low) | _equals(value, self.high) if self.closed else inside

    def __str__(self) -> str:
        """The condition in words, such as "< 0.05"."""
        if math.isinf(self.low):
            return f"{'≤' if self.closed else '<'} {self.high:g}"
        if math.isinf(self.high):
            return f"{'≥' if self.closed else '>'} {self.low:g}"
        return f"= {self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"


def _equals(value: Array, end: float) -> Array:
    """Whether each value is the end of a bound, to rounding; never for an infinite one."""
    return np.abs(value - end) <= ROUNDING * max(1.0, abs(end)) if math.isfinite(end) else np.zeros_like(value, bool)


def at_least(low: float) -> Bound:
    """`low` or more.

    >>> str(at_least(15))
    '≥ 15'
    """
    return Bound(low=low)


def at_most(high: float) -> Bound:
    """`high` or less.

    >>> str(at_most(0.5))
    '≤ 0.5'
    """
    return Bound(high=high)


def above(low: float) -> Bound:
    """More than `low`.

    >>> str(above(0.9))
    '> 0.9'
    """
    return Bound(low=low, closed=False)


def below(high: float) -> Bound:
    """Less than `high`.

    >>> str(below(0.05))
    '< 0.05'
    """
    return Bound(high=high, closed=False)


def between(low: float, high: float) -> Bound:
    """From `low` to `high`, both included.

    >>> str(between(0.95, 1.05))
    '0.95 to 1.05'
    """
    return Bound(low, high)


Where = Callable[[Any], bool]  # settings -> whether a claim is expected to hold there


@dataclass(frozen=True)
class Settings:
    """Where a claim is expected: the fields named here lie where they must, all others are free or at their defaults.

    Made by `settings` and `defaults`. A field must equal a value, be one of a tuple of values, or lie in a Bound. Live
    fields are free unless they are named: they change what is watched, not what is trained.
    """

    fields: Mapping[str, Any]
    others_free: bool

    def __call__(self, config: Config) -> bool:
        """Whether these settings are among them."""
        standard = type(config)().asdict()
        for name in self.fields:
            if name not in standard:
                raise unknown("field", name, standard)
        if not all(_is_met(wanted, getattr(config, name)) for name, wanted in self.fields.items()):
            return False
        live = {name for name, slider in config.sliders().items() if slider.live}
        rest = standard.keys() - self.fields.keys() - live
        return self.others_free or all(getattr(config, name) == standard[name] for name in rest)

    def __str__(self) -> str:
        """In words, such as "default settings, steps ≥ 4000"."""
        named = [f"{name} {_wanted(wanted)}" for name, wanted in self.fields.items()]
        return ", ".join(named if self.others_free else ["default settings", *named])


def settings(**fields: Any) -> Settings:
    """Settings whose named fields are as said, whatever the others are.

    >>> str(settings(width=500, steps=at_least(6000)))
    'width 500, steps ≥ 6000'
    """
    return Settings(fields, others_free=True)


def defaults(**fields: Any) -> Settings:
    """The default settings, but for the named fields, which must be as said.

    >>> str(defaults(steps=at_least(4000)))
    'default settings, steps ≥ 4000'
    """
    return Settings(fields, others_free=False)


def _is_met(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, Bound):
        return bool(wanted.holds(value))
    return value in wanted if isinstance(wanted, tuple) else bool(value == wanted)


def _wanted(wanted: Any) -> str:
    if isinstance(wanted, tuple):
        return " or ".join(map(value_words, wanted))
    return value_words(wanted)


def anywhere(_config: Any) -> bool:
    """Every setting: a claim that is expected everywhere."""
    return True


@dataclass(frozen=True)
class Sweep:
    """Several runs, and a number derived from them all.

    value: list of metrics, one per entry of `changes` -> (R,) per seed, or (1,) for a number over all seeds at once.
    least_seeds: seeds s+1, s+2, ... are added to those asked for until there are so many.

    >>> faster = Sweep(({"lr": 0.1}, {"lr": 0.2}), lambda runs: runs[0]["steps_to_fit"] / runs[1]["steps_to_fit"])
    >>> faster.value([{"steps_to_fit": np.array([200.0])}, {"steps_to_fit": np.array([100.0])}])
    array([2.])
    """

    changes: tuple[Mapping[str, Any], ...]
    value: Callable[[Sequence[Metrics]], Array]
    least_seeds: int = 1


def mean_of(metric: str, *, seeds: int = 5, **changes: Any) -> Sweep:
    """The mean of a metric over at least so many seeds, with some settings changed: one number, (1,)."""
    return Sweep((changes,), lambda runs: np.array([runs[0][metric].mean()]), seeds)


def metric_where(metric: str, condition: str, *, least: float = -math.inf, most: float = math.inf) -> Value:
    """For `Claim.value`: a metric in the runs in which another one lies between `least` and `most`, NaN in the others.

    A claim of two numbers is judged by the first where the second allows it; NaN counts as not shown.

    >>> value = metric_where("bump", "end", most=0.01)
    >>> value({"bump": np.array([0.2, 0.3]), "end": np.array([0.001, 0.5])}, None)
    array([0.2, nan])
    """
    return lambda found, _: np.where((least <= found[condition]) & (found[condition] <= most), found[metric], np.nan)


@dataclass(frozen=True)
class Control:
    """A negative control: a run in which the claim must not hold, or must stay within a bound of its own.

    label: what is different, for the reader. changes: of the claim's settings ({} for the same run). It is judged by
    the claim's own number, or by another `metric`, or by a number derived from a `sweep` (whose changes go on top of
    the claim's settings). bound: where that number must lie (default: outside the claim's bound).

    >>> str(Control("without noise the loss stays", {"noise_std": 0.0}, bound=above(0.9)).bound)
    '> 0.9'
    """

    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    bound: Bound | None = None
    metric: str = ""
    sweep: Sweep | None = None

    def __post_init__(self) -> None:
        if self.sweep is not None and (self.changes or self.metric):
            raise InputError(f"control {self.label!r}: a sweep brings its own changes and number.", "sweep")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence of a paper: it holds in a run where its number lies inside `bound`.

    The number is the metric of that name, or `value(metrics, config)`, (R,), or that of a `sweep` over several runs.
    where: for which settings the claim may pass or fail; elsewhere it reads "not expected here". preset: the preset
    that shows it, where the default does not.

    >>> Claim(id="falls", statement="The loss falls.", metric="loss_ratio", bound=below(1)).bound
    Bound(low=-inf, high=1, closed=False)
    """

    id: str
    statement: str
    bound: Bound
    metric: str = ""
    where: Where = anywhere
    controls: tuple[Control, ...] = ()
    preset: str = ""
    value: Value | None = None
    sweep: Sweep | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.bound, Bound):
            raise InputError(
                f"bound of claim {self.id!r} takes at_least(...) or the like, got {self.bound!r}.", "bound"
            )
        if not (self.metric or self.value or self.sweep):
            raise InputError(f"claim {self.id!r} needs a metric, a value or a sweep to be judged by.", "metric")


def select(claims: Iterable[Claim], ids: Iterable[str]) -> list[Claim]:
    """The claims of these ids, in the recipe's order; "all" means every one. InputError for an unknown id."""
    known = {claim.id: claim for claim in claims}
    wanted = set(ids)
    for name in wanted - {"all", *known}:
        raise unknown("claim", name, ["all", *known])
    return [claim for claim in known.values() if claim.id in wanted or "all" in wanted]
