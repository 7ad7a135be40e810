"""What an experiment is: its settings, its record, its claims, and how they are judged. It knows no phenomenon."""

from dyntoolkit.experiment.claims import (
    Bound,
    Claim,
    Control,
    Metrics,
    Sweep,
    above,
    anywhere,
    at_least,
    at_most,
    below,
    between,
    defaults,
    mean_of,
    metric_where,
    settings,
)
from dyntoolkit.experiment.config import Config, Slider, choice, number, switch
from dyntoolkit.experiment.judging import Verdict, judge_history, run_metrics
from dyntoolkit.experiment.plan import Plan
from dyntoolkit.experiment.record import Actions, Experiment, Map, Preset
from dyntoolkit.experiment.training import loops, to_the_end

__all__ = [
    "Actions",
    "Bound",
    "Claim",
    "Config",
    "Control",
    "Experiment",
    "Map",
    "Metrics",
    "Plan",
    "Preset",
    "Slider",
    "Sweep",
    "Verdict",
    "above",
    "anywhere",
    "at_least",
    "at_most",
    "below",
    "between",
    "choice",
    "defaults",
    "judge_history",
    "loops",
    "mean_of",
    "metric_where",
    "number",
    "run_metrics",
    "settings",
    "switch",
    "to_the_end",
]
