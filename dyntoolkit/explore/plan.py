"""What the negative controls and sweeps of all claims need to be trained, as stages for the runner."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from dyntoolkit.claims import Array
from dyntoolkit.config import Config
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.experiment import Experiment, Rows
from dyntoolkit.explore.runner import Start
from dyntoolkit.judge import Verdict, judge, more_seeds, needs, run_metrics
from dyntoolkit.train import Job, loops


class Plan:
    """All runs that the claims of an experiment need in `config` beyond the run of the same settings and seeds."""

    def __init__(self, experiment: Experiment, config: Config, seeds: Sequence[int]) -> None:
        self.experiment, self.config, self.seeds = experiment, config, tuple(seeds)
        plan = needs(experiment, config, experiment.claims)
        self._seeds = {config: more_seeds(seeds, least) for config, least in plan.items()}
        own = {(config, seed) for seed in seeds}
        missing = [(other, seed) for other, all_seeds in self._seeds.items() for seed in all_seeds]
        groups = loops(job for job in missing if job not in own)
        self.stages: list[Start] = [partial(_start, experiment, jobs) for jobs in groups]

    def rows(self, histories: Sequence[History]) -> Rows:
        """The metrics of every run of these histories."""
        return {job: row for history in histories for job, row in _rows(self.experiment, history).items()}

    def verdicts(self, histories: Sequence[History]) -> list[Verdict]:
        """All claims with their controls, judged from the own run's history and those of the stages."""
        rows = self.rows(histories)
        metrics: dict[Config, dict[str, Array]] = {}
        for config, seeds in self._seeds.items():
            names = rows[config, seeds[0]]
            metrics[config] = {name: np.array([rows[config, seed][name] for seed in seeds]) for name in names}
        return judge(self.experiment, self.config, self.seeds, metrics, self.experiment.claims)


def _start(experiment: Experiment, jobs: Sequence[Job]) -> tuple[History, Iterator[Frame]]:
    return experiment.start([config for config, _ in jobs], [seed for _, seed in jobs])


def _rows(experiment: Experiment, history: History) -> Rows:
    """The metrics of every run of a history."""
    metrics = run_metrics(experiment, history)
    jobs = zip(history.configs, history.seeds, strict=True)
    return {job: {name: float(array[r]) for name, array in metrics.items()} for r, job in enumerate(jobs)}
