"""The record that ties an experiment together: all that command line, dashboard, notebooks and tests see of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dyntoolkit.claims import Array, Claim
from dyntoolkit.config import Config
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.streams import check_seeds
from dyntoolkit.errors import unknown
from dyntoolkit.panels import Panel

Rows = Mapping[tuple[Any, int], Mapping[str, float]]  # (settings, seed) -> metrics of a finished run


@dataclass(frozen=True)
class Preset:
    """Named settings: what differs from the defaults, and one line on what to see."""

    reason: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Map:
    """A quantity over two settings, measured by training every pair of their values; all else stays as it is.

    x, y: fields of the Config; xs, ys: their values. simulate: as the experiment's, perhaps with fewer measurements.
    value(history): (R,) the quantity of each run, also while the runs grow. label: what it is, for the colour bar.
    """

    title: str
    label: str
    x: str
    y: str
    xs: Sequence[Any]
    ys: Sequence[Any]
    simulate: Callable[[Sequence[Any], Sequence[int]], Iterator[Frame]]
    value: Callable[[History], Array]


@dataclass(frozen=True)
class Actions:
    """What may be done in the middle of a run, in the moments at which its frames ask.

    when: these moments in words, such as "At the next alarm". labels: name of each action -> what its button says.
    """

    when: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Experiment:
    """One experiment of a phenomenon.

    name: "phenomenon.experiment". question: one sentence. paper: arXiv number. seconds: time of the default run.
    simulate(configs, seeds): frames of len(configs) runs that share a loop (they agree on all structural fields).
    metrics(history): name -> (R,) float64, every quantity of the recipe; NaN for "never" or "not measurable".
    panels(history): what the figure shows, for one run or a band over several; also for a history that still grows.
    sweep_panels(rows): what the figure of several finished runs shows; None where claims about single runs say it all.
    map: what to measure over two settings, if there is anything.
    actions: what a reader may do in the middle of a run, if there is anything.
    """

    name: str
    title: str
    question: str
    paper: str
    seconds: float
    config: type[Config]
    presets: Mapping[str, Preset]
    simulate: Callable[[Sequence[Any], Sequence[int]], Iterator[Frame]]
    metrics: Callable[[History], dict[str, Array]]
    claims: tuple[Claim, ...]
    panels: Callable[[History], list[Panel]]
    sweep_panels: Callable[[Rows], list[Panel]] | None = None
    map: Map | None = None
    actions: Actions | None = None

    def configure(self, preset: str | None = None, **changes: Any) -> Any:
        """The settings of a preset (default: the first one) with changes on top; InputError for wrong ones."""
        name = next(iter(self.presets)) if preset is None else preset
        if name not in self.presets:
            raise unknown("preset", name, self.presets)
        return self.config().replace(**{**self.presets[name].changes, **changes})

    def start(self, configs: Sequence[Any], seeds: Sequence[int]) -> tuple[History, Iterator[Frame]]:
        """An empty history of these runs (one config and one seed each) and the frames to append to it."""
        seeds = check_seeds(seeds)
        return History(self.name, configs, seeds), self.simulate(configs, seeds)

    def figure(self, history: History) -> Any:
        """The figure of a history as a plotly.graph_objects.Figure, to show, change or export."""
        from dyntoolkit.plotly_figure import plotly_figure  # loaded where it is wanted: it takes a while

        return plotly_figure(self.panels(history))

    def run(self, config: Any = None, seeds: Sequence[int] = (0,)) -> History:
        """Train the settings (default: the first preset) to the end for each seed."""
        config = self.configure() if config is None else config
        history, frames = self.start([config] * len(seeds), seeds)
        for frame in frames:
            history.append(frame)
        return history
