"""An experiment that notices numbers that are not finite."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dyntoolkit.engine.history import Frame
from dyntoolkit.experiment import Experiment


def finite_or_marked(experiment: Experiment, *gaps: str) -> Experiment:
    """The same experiment; what it measures on a run that is not marked as diverged must be finite, but for `gaps`."""

    def simulate(configs: Sequence[Any], seeds: Sequence[int]) -> Iterator[Frame]:
        for frame in experiment.simulate(configs, seeds):
            for name, values in frame.values.items():
                assert name in gaps or np.isfinite(values[frame.diverged < 0]).all(), (frame.step, name)
            yield frame

    return replace(experiment, simulate=simulate)
