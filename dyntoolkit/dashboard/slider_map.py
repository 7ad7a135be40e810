"""The map of any metric or claim over any two sliders."""

from collections.abc import Mapping

import numpy as np

from dyntoolkit.dashboard.around import around
from dyntoolkit.engine.history import Array, History
from dyntoolkit.errors import InputError, unknown
from dyntoolkit.experiment import Experiment, Map
from dyntoolkit.experiment.claims import Claim
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.judging import DIVERGED, judge, run_metrics

GRIDS = (5, 9, 17)  # rows and columns at first, and where the value changes


def number_fields(config: Config) -> list[str]:
    """The fields that are numbers, the main ones first, and those first that train in one loop."""
    values, sliders = config.asdict(), config.sliders()
    numbers = [name for name, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    chosen = [name for name in numbers if not sliders[name].live]
    return sorted(chosen, key=lambda name: (not sliders[name].main, sliders[name].structural))


def quantities(experiment: Experiment, history: History) -> list[str]:
    """What a map can show: the metrics that a finished run has, and the claims about single runs, as "claim ID"."""
    metrics = [name for name in run_metrics(experiment, history) if name != DIVERGED]
    return [*metrics, *(_claim_name(claim) for claim in experiment.claims if claim.sweep is None)]


def slider_map(experiment: Experiment, config: Config, x: str, y: str, of: str) -> Map:
    """What to train for a map around `config` over its fields x and y. of: as `quantities` says.

    Raises InputError for fields that are no numbers or the same one.
    """
    fields = number_fields(config)
    for name in (x, y):
        if name not in fields:
            raise unknown("field", name, fields)
    if not of:
        raise InputError("a map needs a metric or a claim; they are known once a run has finished.", "of")
    if x == y:
        raise InputError(f"a map takes two different sliders, got {x} twice.", "y")
    claims = {_claim_name(claim): claim for claim in experiment.claims if claim.sweep is None}

    def value(history: History) -> Array:
        if not history.done:
            return np.full(len(history.seeds), np.nan)
        metrics = run_metrics(experiment, history)
        if of in claims:
            return _answers(experiment, claims[of], history, metrics)
        return metrics.get(of, np.full(len(history.seeds), np.nan))

    label = f"{of}: 1 holds, 0 does not" if of in claims else of.replace("_", " ")
    xs, ys = (around(config, field, GRIDS[-1]) for field in (x, y))
    return Map(of.replace("_", " "), label, x, y, xs, ys, experiment.simulate, value)


def _claim_name(claim: Claim) -> str:
    return f"claim {claim.id}"


def _answers(experiment: Experiment, claim: Claim, history: History, metrics: Mapping[str, Array]) -> Array:
    """Whether the claim holds in each run, (R,): 1 or 0, NaN where it is not expected."""
    answers = np.full(len(history.seeds), np.nan)
    for r, config in enumerate(history.configs):
        own = {name: array[r : r + 1] for name, array in metrics.items()}
        (verdict,) = judge(experiment, config, 1, {config: own}, [claim])
        if verdict.expected and verdict.holds:
            answers[r] = verdict.passed
    return answers
