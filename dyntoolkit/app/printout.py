"""What `dyntoolkit run` and `list` print: one JSON document, or tables for a terminal."""

import math
import platform
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import zip_longest
from typing import Any

from dyntoolkit import __version__
from dyntoolkit.engine.history import History
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.claims import Array
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.judging import DIVERGED, HERE, ControlVerdict, Verdict
from dyntoolkit.experiment.words import (
    ELSEWHERE,
    FAILS,
    HOLDS,
    control_words,
    metrics_words,
    numbers_words,
    seeds_words,
    share_words,
    verdict_words,
)

WIDTH = 100
GAP = "  "  # between two columns of a table
SIGNS = {HOLDS: "+", FAILS: "-", ELSEWHERE: "."}  # also for terminals that know ASCII only


def run_document(
    preset: str,
    history: History,
    seconds: float,
    metrics: Mapping[str, Array],
    verdicts: Iterable[Verdict],
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Everything about a run that a program may want; plain values, no NaN (null for "never" and for diverged runs)."""
    return {
        "experiment": history.experiment,
        "config": history.config.asdict(),
        "preset": preset,
        "seeds": list(history.seeds),
        "seconds": round(seconds, 3),
        "versions": {
            "dyntoolkit": __version__,
            "python": platform.python_version(),
            "torch": version("torch"),
            "numpy": version("numpy"),
        },
        "engine": {"mode": history.engine, "device": device, "threads": threads},
        "diverged": [int(step) if step >= 0 else None for step in history.diverged],
        "claims": [_claim(verdict) for verdict in verdicts],
        "metrics": {name: _plain(array.tolist()) for name, array in metrics.items() if name != DIVERGED},
    }


def _claim(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.id,
        "statement": verdict.statement,
        "threshold": verdict.threshold,
        "expected": verdict.expected,
        "value": _plain(verdict.value),
        "holds": list(verdict.holds),
        "settings": verdict.place,
        "controls": [_control(control) for control in verdict.controls],
        "note": verdict.note,
    }


def _control(control: ControlVerdict) -> dict[str, Any]:
    return {
        "label": control.label,
        "threshold": control.threshold,
        "value": _plain(control.value),
        "confirmed": list(control.confirmed),
        "mean": _plain(control.value[:1])[0] if control.pooled else None,
        "note": control.note,
    }


def _plain(values: Iterable[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def heading(history: History, seconds: float) -> str:
    """What was trained, how long it took, by which engine, and which runs diverged."""
    line = f"{history.experiment}, {seeds_words(history.seeds)}, {seconds:.1f} s, engine {history.engine}"
    lost = [
        f"seed {seed} at step {step}" for seed, step in zip(history.seeds, history.diverged, strict=True) if step >= 0
    ]
    return f"{line}\ndiverged: {', '.join(lost)}" if lost else line


def metrics_table(metrics: Mapping[str, Array]) -> str:
    """The metrics one a line, values as median [least, largest]: what there is to say where there are no claims."""
    words = metrics_words(metrics)
    width = max(map(len, words), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in words.items())


def verdicts_table(verdicts: Sequence[Verdict]) -> str:
    """The claims as a table of at most 100 columns, each followed by its controls; values as median [least, largest].

    Mark: + holds for more than half of the seeds, - does not, . not expected in these settings. A control is marked
    + where it shows what a control must show.
    """
    rows = [("", "claim", "value", "wanted", "holds")]
    for verdict in verdicts:
        rows.append(_verdict_row(verdict))
        rows += [_control_row(control) for control in verdict.controls]
    return _columns(rows)


Row = tuple[str, str, str, str, str]  # mark, what, value, wanted, share of the seeds


def _verdict_row(verdict: Verdict) -> Row:
    words = verdict_words(verdict)
    remarks = []
    if words == ELSEWHERE:
        remarks.append(f"{ELSEWHERE}: {verdict.grounds}" if verdict.grounds else ELSEWHERE)
    remarks += [verdict.place] if verdict.place != HERE else []
    remarks += [verdict.note] if verdict.note else []
    what = f"{verdict.id}: {verdict.statement}" + (f" ({'; '.join(remarks)})" if remarks else "")
    return (
        SIGNS[words],
        what,
        numbers_words(verdict.value, verdict.diverged),
        verdict.threshold,
        share_words(verdict.holds),
    )


def _control_row(control: ControlVerdict) -> Row:
    what = f"  control: {control.label}" + (f" ({control.note})" if control.note else "")
    sign = SIGNS[control_words(control)]
    return (
        f"  {sign}",
        what,
        numbers_words(control.value, control.diverged),
        control.threshold,
        share_words(control.confirmed),
    )


def experiments_table(experiments: Iterable[Experiment]) -> str:
    """Name, title, time, question and presets of every experiment."""
    blocks = []
    for experiment in experiments:
        lines = [f"{experiment.name}: {experiment.title}{_time(experiment)}"]
        lines += [f"  {experiment.question}"] if experiment.question else []
        lines += [f"  {name}: {preset.reason}" for name, preset in experiment.presets.items()]
        blocks.append("\n".join(_wrap(line, WIDTH) for line in lines))
    return "\n\n".join(blocks)


def _time(experiment: Experiment) -> str:
    return "" if experiment.seconds is None else f" ({experiment.seconds:g} s)"


def experiments_document(experiments: Iterable[Experiment]) -> list[dict[str, Any]]:
    """The same for a program, with every field's default and range and the ids of the claims."""
    return [
        {
            "name": experiment.name,
            "title": experiment.title,
            "question": experiment.question,
            "paper": experiment.paper,
            "seconds": experiment.seconds,
            "presets": {
                name: {"reason": preset.reason, "changes": dict(preset.changes)}
                for name, preset in experiment.presets.items()
            },
            "fields": _fields(experiment.config),
            "claims": [claim.id for claim in experiment.claims],
        }
        for experiment in experiments
    ]


def _fields(config: type[Config]) -> dict[str, dict[str, Any]]:
    fields = {}
    for name, default in config().asdict().items():
        slider = config.sliders()[name]
        fields[name] = {"default": default, "help": slider.help}
        if slider.options:
            fields[name]["options"] = list(slider.options)
        elif not isinstance(default, bool):
            fields[name] |= {"low": slider.low, "high": slider.high, "log": slider.log, "unit": slider.unit}
    return fields


def _wrap(text: str, width: int) -> str:
    indent = text[: len(text) - len(text.lstrip())]
    return "\n".join(textwrap.wrap(text, width, subsequent_indent=indent + "  "))


def _columns(rows: Sequence[Row]) -> str:
    """Left-aligned columns, at most WIDTH wide: what is wanted wraps at 16 columns, the claim at the rest."""
    mark, what, value, wanted, share = (max(len(row[j]) for row in rows) for j in range(5))
    wanted = min(wanted, 16)
    what = min(what, WIDTH - mark - value - wanted - share - 4 * len(GAP))
    lines = []
    for row in rows:
        indent = " " * (len(row[1]) - len(row[1].lstrip()))
        wrapped = textwrap.wrap(row[1], what, subsequent_indent=indent + "  ")
        conditions = textwrap.wrap(row[3], wanted)
        first = True
        for left, right in zip_longest(wrapped, conditions, fillvalue=""):
            cells = (row[0], left, row[2], right, row[4]) if first else ("", left, "", right, "")
            widths = (mark, what, value, wanted, share)
            lines.append(GAP.join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip())
            first = False
    return "\n".join(lines)
