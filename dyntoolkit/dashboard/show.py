"""`explore`: an experiment in a notebook, live with sliders, or as one picture where nobody is looking."""

import sys
from dataclasses import dataclass, replace
from typing import Any

from IPython.display import Image, display

from dyntoolkit.catalog.registry import find
from dyntoolkit.dashboard import headless, live
from dyntoolkit.dashboard.claims_view import claims_text
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.linked import asked
from dyntoolkit.dashboard.live_picture import run_png
from dyntoolkit.dashboard.parameters import names_none, run_seeds, say_not_followed
from dyntoolkit.dashboard.trained_map import TrainedMap
from dyntoolkit.engine.history import History
from dyntoolkit.engine.own_state import use_one_thread
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import value_words
from dyntoolkit.experiment.judging import Verdict, judge_history, run_metrics
from dyntoolkit.experiment.plan import Plan
from dyntoolkit.experiment.training import to_the_end
from dyntoolkit.experiment.words import (
    MARKS,
    divergence_words,
    metrics_words,
    numbers_words,
    seeds_words,
    verdict_words,
)
from dyntoolkit.figure.still import still_png


@dataclass(frozen=True, repr=False)
class Result:
    """What a run without a front end gives: its history and the verdicts on its claims."""

    experiment: Experiment
    history: History
    claims: list[Verdict]
    execution: str = ""  # of the cell that has shown it already

    def png(self) -> bytes:
        """The figure, with the numbers of the expected claims above it."""
        return run_png(self.experiment, self.history, self.claims)

    def text(self) -> str:
        """Warnings and divergence in words, one a line; "" for a healthy run."""
        lines = [*self.history.config.warnings(), divergence_words(self.history)]
        return "\n".join(line for line in lines if line)

    def __repr__(self) -> str:
        """Settings, numbers and verdicts."""
        history, values = self.history, self.history.config.asdict()
        numbers = metrics_words(run_metrics(self.experiment, history))
        lines = [f"{self.experiment.name}, {seeds_words(history.seeds)}, {history.step:,} of {history.total:,} steps"]
        lines += [f"settings: {', '.join(f'{name} {value_words(value)}' for name, value in values.items())}"]
        lines += [f"metrics: {', '.join(f'{name} {value}' for name, value in numbers.items())}"]
        for verdict in self.claims:
            found = f"{numbers_words(verdict.value, verdict.diverged)}, " if verdict.value else ""
            words = verdict_words(verdict)
            lines.append(
                f"{MARKS[words]} {verdict.id} {words}: {verdict.statement} ({found}threshold {verdict.threshold})"
            )
        return "\n".join([*lines, *self.text().splitlines()])

    def show(self) -> None:
        """Display it: a picture in a notebook, its text in a terminal."""
        if headless.in_notebook():
            display(Image(self.png(), format="png"))  # type: ignore[no-untyped-call]
            if text := self.text():
                print(text)
        else:
            encoding = sys.stdout.encoding or "utf-8"  # a terminal that lacks a sign still shows the rest
            print(str(self).encode(encoding, "replace").decode(encoding))

    def _ipython_display_(self) -> None:
        if not self.execution or self.execution != headless.execution():
            self.show()


def explore(
    experiment: str | Experiment, preset: str | None = None, seed: int = 0, n_seeds: int = 1, **changes: Any
) -> Dashboard | Result:
    """Show an experiment and train it: the first one of a notebook at once, the others when a reader comes near.

    experiment: its name, that of a phenomenon for its first one, or an Experiment of your own. preset: default the
    first one; changes: fields of its Config on top. n_seeds: runs side by side with the seeds seed, seed + 1, ...

    With a front end: displays the live dashboard, returns it at once, and trains in the background. Running the cell
    again ends the old run, and its pinned runs stay; for an Experiment of your own, which may have been edited, the
    sliders that were moved stay where they are, too, as far as they still exist. Without a front end (papermill, nbval,
    a script): trains to the end, displays one picture and the claims in words, returns the Result.
    A page of Voila whose address names the experiment shows what that asks for, and says what of it cannot be had.
    Raises InputError for an unknown name or a value out of range.

    >>> result = explore("label_noise", steps=500)  # doctest: +ELLIPSIS
    label_noise.linear, seed 0, 500 of 500 steps
    ...
    """
    own, experiment = isinstance(experiment, Experiment), find(experiment)
    config = experiment.configure(preset, **changes)
    seeds = run_seeds(seed, n_seeds)
    use_one_thread()
    if headless.is_headless():
        return _explore_headless(experiment, config, seeds)
    earlier = live.earlier(experiment.name)
    pins = earlier.pins if earlier else ()
    dashboard = Dashboard(experiment, config, seeds[0], len(seeds), earlier if own else None, pins)
    _follow_link(dashboard)
    alone = live.enter(dashboard)
    if alone:
        dashboard.show()
        dashboard.train()  # without waiting for the page: the curves are there when it opens
    else:
        dashboard.train_when_near()
        dashboard.show()
    return dashboard


