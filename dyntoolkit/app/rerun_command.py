"""`dyntoolkit rerun`: train a run again from a file of it, and say how far the numbers are from those in the file."""

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dyntoolkit.app.data_file import with_file
from dyntoolkit.errors import InputError

if TYPE_CHECKING:  # these import torch, which takes a second
    from dyntoolkit.catalog.provenance import Provenance
    from dyntoolkit.catalog.rerun import Difference
    from dyntoolkit.engine.history import Frame
    from dyntoolkit.experiment import Experiment

SAME, OTHER = 0, 1
MOST_LINES = 40  # of quantities that differ
Bar = Callable[[], AbstractContextManager[Callable[[str, "Frame"], None]]]


def rerun_command(options: argparse.Namespace, bar: Bar) -> int:
    """Read, train, compare, print. bar: a context with a progress bar, watch(label, frame)."""
    from dyntoolkit.catalog.rerun import differences, train_again, warnings
    from dyntoolkit.catalog.stored_run import read_content, read_run
    from dyntoolkit.dashboard.save import Finished, content
    from dyntoolkit.engine.own_state import use_one_thread

    stored = read_run(Path(options.run))
    experiment = _experiment(stored.made, [Path(name) for name in options.file])
    use_one_thread()
    with bar() as watch:
        run = Finished(experiment, train_again(experiment, stored.made, partial(watch, experiment.name)))
    for sentence in warnings(stored.made, run.made):
        print(f"dyntoolkit: warning: {sentence}", file=sys.stderr)
    found = {f"metric {name}": apart for name, apart in differences(stored.made.metrics, run.made.metrics).items()}
    if stored.values:
        again = read_content(content(run, f"run{stored.suffix}"), "the new run")
        found |= differences(stored.values, again.values)
    print(_table(found))
    return OTHER if any(found.values()) else SAME


def _experiment(made: "Provenance", files: list[Path]) -> "Experiment":
    """The experiment that made it, from these files of a reader's where it needs some."""
    from dyntoolkit.catalog.rerun import experiment_of

    own = [path for path in files if path.suffix == ".py"]
    data = [path for path in files if path.suffix != ".py"]
    if len(own) > 1 or len(data) > 1:
        raise InputError("--file takes one Python file, and one file of data.", "file")
    experiment = experiment_of(made, own[0] if own else None)
    if made.data and not data:
        raise InputError(f"the run stands on the file of data {made.data[:100]!r}: give it with --file.", "file")
    return with_file(experiment, data[0]) if data else experiment


def _table(found: dict[str, "Difference"]) -> str:
    """The quantities that differ, the others as their number, and a sentence."""
    apart = {name: value for name, value in found.items() if value}
    width = max(map(len, found), default=0)
    shown = list((apart if len(found) > MOST_LINES else found).items())[:MOST_LINES]
    lines = [f"{name.ljust(width)}  {value if isinstance(value, str) else f'{value:g}'}" for name, value in shown]
    if len(found) > len(lines):
        lines.append(f"... and {len(found) - len(lines)} more")
    summary = f"{len(apart)} of {len(found)} differ" if apart else f"all {len(found)} are the same, number by number"
    return "\n".join(["largest difference from the file:", *lines, f"{summary}."])
