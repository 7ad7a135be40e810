"""What a link asks of a dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from dyntoolkit.dashboard.link import UNPACKED
from dyntoolkit.dashboard.parameters import CHOICE, MAP, PIN, SPREAD, STEP, VIEW, address, followed, repeated, run_seeds
from dyntoolkit.dashboard.pins import MOST
from dyntoolkit.dashboard.slider_map import number_fields, slider_map
from dyntoolkit.dashboard.spread import Spread, chosen_values
from dyntoolkit.errors import InputError, unknown, whole_number
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config

LAST_STEP = 10**12


@dataclass(frozen=True)
class Run:
    """Settings and the seeds to train them with."""

    config: Config
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Linked:
    """What a link asks for, as far as that can be had. problems: why not the rest, a sentence each.

    pins: runs to pin beside `run`. spread: a field, and its values as a reader writes them. map: two fields, and what
    is shown over them. step: where the time-lapse stands; None at the end.
    """

    run: Run
    pins: tuple[Run, ...] = ()
    spread: tuple[str, str] | None = None
    map: tuple[str, str, str] | None = None
    step: int | None = None
    problems: tuple[str, ...] = ()


def asked(experiment: Experiment) -> Linked | None:
    """What the page's address asks of this experiment; None where it does not name it."""
    pairs = address(tuple(experiment.config.sliders()))
    return linked(experiment, pairs) if dict(pairs).get(CHOICE) == experiment.name else None


def linked(experiment: Experiment, pairs: Sequence[tuple[str, str]]) -> Linked:
    """What the names and values of a link to this experiment ask for, on top of its default settings.

    >>> from dyntoolkit.catalog.registry import find
    >>> noise = find("label_noise.linear")
    >>> linked(noise, [("lr", "0.1"), ("seed", "3"), ("noise", "1")]).problems  # doctest: +ELLIPSIS
    ("unknown parameter 'noise'. ...",)
    """
    view = {name: [value for each, value in pairs if each == name] for name in VIEW}
    words = {name: value for name, value in pairs if name not in (CHOICE, *view)}
    run, problems = _run(experiment, words)
    pins = []
    for number, text in enumerate(view[PIN][:MOST], 1):
        pin, wrong = _run(experiment, dict(parse_qsl(text.translate(UNPACKED), keep_blank_values=True)))
        if not wrong:  # else it would be compared with another run than the one that was meant
            pins.append(pin)
        problems += [f"pinned run {number} is left out: {problem}" for problem in wrong]
    if len(view[PIN]) > MOST:
        problems.append(f"it has {len(view[PIN]):,} pinned runs, of which the first {MOST} are taken.")
    spread, over, step = None, None, None
    try:
        spread = _spread(experiment, run, view[SPREAD][-1]) if view[SPREAD] else None
    except InputError as problem:
        problems.append(f"the spread: {problem}")
    try:
        over = _map(experiment, run.config, view[MAP][-1]) if view[MAP] else None
    except InputError as problem:
        problems.append(f"the map: {problem}")
    try:
        step = whole_number(STEP, view[STEP][-1], 0, LAST_STEP) if view[STEP] else None
    except InputError as problem:
        problems.append(str(problem))
    problems += repeated(pairs)
    return Linked(run, tuple(dict.fromkeys(pins)), spread, over, step, tuple(problems))


def _run(experiment: Experiment, words: Mapping[str, str]) -> tuple[Run, list[str]]:
    """The run that these words tell, and what is wrong with some of them."""
    kept, problems = followed(experiment, words, {})
    seeds = run_seeds(kept.pop("seed", 0), kept.pop("n_seeds", 1))
    return Run(experiment.configure(kept.pop("preset", None), **kept), seeds), problems


def _spread(experiment: Experiment, run: Run, text: str) -> tuple[str, str]:
    """`lr:0.1,0.2` -> field and values; InputError for what cannot be spread."""
    field, _, values = text.partition(":")
    fields = number_fields(run.config)
    if field not in fields:
        raise unknown("field", field, fields)
    Spread(experiment, run.config, run.seeds, field, chosen_values(run.config, field, values))
    return field, values


def _map(experiment: Experiment, config: Config, text: str) -> tuple[str, str, str]:
    """`lr:width:ratio` -> fields across and up, and what is shown; InputError for fields of which there is no map."""
    x, _, rest = text.partition(":")
    y, _, of = rest.partition(":")
    slider_map(experiment, config, x, y, of)
    return x, y, of
