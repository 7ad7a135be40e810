"""The runs that a page of the static site can show: one or two sliders, a few values each, trained beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from dyntoolkit.catalog.batches import batches
from dyntoolkit.catalog.sweep import TOGETHER
from dyntoolkit.dashboard.around import around
from dyntoolkit.dashboard.claims_view import claims_html
from dyntoolkit.dashboard.link import link
from dyntoolkit.dashboard.slider_map import number_fields
from dyntoolkit.engine.history import History
from dyntoolkit.engine.own_state import one_thread
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Config, Experiment, judge_history, loops, to_the_end
from dyntoolkit.experiment.words import divergence_words
from dyntoolkit.figure.panels import Line, Panel
from dyntoolkit.figure.thinned import thinned, thinned_as

MOMENTS = 32  # of a run that can be looked back at
GRID = 5  # values of a slider up to which two sliders are moved; with more it is one


@dataclass(frozen=True)
class Moment:
    """What the figure shows at one step."""

    step: int
    panels: list[Panel]


@dataclass(frozen=True)
class Shown:
    """All that a page shows of one setting. link: the query of an address that replays it.

    moments: in order, the end last; () for settings that the experiment refuses. note: why, or which seeds diverged.
    claims: HTML.
    """

    link: str
    moments: tuple[Moment, ...]
    note: str = ""
    claims: str = ""


@dataclass(frozen=True)
class Grid:
    """The settings to train: every combination of the fields' values, the last field's changing fastest.

    config: the experiment's first preset, whose values are among them.
    """

    config: Config
    values: dict[str, list[Any]]

    @property
    def configs(self) -> list[Config | InputError]:
        """The settings, or why they are refused."""
        return [self._config(dict(zip(self.values, each, strict=True))) for each in product(*self.values.values())]

    def _config(self, changes: dict[str, Any]) -> Config | InputError:
        try:
            return self.config.replace(**changes)
        except InputError as refusal:
            return refusal


def grid_of(experiment: Experiment, count: int) -> Grid:
    """`count` values each of its two first main sliders that are numbers; of one slider if they are more than GRID.

    Those come first that need no training loop of their own.
    """
    config = experiment.configure()
    fields = number_fields(config)[: 2 if count <= GRID else 1]
    return Grid(config, {field: around(config, field, count) for field in fields})


def shown_runs(experiment: Experiment, grid: Grid, seeds: Sequence[int]) -> list[Shown]:
    """Train all settings of a grid for each seed, as many together as can be; one entry for each of `grid.configs`."""
    configs = grid.configs
    found: dict[Config, Shown] = {}
    runs = [(config, seed) for config in configs if isinstance(config, Config) for seed in seeds]
    with one_thread():
        for group in loops(dict.fromkeys(runs)):
            settings = list(dict.fromkeys(config for config, _ in group))
            for batch in batches(settings, max(1, TOGETHER // len(seeds))):
                each = [config for config in batch for _ in seeds]
                history = to_the_end(*experiment.start(each, [*seeds] * len(batch)))
                for k, config in enumerate(batch):
                    own = history.runs(range(k * len(seeds), (k + 1) * len(seeds)))
                    found[config] = _shown(experiment, own)
    return [Shown("", (), str(config)) if isinstance(config, InputError) else found[config] for config in configs]


def _shown(experiment: Experiment, history: History) -> Shown:
    """What a page shows of the finished runs of one setting."""
    verdicts = judge_history(experiment, history)
    judged = {verdict.id for verdict in verdicts}
    claims = [claim for claim in experiment.claims if claim.id in judged]
    query = link(experiment, history.config, history.seeds)
    return Shown(query, _moments(experiment, history), divergence_words(history), claims_html(claims, verdicts))


def _moments(experiment: Experiment, history: History) -> tuple[Moment, ...]:
    """Up to MOMENTS of the recorded steps, and what the figure shows there; long curves are thinned."""
    steps = np.array(history.steps)
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, MOMENTS).round().astype(int))]
    last = experiment.panels(history.until(int(steps[-1])))
    return tuple(
        Moment(step, [_thinned(panel, last) for panel in experiment.panels(history.until(step))])
        for step in steps.tolist()
    )


def _thinned(panel: Panel, last: Sequence[Panel]) -> Panel:
    """A panel with thinned curves, each as the curve that it becomes."""
    ends = {(end.title, mark.name): mark for end in last for mark in end.marks if isinstance(mark, Line)}

    def thin(mark: Any) -> Any:
        if not isinstance(mark, Line):
            return mark
        end = ends.get((panel.title, mark.name))
        return thinned(mark) if end is None else thinned_as(mark, end)

    return replace(panel, marks=[thin(mark) for mark in panel.marks])
