"""What must be trained to judge claims with their controls and sweeps, and the verdicts once it is."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice

import numpy as np

from dyntoolkit.engine.history import History
from dyntoolkit.engine.streams import MOST
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.claims import Array, Claim
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.judging import Verdict, judge, judged_in, needed_configs, run_metrics, sweep_of
from dyntoolkit.experiment.record import Experiment
from dyntoolkit.experiment.training import Start, loops
from dyntoolkit.figure.sweeps import Rows


class Plan:
    """All runs that claims need beyond the run of `config` itself with these seeds.

    claims: default all of the experiment. stages: the loops to train, each an empty history and its frames when called.
    """

    def __init__(
        self, experiment: Experiment, config: Config, seeds: Sequence[int], claims: Iterable[Claim] | None = None
    ) -> None:
        self.experiment, self.config, self.seeds = experiment, config, tuple(seeds)
        self.claims = experiment.claims if claims is None else tuple(claims)
        least = needed(experiment, config, self.claims)
        self._seeds = {settings: more_seeds(seeds, count) for settings, count in least.items()}
        own = {(config, seed) for seed in seeds}
        runs = [(settings, seed) for settings, all_seeds in self._seeds.items() for seed in all_seeds]
        self.stages: list[Start] = [
            partial(experiment.start, [settings for settings, _ in group], [seed for _, seed in group])
            for group in loops(run for run in runs if run not in own)
        ]

    def rows(self, histories: Iterable[History]) -> Rows:
        """The metrics of every run of these histories."""
        return {run: row for history in histories for run, row in run_rows(self.experiment, history).items()}

    def verdicts(self, histories: Iterable[History]) -> list[Verdict]:
        """The claims with their controls, judged from the own run's history and those of the stages."""
        rows = self.rows(histories)
        metrics: dict[Config, dict[str, Array]] = {}
        for config, seeds in self._seeds.items():
            names = rows[config, seeds[0]]  # other settings may have other metrics
            metrics[config] = {name: np.array([rows[config, seed][name] for seed in seeds]) for name in names}
        return judge(self.experiment, self.config, len(self.seeds), metrics, self.claims)


def needed(experiment: Experiment, config: Config, claims: Iterable[Claim]) -> dict[Config, int]:
    """The settings to train to judge these claims with their controls -> for how many seeds at least.

    The first one is `config` itself. A claim that is not expected in `config` is judged in its preset, if it names
    one; where it is not expected at all, nothing is trained for it. Combinations that Config refuses are left out; the
    verdict says so.
    """
    plan = {config: 1}
    for claim in claims:
        settings, _ = judged_in(experiment, config, claim)
        if not claim.where(settings):
            continue
        for control in (None, *claim.controls):
            sweep = sweep_of(claim, control)
            try:
                configs = needed_configs(claim, settings, control)
            except InputError:
                continue
            for one in configs:
                plan[one] = max(plan.get(one, 1), sweep.least_seeds if sweep else 1)
    return plan


def control_runs(experiment: Experiment, config: Config) -> list[tuple[str, Config]]:
    """The negative controls that are a single run of other settings than `config`: the label of each, and these."""
    found = []
    for claim in experiment.claims:
        settings, _ = judged_in(experiment, config, claim)
        for control in claim.controls if claim.where(settings) else ():
            if sweep_of(claim, control) is None:
                with suppress(InputError):  # it cannot be trained here
                    found += [(control.label, needed) for needed in needed_configs(claim, settings, control)]
    return [(label, needed) for label, needed in found if needed != config]


def more_seeds(seeds: Sequence[int], least: int) -> tuple[int, ...]:
    """The seeds asked for, and the ones after the largest of them until there are `least`."""
    others = chain(range(max(seeds) + 1, MOST), range(MOST))  # begins anew where there is no larger one
    return (*seeds, *islice((seed for seed in others if seed not in seeds), max(0, least - len(seeds))))


def run_rows(experiment: Experiment, history: History) -> Rows:
    """The metrics of every run of a history."""
    metrics = run_metrics(experiment, history)
    runs = zip(history.configs, history.seeds, strict=True)
    return {run: {name: float(array[r]) for name, array in metrics.items()} for r, run in enumerate(runs)}
