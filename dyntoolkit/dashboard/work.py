"""One job of a dashboard."""

from collections.abc import Iterator, Sequence

from dyntoolkit.engine.history import Frame, History
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.training import Start


class Work:
    """Whose runs are trained, and which of them is that of the settings shown.

    own: its history, once it has begun. Others are those of negative controls, say.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.own: History | None = None

    def begin(self, config: Config, seeds: Sequence[int]) -> Start:
        """The stage that trains the own run."""

        def start() -> tuple[History, Iterator[Frame]]:
            self.own, frames = self.experiment.start([config] * len(seeds), seeds)
            return self.own, frames

        return start
