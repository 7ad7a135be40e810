"""Numbers, seeds, verdicts and divergence in words: the same ones on a terminal, in a notebook and on a page."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.judging import ControlVerdict, Verdict

HOLDS, FAILS, ELSEWHERE = "holds", "does not hold", "not expected here"
MARKS = {HOLDS: "✓", FAILS: "✗", ELSEWHERE: "–"}


def number_words(value: float) -> str:
    """Three significant digits; NaN is "never"."""
    return "never" if math.isnan(value) else f"{value:.3g}"


def numbers_words(values: Sequence[float]) -> str:
    """The value of one seed, or median and range over those seeds whose value is a number; "" for no value at all."""
    known = [value for value in values if not math.isnan(value)]
    if len(values) == 1 or not known:
        return number_words(values[0]) if values else ""
    return f"{number_words(float(np.median(known)))} [{number_words(min(known))}, {number_words(max(known))}]"


def value_names(values: Sequence[Any]) -> list[str]:
    """What the values of a setting are called, each in its own way: numbers with six digits, or as many as it takes.

    >>> value_names([0.1, 0.2])
    ['0.1', '0.2']
    >>> value_names([0.1234561, 0.1234562])
    ['0.1234561', '0.1234562']
    """
    numbers = all(isinstance(value, float | np.floating) for value in values)
    ways = ([f"{value:.{digits}g}" for value in values] for digits in range(6, 18)) if numbers else ()
    whole = len(set(values))
    return next((names for names in ways if len(set(names)) == whole), [str(value) for value in values])


def share_words(answers: Sequence[bool]) -> str:
    """How many of the seeds say yes, such as "3/4"."""
    return f"{sum(answers)}/{len(answers)}" if answers else ""


def verdict_words(verdict: Verdict) -> str:
    """One of `holds`, `does not hold`, `not expected here`."""
    if not verdict.expected:
        return ELSEWHERE
    return HOLDS if verdict.passed else FAILS


def control_words(control: ControlVerdict) -> str:
    """The same for a control: `holds` where it shows what a control must show, "not expected here" if not judged."""
    if not control.confirmed:
        return ELSEWHERE
    return HOLDS if control.passed else FAILS


def seeds_words(seeds: Sequence[int]) -> str:
    """The seeds of a run."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    row = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"seeds {seeds[0]} to {seeds[-1]}" if row else f"{len(seeds)} seeds"


def divergence_words(history: History) -> str:
    """Which runs diverged, at which step, and what to lower; "" where none did."""
    lost = [(seed, step) for seed, step in zip(history.seeds, history.diverged.tolist(), strict=True) if step >= 0]
    if not lost:
        return ""
    which = ", ".join(f"seed {seed} at step {step:,}" for seed, step in lost[:4])
    more = f" and {len(lost) - 4} more" if len(lost) > 4 else ""
    noun = "The run" if len(history.seeds) == 1 else f"{len(lost)} of {len(history.seeds)} runs"
    cause = _first_to_lower(history.config, min(step for _, step in lost))
    cure = f" Lower {cause}." if cause else ""
    return f"{noun} diverged ({which}{more}).{cure}"


def _first_to_lower(config: Config, step: int) -> str:
    """The sliders that can have made a run diverge at this step, the likeliest first, by their labels."""
    sliders, values = config.sliders(), config.asdict()
    rate = "pretrain_lr" if step <= values.get("pretrain_steps", 0) else "lr"
    suspects = [name for name in (rate, "init_scale") if name in sliders]
    labels = [f"“{sliders[name].label}”" for name in suspects if values[name] > sliders[name].low]
    return ", or else ".join(labels[:2])
