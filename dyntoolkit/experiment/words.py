"""Numbers, seeds, verdicts and divergence in words: the same ones on a terminal, in a notebook and on a page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dyntoolkit.engine.history import Array, History
from dyntoolkit.experiment.config import Config, value_words
from dyntoolkit.experiment.judging import DIVERGED, ControlVerdict, Verdict

HOLDS, FAILS, ELSEWHERE = "holds", "does not hold", "not expected here"
MARKS = {HOLDS: "✓", FAILS: "✗", ELSEWHERE: "–"}


def number_words(value: float) -> str:
    """Three significant digits; NaN is "never"."""
    return "never" if math.isnan(value) else f"{value:.3g}"


def numbers_words(values: Sequence[float], diverged: Sequence[bool] = ()) -> str:
    """The value of one seed, or median and range over those seeds whose value is a number; "" for no value at all.

    diverged: which of the runs did, if that is known: of those that have no number for it, this says so.

    >>> numbers_words([1.0, float("nan"), 3.0], [False, True, False])
    '2 [1, 3], 1 diverged'
    """
    known = [value for value in values if not math.isnan(value)]
    lost = sum(gone and math.isnan(value) for value, gone in zip(values, diverged, strict=bool(diverged)))
    if len(values) == 1 and lost:
        return "diverged"
    words = [f"{lost} diverged"] if lost else []
    if len(known) > 1:
        middle, low, high = map(number_words, (float(np.median(known)), min(known), max(known)))
        words.insert(0, f"{middle} [{low}, {high}]")
    elif lost < len(values):
        words.insert(0, number_words(known[0] if known else math.nan))
    return ", ".join(words)


def metrics_words(metrics: Mapping[str, Array]) -> dict[str, str]:
    """Name -> the metric of all runs, (R,), in words; metrics as `run_metrics` gives them."""
    diverged = (~np.isnan(metrics[DIVERGED])).tolist()
    return {name: numbers_words(values.tolist(), diverged) for name, values in metrics.items() if name != DIVERGED}


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
    return next((names for names in ways if len(set(names)) == whole), [value_words(value) for value in values])


def changed_words(config: Config, *but: str) -> list[str]:
    """The fields that have another value than by default, such as "noise_std 0.3"; those of `but` are left out."""
    usual = type(config)().asdict()
    changed = {name: value for name, value in config.asdict().items() if name not in but and value != usual[name]}
    return [f"{name} {value_words(value)}" for name, value in changed.items()]


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
