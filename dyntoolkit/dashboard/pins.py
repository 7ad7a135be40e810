"""Runs that are kept beside the present one: their curves behind its own, and how they differ from it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dyntoolkit.engine.history import History
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config, value_words
from dyntoolkit.experiment.judging import Verdict
from dyntoolkit.experiment.words import MARKS, numbers_words, seeds_words, verdict_words
from dyntoolkit.figure.literal import literal
from dyntoolkit.figure.panels import PINNED, Line, Mark, Panel
from dyntoolkit.figure.thinned import thinned

MOST = len(PINNED)  # runs that are pinned at once, each with a colour of its own
MEMORY = 16_000_000  # bytes that a pinned history may take before its pictures are thinned
LEGEND = 80  # characters of a run's name in the legend
NAMED = 3  # differing fields that a run's name tells
SAME = "the same settings"
FULL = f"{MOST} runs are pinned: unpin one to pin another."


class Pin:
    """A run that is kept as far as it was trained: a copy of its history, with its pictures thinned to MEMORY bytes.

    verdicts: on its claims, if it was judged. label: of the negative control that it is, or "". color: of its curves,
    once it is among others.
    """

    def __init__(self, experiment: Experiment, history: History, verdicts: Sequence[Verdict], label: str = "") -> None:
        self.experiment = experiment
        self.history = history.until(history.step)
        self.history.keep_within(MEMORY)
        self.verdicts = tuple(verdicts)
        self.label = label
        self.color = PINNED[0]
        self._drawn: tuple[int, list[Panel]] | None = None

    def until(self, step: int | None) -> History:
        """Its history as it was at this step; None: at its end."""
        return self.history if step is None else self.history.until(step)

    def panels(self, step: int | None) -> list[Panel]:
        """Its figure at this step."""
        at = self.history.step if step is None else min(step, self.history.step)
        if self._drawn is None or self._drawn[0] != at:
            self._drawn = at, [_thinned(panel) for panel in self.experiment.panels(self.until(step))]
        return self._drawn[1]

    def asdict(self) -> dict[str, Any]:
        """What trains it again, as plain data."""
        return {"settings": self.history.config.asdict(), "seeds": list(self.history.seeds)}


def added(pins: Sequence[Pin], pin: Pin) -> tuple[Pin, ...]:
    """The pins with this one at the end, in a free colour; one of the same settings and seeds makes room for it.

    Raises InputError where there are MOST already.
    """
    others = [old for old in pins if old.asdict() != pin.asdict()]
    if len(others) == MOST:
        raise InputError(FULL, "pin")
    pin.color = next(color for color in PINNED if color not in {old.color for old in others})
    return *others, pin


def panels_with_pins(experiment: Experiment, shown: History, pins: Sequence[Pin], step: int | None) -> list[Panel]:
    """The figure of a run with the pinned ones behind it, all at this step (None: each at its end).

    After it the panels that compare with the run pinned last, if it is of settings with the same fields.
    """
    names = run_names(pins, shown.config, shown.seeds)
    pinned = {name: (pin.color, pin.panels(step)) for name, pin in zip(names, pins, strict=True)}
    panels = behind(experiment.panels(shown), pinned)
    if experiment.compare is None or not pins:
        return panels
    last = pins[-1].until(step)
    return panels + (
        experiment.compare(shown, last) if last.config.asdict().keys() == shown.config.asdict().keys() else []
    )


def behind(panels: Sequence[Panel], pinned: Mapping[str, tuple[str, Sequence[Panel]]]) -> list[Panel]:
    """The panels with the measured curves of pinned runs behind their own, where a pinned panel shows the same.

    pinned: the name of each run -> its colour and its panels.
    """
    kept: dict[tuple[str, str, str], list[Mark]] = {}
    for name, (color, own) in pinned.items():
        for panel in own:
            kept.setdefault(_place(panel), []).extend(_faint(panel, name, color))
    return [replace(panel, marks=[*panel.marks, *kept.get(_place(panel), ())]) for panel in panels]


def run_names(pins: Sequence[Pin], config: Config, seeds: Sequence[int]) -> list[str]:
    """What tells each pinned run from the present one of these settings, such as "lr 0.2, seed 3"; all differ."""
    names: list[str] = []
    for pin in pins:
        own = _fields(pin.history.config, pin.history.seeds)
        now = _fields(config, seeds)
        words = [_named(field, own[field]) for field in own if own[field] != now.get(field)]
        more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
        name = ", ".join(words[:NAMED]) + more or SAME
        names.append(f"{name} ({names.count(name) + 1})" if name in names else name)
    return names


def comparison(
    pins: Sequence[Pin], config: Config, seeds: Sequence[int], verdicts: Sequence[Verdict]
) -> tuple[list[str], list[list[str]]]:
    """The table of the present run (settings, seeds, verdicts so far) and the pinned ones: its heads and its rows.

    Its columns are the fields in which any two runs differ, and the claims that one of them is meant to show.
    """
    runs = [_fields(config, seeds), *(_fields(pin.history.config, pin.history.seeds) for pin in pins)]
    names = list(dict.fromkeys(field for run in runs for field in run))
    differing = [field for field in names if len({str(run.get(field, "")) for run in runs}) > 1]
    judged = [{verdict.id: verdict for verdict in each} for each in (verdicts, *(pin.verdicts for pin in pins))]
    claims = list(dict.fromkeys(name for each in judged for name, verdict in each.items() if verdict.expected))
    rows = [
        [_value(run.get(field, "")) for field in differing] + [_verdict(each.get(claim)) for claim in claims]
        for run, each in zip(runs, judged, strict=True)
    ]
    return [*differing, *(claim.replace("_", " ") for claim in claims)], rows


def _fields(config: Config, seeds: Sequence[int]) -> dict[str, Any]:
    return {**config.asdict(), "seeds": seeds_words(seeds)}


def _named(field: str, value: Any) -> str:
    return str(value) if field == "seeds" else f"{field} {_value(value)}"


def _value(value: Any) -> str:
    return value_words(value).removeprefix("seeds ").removeprefix("seed ")


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not judged"
    return (
        f"{MARKS[verdict_words(verdict)]}\u00a0{numbers_words(verdict.value, verdict.diverged)}".strip()
    )  # in one line


def _place(panel: Panel) -> tuple[str, str, str]:
    return panel.title, panel.x.label, panel.y.label


def _thinned(panel: Panel) -> Panel:
    """Many long curves would keep kernel and browser busy."""
    return replace(panel, marks=[thinned(mark) if isinstance(mark, Line) else mark for mark in panel.marks])


def _faint(panel: Panel, name: str, color: str) -> list[Mark]:
    """Its curves without bands; theory and reference lines are left out. One entry in the legend stands for all."""
    lines = [mark for mark in panel.marks if isinstance(mark, Line) and not mark.dash]
    shown = literal(name, LEGEND)
    return [
        replace(line, name=shown, color=color, width=1.2, low=None, high=None, legend=number == 0, behind=True)
        for number, line in enumerate(lines)
    ]
