"""Runs of different settings in one loop, to the end."""

from collections.abc import Sequence
from typing import Any

from dyntoolkit.engine.history import History
from dyntoolkit.experiment import Experiment


def run_together(experiment: Experiment, configs: Sequence[Any], seeds: Sequence[int]) -> History:
    """The history of these runs, one config and one seed each."""
    history, frames = experiment.start(configs, seeds)
    for frame in frames:
        history.append(frame)
    return history
