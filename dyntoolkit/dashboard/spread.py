"""Runs that differ in one setting, side by side: what is trained, and the figures that grow with it."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from dyntoolkit.dashboard.around import around
from dyntoolkit.dashboard.theory import theory_lines
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.errors import InputError, as_number, whole_number
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.judging import DIVERGED
from dyntoolkit.experiment.plan import run_rows
from dyntoolkit.experiment.training import Run, Start, loops
from dyntoolkit.experiment.words import changed_words, seeds_words, value_names
from dyntoolkit.figure.family import family
from dyntoolkit.figure.panels import MEASURED, Axis, Panel
from dyntoolkit.figure.recorded import is_logarithmic
from dyntoolkit.figure.sweeps import Rows, sweep_line

FEWEST, MOST = 2, 16
SAID = 4  # values that diverged and are named
NOWHERE = "Never, or not measurable, in any of these runs."


class Spread:
    """`config` with each of some values of one number field, for all seeds, as stages for the runner.

    One loop trains them all, unless the field is structural. values: ascending.
    Raises InputError for another number of values than FEWEST to MOST, and for one that the settings refuse.
    """

    def __init__(
        self, experiment: Experiment, config: Config, seeds: Sequence[int], field: str, values: Sequence[Any]
    ) -> None:
        if not FEWEST <= len(set(values)) <= MOST:
            raise InputError(f"{field} takes {FEWEST} to {MOST} values to spread, got {len(set(values))}.", field)
        self.experiment, self.field, self.seeds = experiment, field, tuple(seeds)
        configs = [config.replace(**{field: value}) for value in values]
        self.values = sorted({getattr(each, field) for each in configs})
        self._configs = [config.replace(**{field: value}) for value in self.values]
        self._histories: list[History] = []
        self._rows: dict[Run, Any] = {}
        runs = [(each, seed) for each in self._configs for seed in self.seeds]
        self.stages: list[Start] = [partial(self._start, group) for group in loops(runs)]

    @property
    def names(self) -> list[str]:
        """Each value in words."""
        return value_names(self.values)

    @property
    def title(self) -> str:
        """What is spread, and with what; how many runs are finished until all are; which values diverged."""
        with_what = [*changed_words(self._configs[0], self.field), seeds_words(self.seeds)]
        words = [f"{self._label} from {self.names[0]} to {self.names[-1]}, {', '.join(with_what)}"]
        runs = len(self.values) * len(self.seeds)
        if len(self._rows) < runs:
            words.append(f"{len(self._rows)} of {runs} runs finished")
        lost = [
            name
            for name, config in zip(self.names, self._configs, strict=True)
            if any(not np.isnan(row[DIVERGED]) for row in self._finished(config))
        ]
        if lost:
            more = f" and {len(lost) - SAID} more" if len(lost) > SAID else ""
            words.append(f"diverged: {', '.join(lost[:SAID])}{more}")
        return "; ".join(words)

    @property
    def metrics(self) -> list[str]:
        """The metrics of the runs that are finished."""
        return [name for name in dict.fromkeys(name for row in self._rows.values() for name in row) if name != DIVERGED]

    def left(self) -> list[Start]:
        """The stages that are not trained to their end; those that were broken off begin anew."""
        self._histories = [history for history in self._histories if history.done]
        for history in self._histories:
            self.take(history)
        return self.stages[len(self._histories) :]

    def take(self, history: History) -> None:
        """Take over what a stage has trained so far."""
        if history.done:
            self._rows |= run_rows(self.experiment, history)

    def family(self) -> list[Panel]:
        """The figure of each value's runs so far, curve by curve."""
        grown = {name: self._grown(config) for name, config in zip(self.names, self._configs, strict=True)}
        return family({name: self.experiment.panels(own) for name, own in grown.items() if own is not None})

    def against(self, metric: str) -> Panel:
        """A metric of the finished runs against the values: the median over the seeds, with a band, and theory."""
        runs = {value: self._finished(config) for value, config in zip(self.values, self._configs, strict=True)}
        known = {value: [row for row in rows if metric in row] for value, rows in runs.items()}
        name = "median over the seeds" if len(self.seeds) > 1 else "measured"
        line = sweep_line(name, {v: rows for v, rows in known.items() if rows}, metric, MEASURED)
        slider = self._configs[0].sliders()[self.field]
        theory = theory_lines(self.experiment, self._configs[0], self.field, self.values, metric)
        ended = sum(map(len, runs.values())) == len(self.values) * len(self.seeds)
        note = NOWHERE if ended and not np.isfinite(line.y).any() else ""
        x = Axis(self._label, log=slider.log and self.values[0] > 0)
        return Panel(
            metric.replace("_", " "), x, Axis(metric, log=is_logarithmic(np.asarray(line.y))), [line, *theory], note
        )

    @property
    def _label(self) -> str:
        return self._configs[0].sliders()[self.field].title

    def _finished(self, config: Config) -> list[Any]:
        rows: Rows = self._rows
        return [rows[config, seed] for seed in self.seeds if (config, seed) in rows]

    def _grown(self, config: Config) -> History | None:
        """The runs of these settings, as far as they are trained."""
        for history in self._histories:
            if history.names() and config in history.configs:
                first = history.configs.index(config)
                return history.runs(range(first, first + len(self.seeds)))
        return None

    def _start(self, group: Sequence[Run]) -> tuple[History, Iterator[Frame]]:
        history, frames = self.experiment.start([config for config, _ in group], [seed for _, seed in group])
        self._histories.append(history)
        return history, frames


def chosen_values(config: Config, field: str, text: str) -> list[Any]:
    """The values that a reader has written: several with commas between them, or how many around the present one.

    Of the latter, those are left out that the other settings refuse, unless fewer than FEWEST remain.
    Raises InputError for anything else.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) == 1:
        near = around(config, field, whole_number("the number of values", parts[0], FEWEST, MOST))
        allowed = [value for value in near if not _refused(config, field, value)]
        return allowed if len(allowed) >= FEWEST else near
    numbers = [as_number(part) for part in parts]
    if not numbers or None in numbers:
        raise InputError(f"{field} takes numbers with commas between them, or how many; got {text!r}.", field)
    return [getattr(config.replace(**{field: number}), field) for number in numbers]


def _refused(config: Config, field: str, value: Any) -> bool:
    """Whether the other settings refuse this value."""
    try:
        config.replace(**{field: value})
    except InputError:
        return True
    return False
