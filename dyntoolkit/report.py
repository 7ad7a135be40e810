"""What `dyntoolkit run` and `list` print: one JSON document, or tables for a terminal."""

import math
import platform
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import zip_longest
from typing import Any

import numpy as np

from dyntoolkit import __version__
from dyntoolkit.claims import Array
from dyntoolkit.config import Config
from dyntoolkit.engine.history import History
from dyntoolkit.experiment import Experiment
from dyntoolkit.judge import DIVERGED, HERE, ControlVerdict, Verdict

WIDTH = 100


def run_document(
    preset: str,
    history: History,
    seconds: float,
    metrics: Mapping[str, Array],
    verdicts: Iterable[Verdict],
    threads: int,
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
        "engine": {"mode": "eager", "device": "cpu", "threads": threads},
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
        "settings": verdict.where,
        "controls": [_control(control) for control in verdict.controls],
        "note": verdict.note,
    }


def _control(control: ControlVerdict) -> dict[str, Any]:
    return {
        "label": control.label,
        "threshold": control.threshold,
        "value": _plain(control.value),
        "confirmed": list(control.confirmed),
        "mean": None if control.mean is None else _plain([control.mean])[0],
        "note": control.note,
    }


def _plain(values: Iterable[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def heading(history: History, seconds: float) -> str:
    """What was trained, how long it took, and which runs diverged."""
    seeds = f"seed {history.seeds[0]}" if len(history.seeds) == 1 else f"{len(history.seeds)} seeds"
    line = f"{history.experiment}, {seeds}, {seconds:.1f} s"
    lost = [
        f"seed {seed} at step {step}" for seed, step in zip(history.seeds, history.diverged, strict=True) if step >= 0
    ]
    return f"{line}\ndiverged: {', '.join(lost)}" if lost else line


def claims_table(verdicts: Sequence[Verdict]) -> str:
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
    mark = ("+" if verdict.passed else "-") if verdict.expected else "."
    remarks = [] if verdict.expected else ["not expected here"]
    remarks += [verdict.where] if verdict.where != HERE else []
    remarks += [verdict.note] if verdict.note else []
    what = f"{verdict.id}: {verdict.statement}" + (f" ({'; '.join(remarks)})" if remarks else "")
    return mark, what, _spread(verdict.value), verdict.threshold, _share(verdict.holds)


def _control_row(control: ControlVerdict) -> Row:
    mark = ("+" if control.passed else "-") if control.confirmed else "."
    what = f"  control: {control.label}" + (f" ({control.note})" if control.note else "")
    value = _spread(control.value) if control.mean is None else f"mean {_number(control.mean)}"
    return f"  {mark}", what, value, control.threshold, _share(control.confirmed)


def _share(answers: Sequence[bool]) -> str:
    return f"{sum(answers)}/{len(answers)}" if answers else ""


def _spread(values: Sequence[float]) -> str:
    """Median and range over the seeds whose value is a number; "none" where no value is one."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "none" if values else ""
    middle = _number(float(np.median(known)))
    return middle if len(values) == 1 else f"{middle} [{_number(min(known))}, {_number(max(known))}]"


def _number(value: float) -> str:
    return f"{value:.3g}"


def experiments_table(experiments: Iterable[Experiment]) -> str:
    """Name, title, time, question and presets of every experiment."""
    blocks = []
    for experiment in experiments:
        lines = [f"{experiment.name}: {experiment.title} ({experiment.seconds:g} s)", f"  {experiment.question}"]
        lines += [f"  {name}: {preset.reason}" for name, preset in experiment.presets.items()]
        blocks.append("\n".join(_wrap(line, WIDTH) for line in lines))
    return "\n\n".join(blocks)


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
        control = config.controls()[name]
        fields[name] = {"default": default, "help": control.help}
        if control.options:
            fields[name]["options"] = list(control.options)
        elif not isinstance(default, bool):
            fields[name] |= {"low": control.low, "high": control.high, "log": control.log, "unit": control.unit}
    return fields


def _wrap(text: str, width: int) -> str:
    indent = text[: len(text) - len(text.lstrip())]
    return "\n".join(textwrap.wrap(text, width, subsequent_indent=indent + "  "))


def _columns(rows: Sequence[Row], gap: str = "  ") -> str:
    """Left-aligned columns, at most WIDTH wide: what is wanted wraps at 16 columns, the claim at the rest."""
    mark, what, value, wanted, share = (max(len(row[j]) for row in rows) for j in range(5))
    wanted = min(wanted, 16)
    what = min(what, WIDTH - mark - value - wanted - share - 4 * len(gap))
    lines = []
    for row in rows:
        indent = " " * (len(row[1]) - len(row[1].lstrip()))
        wrapped = textwrap.wrap(row[1], what, subsequent_indent=indent + "  ")
        conditions = textwrap.wrap(row[3], wanted)
        first = True
        for left, right in zip_longest(wrapped, conditions, fillvalue=""):
            cells = (row[0], left, row[2], right, row[4]) if first else ("", left, "", right, "")
            widths = (mark, what, value, wanted, share)
            lines.append(gap.join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip())
            first = False
    return "\n".join(lines)