def _follow_link(dashboard: Dashboard) -> None:
    """Have the first dashboard of its experiment begin with what the page's address asks; say what cannot be had."""
    experiment = dashboard.original
    if live.newest(experiment.name) is not None:
        return
    if linked := asked(experiment):
        say_not_followed(linked.problems)
        dashboard.follow(linked)
    elif names_none():  # `parameters` has put its settings into those asked for
        dashboard.plain = ""


def _explore_headless(experiment: Experiment, config: Any, seeds: tuple[int, ...]) -> Result:
    history = experiment.run(config, seeds)
    result = Result(experiment, history, judge_history(experiment, history))
    if not headless.echoes():
        result.show()
    return replace(result, execution=headless.execution())


def shown(view: Dashboard | Result | Experiment | str) -> Dashboard | Result:
    """What `explore` returned; for an experiment or its name its newest live dashboard, or else a new one."""
    if isinstance(view, Dashboard | Result):
        return view
    return live.newest(find(view).name) or explore(view)


def claims_table(view: Dashboard | Result | Experiment | str, *, controls: bool = False) -> Any:
    """The claims of what `explore` returned (or of an experiment, or its name), for a cell of its own.

    Live: a second view of the dashboard's claims, which fills itself in when the run ends; with `controls`, a second
    view of the button that trains those runs. Without a front end: the verdicts in words; with `controls`, those runs
    are trained first, and the figure of all of them is displayed.

    >>> claims_table(explore("label_noise", preset="lazy_control", steps=500))  # doctest: +ELLIPSIS
    label_noise.linear, seed 0, 500 of 500 steps
    ...
    – w_shrinks not expected here: The first layer shrinks.
    ...
    """
    view = shown(view)
    if isinstance(view, Dashboard):
        return view.elsewhere(lambda: view.controls_run if controls else view.claims_html)
    if not controls:
        return _Words(view.claims)
    plan = Plan(view.experiment, view.history.config, view.history.seeds)
    histories = [view.history, *(to_the_end(*stage()) for stage in plan.stages)]
    if view.experiment.sweep_panels is not None:
        figure = still_png(view.experiment.sweep_panels(plan.rows(histories)))
        display(Image(figure, format="png"))  # type: ignore[no-untyped-call]
    return _Words(plan.verdicts(histories))


def trained_map(view: Dashboard | Result | Experiment | str) -> Any:
    """The experiment's map over two settings, around the settings of what `explore` returned, for a cell of its own.

    Live: a button that trains it, and the map that fills in. Without a front end: its picture.
    Raises InputError for an experiment without a map.

    >>> trained_map("label_noise.linear")
    Traceback (most recent call last):
    ...
    dyntoolkit.errors.InputError: label_noise.linear has no map.
    """
    experiment = view.experiment if isinstance(view, Dashboard | Result) else find(view)
    if experiment.map is None:
        raise InputError(f"{experiment.name} has no map.", "map")
    view = shown(view)
    if isinstance(view, Dashboard):
        return view.elsewhere(lambda: view.map)
    grid = TrainedMap(view.experiment, view.history.config, view.history.seeds[0])
    for stage in grid.stages:
        grid.fill(to_the_end(*stage()))
    return Image(still_png([grid.panel()]), format="png")  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Words:
    verdicts: list[Verdict]

    def __repr__(self) -> str:
        return claims_text(self.verdicts)
