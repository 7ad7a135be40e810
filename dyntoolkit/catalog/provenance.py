"""What reproduces a run: it stands in every file that is made of one, and `rerun` reads it there."""

import dataclasses
import hashlib
import json
import math
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyntoolkit.catalog.source_hash import source_hash, versions
from dyntoolkit.engine.choice import DEVICES, ENGINES
from dyntoolkit.engine.history import Array, History, Live
from dyntoolkit.engine.streams import check_seeds
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment, run_metrics

KEY = "dyntoolkit-run"  # what it is called in every file
MOST_RUNS = 10_000
LONGEST_NAME = 120  # characters of a file's name, without what a folder or a copy adds
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # devices of Windows, with any suffix
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Provenance:
    """A run as plain data.

    settings: of each of the R runs, before anything was sent in; seeds: (R,). engine: what trained; asked, device: what
    was asked for. step, total: how far it was trained, and what there is to train. sent: (step, name of an action or
    values of live fields). data: name of the reader's file it stands on. metrics: name -> (R,), NaN for "never"; {} of
    a run that was not trained to its end.
    """

    experiment: str
    settings: tuple[Settings, ...]
    seeds: tuple[int, ...]
    engine: str
    asked: str | None
    device: str
    step: int
    total: int
    sent: tuple[tuple[int, str | Settings], ...]
    versions: Mapping[str, str]
    source: str
    data: str
    metrics: Mapping[str, Array]

    def text(self, **more: Any) -> str:
        """All of it, and more, as JSON in one line, with no character that a markup language would stumble over."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        first = self.settings[0]
        named["settings"] = first
        named["others"] = [
            {name: value for name, value in each.items() if value != first[name]} for each in self.settings[1:]
        ]
        named["metrics"] = {name: plain(values) for name, values in self.metrics.items()}
        line = json.dumps(named | more, allow_nan=False)
        for character in "<>&":
            line = line.replace(character, f"\\u{ord(character):04x}")
        return line

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end."""
        return self.step >= self.total


def provenance(experiment: Experiment, history: History) -> Provenance:
    """That of a history, as far as it is trained."""
    sent = tuple((step, each.values if isinstance(each, Live) else each) for step, each in history.sent)
    return Provenance(
        experiment.name,
        tuple(config.asdict() for config in history.first_configs),
        history.seeds,
        history.engine,
        history.asked,
        history.device,
        history.step,
        history.total,
        sent,
        {**versions(), "python": platform.python_version()},
        source_hash(experiment),
        experiment.data,
        run_metrics(experiment, history) if history.done else {},
    )


def parse(text: str, where: str) -> Provenance:
    """The provenance in that text, of the file `where`; InputError if it is none. Nothing in it is executed."""
    try:
        named = json.loads(text)
        names = {field.name for field in dataclasses.fields(Provenance)}
        if not names <= named.keys():
            raise KeyError(min(names - named.keys()))
        first = _typed(named["settings"], dict)
        settings = (first, *({**first, **_typed(each, dict)} for each in _typed(named["others"], list)))
        found = Provenance(
            _typed(named["experiment"], str),
            settings,
            check_seeds(_typed(named["seeds"], list)),
            _typed(named["engine"], str),
            named["asked"],
            named["device"],
            _typed(named["step"], int),
            _typed(named["total"], int),
            tuple((_typed(step, int), _typed(each, (str, dict))) for step, each in _typed(named["sent"], list)),
            {str(name): _typed(value, str) for name, value in _typed(named["versions"], dict).items()},
            _typed(named["source"], str),
            _typed(named["data"], str),
            {name: numbers(values) for name, values in _typed(named["metrics"], dict).items()},
        )
        if found.asked not in (None, *ENGINES) or found.device not in DEVICES:
            raise ValueError("no such engine or device")
        if len(found.seeds) > MOST_RUNS:
            raise ValueError(f"it has more than {MOST_RUNS:,} runs")
        shapes = {(len(found.settings),), *(values.shape for values in found.metrics.values())}
        if shapes != {(len(found.seeds),)}:
            raise ValueError("settings, seeds and metrics must be of as many runs")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        words = (
            str(problem) if isinstance(problem, InputError) else f"what it says about its run is damaged ({problem})"
        )
        raise InputError(f"{where}: {words[:200].rstrip('.')}.", "file") from problem
    return found


def _typed(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where none belongs")
    return value


def plain(values: Array) -> Any:
    """An array as lists of numbers for JSON: null for NaN, and a word for what is infinite."""
    array = np.asarray(values, dtype=np.float64)
    listed = array.tolist()
    return listed if np.isfinite(array).all() else _worded(listed)


def _worded(value: Any) -> Any:
    if isinstance(value, list):
        return [_worded(each) for each in value]
    return None if math.isnan(value) else value if math.isfinite(value) else str(value)


def numbers(values: Any) -> Array:
    """What `plain` made lists of, float64; ValueError for anything else."""
    return np.array(_unworded(_typed(values, list)), dtype=np.float64)


def _unworded(value: Any) -> Any:
    if isinstance(value, list):
        return [_unworded(each) for each in value]
    return math.nan if value is None else float(value)


def file_name(experiment: Experiment, history: History, suffix: str) -> str:
    """What a file of a run is called: experiment, data and their hash, settings other than the first preset's, seeds.

    It has at most LONGEST_NAME characters, which every file system takes, and no two runs of an experiment share one.
    suffix: with its dot.

    >>> from dyntoolkit.catalog.registry import find
    >>> noise = find("label_noise.linear")
    >>> history, _ = noise.start([noise.configure(noise_std=1)], [3])
    >>> file_name(noise, history, ".csv")
    'label_noise.linear_noise_std=1.0_seed=3.csv'
    """
    usual = experiment.configure().asdict()
    differing = [f"{name}={value}" for name, value in history.config.asdict().items() if value != usual.get(name)]
    data = [f"data={experiment.data}-{experiment.data_hash}"] if experiment.data else []
    parts = [experiment.name, *data, *differing, _seed_words(history.seeds)]
    return safe_name("_".join(parts), suffix)


def _seed_words(seeds: Sequence[int]) -> str:
    row = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    named = f"{seeds[0]}-{seeds[-1]}" if row and len(seeds) > 1 else "-".join(map(str, seeds))
    return f"seed={named}" if len(seeds) == 1 else f"seeds={named}"


def safe_name(name: str, suffix: str) -> str:
    """The name with the suffix as every file system takes it; what had to be changed leaves a hash of the whole.

    >>> safe_name("a/b", ".csv")
    'a-b_c14cddc0.csv'
    """
    safe = re.sub(r"[^A-Za-z0-9_.=+-]", "-", name)
    safe = re.sub(r"^[.-]", "_", safe)
    if not safe or RESERVED.fullmatch(safe.split(".")[0]):
        safe = f"_{safe}"
    if safe == name and len(safe) + len(suffix) <= LONGEST_NAME:
        return safe + suffix
    mark = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}{suffix}"
    return safe[: LONGEST_NAME - len(mark)] + mark
