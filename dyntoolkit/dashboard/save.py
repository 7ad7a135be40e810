"""A run as a file: its data, figure, weights or a report; each says in itself what reproduces the run."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dyntoolkit.catalog.citation import bibtex
from dyntoolkit.catalog.data_files import csv_file, json_file, netcdf_file, safetensors_file
from dyntoolkit.catalog.provenance import KEY, Provenance, provenance
from dyntoolkit.catalog.registry import find
from dyntoolkit.dashboard.board_html import board_html
from dyntoolkit.dashboard.pins import Pin, panels_with_pins
from dyntoolkit.dashboard.report import report_html
from dyntoolkit.engine.history import History
from dyntoolkit.errors import InputError, unknown
from dyntoolkit.experiment import Experiment, judge_history
from dyntoolkit.experiment.judging import Verdict
from dyntoolkit.experiment.words import seeds_words
from dyntoolkit.figure.panels import Panel
from dyntoolkit.figure.still import still_png, still_svg
from dyntoolkit.whole_file import write_whole

TWICE = 150  # pixels per inch: twice those of the picture in a notebook


@dataclass(frozen=True)
class Finished:
    """A run that is given away, as far as it is trained. verdicts: on it, None where they are to be found out.

    pins: the runs that its figure keeps behind it.
    """

    experiment: Experiment
    history: History
    verdicts: Sequence[Verdict] | None = None
    pins: Sequence[Pin] = ()

    @cached_property
    def made(self) -> Provenance:
        """What reproduces it."""
        return provenance(self.experiment, self.history)

    @property
    def title(self) -> str:
        """What it is, in one line."""
        return f"{self.experiment.title}, {seeds_words(self.history.seeds)}"

    @property
    def panels(self) -> list[Panel]:
        """Its figure, as a page shows it at the end of the run."""
        return panels_with_pins(self.experiment, self.history, self.pins, None)

    @property
    def made_figure(self) -> str:
        """What reproduces the run, and what the pinned ones are, as a figure holds it."""
        pinned = {"pinned": [pin.asdict() for pin in self.pins]} if self.pins else {}
        return self.made.text(**pinned)


def save(run: Any, path: str | Path, experiment: Experiment | None = None) -> None:
    """Write a run into a file; what ends its name says what is kept.

    .csv, .nc (netCDF), .json: what was recorded. .svg, .png, .html: the figure, with the runs pinned in what `explore`
    gives; the last one can be zoomed and needs no network. .safetensors: the weights. .report.html: a page to print.
    .bib: what to cite. In all but the last one stands what reproduces the run, which `dyntoolkit rerun FILE` does.

    run: a History, such as `find(name).run()` gives, or what `explore` gives. experiment: of a History whose experiment
    is neither the toolkit's nor registered.

    Raises InputError for another ending, for a run without what is wanted, and for a file that cannot be written; then
    there is none, or the one from before.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(find("condensation").run(), f"{folder}/run.csv")
    ...     os.listdir(folder)
    ['run.csv']
    """
    history = getattr(run, "history", run)
    if not isinstance(history, History) or not history.names():
        got = type(run).__name__ if not isinstance(history, History) else "one of which nothing is recorded yet"
        got += " (which writes itself: its `to_netcdf`)" if got == "Dataset" else ""
        raise InputError(f"run takes a History, or what `explore` gives; got {got}.", "run")
    experiment = experiment or (find(history.experiment) if history is run else run.experiment)
    shown = history.until(history.step)
    finished = Finished(experiment, shown, getattr(run, "claims", None) or None, getattr(run, "pins", ()))
    write(Path(path), content(finished, Path(path).name))


def write(path: Path, content: bytes) -> None:
    """Write the file as a whole; InputError where that is not possible, and then it is as it was before."""
    try:
        write_whole(path.resolve(), content)
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror or error}.", "out") from None


def suffix_of(name: str) -> str:
    """The ending of a file's name that says what is kept; InputError for one that is none."""
    found = next((suffix for suffix in sorted(FORMATS, key=len, reverse=True) if name.lower().endswith(suffix)), None)
    if found is None:
        raise unknown("ending of a file's name", "".join(Path(name).suffixes[-1:]) or name, FORMATS)
    return found


def content(run: Finished, name: str) -> bytes:
    """What the file of that name holds; InputError where there is no such thing of this run."""
    return FORMATS[suffix_of(name)](run, name)


def _csv(run: Finished, _: str) -> bytes:
    return csv_file(run.history, run.made)


def _netcdf(run: Finished, _: str) -> bytes:
    return netcdf_file(run.history, run.made)


def _json(run: Finished, _: str) -> bytes:
    return json_file(run.history, run.made)


def _safetensors(run: Finished, name: str) -> bytes:
    return safetensors_file(run.experiment, run.history, run.made, name)


def _svg(run: Finished, _: str) -> bytes:
    picture = still_svg(run.panels, run.title).decode()
    begin = picture.index(">", picture.index("<svg")) + 1
    held = f'\n <metadata id="{KEY}">{run.made_figure}</metadata>'
    return (picture[:begin] + held + picture[begin:]).encode()


def _png(run: Finished, _: str) -> bytes:
    text, kept = PngInfo(), io.BytesIO()
    text.add_itxt(KEY, run.made_figure)
    with Image.open(io.BytesIO(still_png(run.panels, run.title, dpi=TWICE))) as picture:
        picture.save(kept, format="png", optimize=True, pnginfo=text, dpi=(TWICE, TWICE))
    return kept.getvalue()


def _html(run: Finished, _: str) -> bytes:
    return board_html(run.panels, run.title, run.experiment.question, _head(run.made_figure)).encode()


def _report(run: Finished, _: str) -> bytes:
    verdicts = run.verdicts
    if verdicts is None:
        verdicts = judge_history(run.experiment, run.history) if run.history.done else []
    return report_html(run.experiment, run.history, verdicts, run.made, _head(run.made.text())).encode()


def _head(made: str) -> str:
    return f'<script type="application/json" id="{KEY}">{made}</script>'


def _bib(run: Finished, _: str) -> bytes:
    return bibtex(run.experiment).encode()


FORMATS: Mapping[str, Callable[[Finished, str], bytes]] = {
    ".csv": _csv,
    ".nc": _netcdf,
    ".json": _json,
    ".svg": _svg,
    ".png": _png,
    ".html": _html,
    ".report.html": _report,
    ".safetensors": _safetensors,
    ".bib": _bib,
}
