"""Sentences of a paper made checkable: what is measured, against which threshold, where expected, what controls it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dyntoolkit.config import Config
from dyntoolkit.errors import unknown

Array = np.ndarray
Metrics = Mapping[str, Array]  # name -> (R,) one number per run; NaN means "never" or "void"


@dataclass(frozen=True)
class Bounds:
    """An open interval that a number must lie in: above `low` and below `high`."""

    low: float = -math.inf
    high: float = math.inf

    def hold(self, value: Array) -> Array:
        """Whether each value lies inside; NaN never does."""
        return (value > self.low) & (value < self.high)

    def __str__(self) -> str:
        """The condition in words, such as "< 0.05"."""
        if math.isinf(self.low):
            return f"< {self.high:g}"
        return f"> {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"


Value = Callable[[Metrics, Config], Array]  # the judged number of each run, (R,)


@dataclass(frozen=True)
class Control:
    """A run in which the claim must not hold, or must stay within `bounds` of its own.

    changes: what differs from the claim's settings ({} for the same run, judged by another `metric`).
    mean: judged by the mean over the seeds instead of seed by seed. exceeds: must lie above the claim's own value.
    """

    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    bounds: Bounds | None = None
    metric: str = ""
    mean: bool = False
    exceeds: bool = False


@dataclass(frozen=True)
class Sweep:
    """What a claim about several runs needs: the changes of each, and the judged number from their metrics.

    value: list of metrics, one per entry of `changes` -> (R,) per seed, or (1,) for a number over all seeds at once.
    least_seeds: seeds s+1, s+2, ... are added to those asked for until there are so many.
    """

    changes: tuple[Mapping[str, Any], ...]
    value: Callable[[Sequence[Metrics]], Array]
    least_seeds: int = 1


@dataclass(frozen=True)
class Claim:
    """One claim of the recipe: it holds in a run where `metric` (or `value`) lies inside `bounds`.

    expected: for which settings the claim may pass or fail; elsewhere it reads "not expected here".
    preset: the preset that shows it, where the default does not. sweep: for a claim about several runs.
    mean: further conditions on means over at least five seeds, metric name -> bounds.
    """

    id: str
    statement: str
    metric: str
    bounds: Bounds
    expected: Callable[[Any], bool]
    controls: tuple[Control, ...] = ()
    preset: str = ""
    value: Value | None = None
    sweep: Sweep | None = None
    mean: Mapping[str, Bounds] = field(default_factory=dict)


def select(claims: Iterable[Claim], ids: Iterable[str]) -> list[Claim]:
    """The claims of these ids, in the recipe's order; "all" means every one. InputError for an unknown id."""
    known = {claim.id: claim for claim in claims}
    wanted = set(ids)
    for name in wanted - {"all", *known}:
        raise unknown("claim", name, ["all", *known])
    return [claim for claim in known.values() if claim.id in wanted or "all" in wanted]
