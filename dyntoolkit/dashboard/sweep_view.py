"""What a sweep has found, to look through: a metric or a recorded curve over the fields of its grid."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np
from IPython.display import Image, display

from dyntoolkit.catalog.open_sweep import open_sweep
from dyntoolkit.catalog.registry import find
from dyntoolkit.catalog.sweep_words import sweep_words
from dyntoolkit.dashboard import headless
from dyntoolkit.dashboard.board import Board
from dyntoolkit.dashboard.theory import border_lines, theory_lines
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.words import value_names
from dyntoolkit.figure.family import family
from dyntoolkit.figure.panels import MEASURED, Axis, Bars, Heat, Panel, median_line, medians
from dyntoolkit.figure.recorded import is_logarithmic
from dyntoolkit.figure.still import still_png

if TYPE_CHECKING:
    import xarray as xr

Theory = tuple[Experiment, Config]  # what was swept, and the settings of all fields that a figure does not vary
NOTHING = "–"  # for a figure over one field
EMPTY = Panel("A sweep", Axis(""), Axis(""), note="No run is trained yet.")


class SweepView:
    """A figure of a sweep's runs, with lists to choose what it shows over which fields, and the values of the others.

    experiment: what was swept, for its theory; None where it is not known. box: the widget. words: what is missing.
    """

    def __init__(self, runs: "xr.Dataset", experiment: Experiment | None) -> None:
        fields = fields_of(runs)
        runs = self.runs = runs.sortby([field for field in fields if is_number(runs, field)])
        self.experiment = experiment
        self.board = Board(f"{runs.attrs['experiment']}: a sweep over {', '.join(fields)}")
        self.show = widgets.Dropdown(options=[*runs["metric"].values.tolist(), *curves_of(runs)], description="Show")
        self.across = widgets.Dropdown(options=fields, description="Across")
        second = fields[1] if len(fields) > 1 else NOTHING
        self.up = widgets.Dropdown(options=[NOTHING, *fields], value=second, description="Up")
        self.at = {
            field: widgets.Dropdown(
                options=[(name, k) for k, name in enumerate(value_names(runs[field].values.tolist()))],
                description=field,
            )
            for field in fields
        }
        chosen = [self.show, self.across, self.up, *self.at.values()]
        for widget in chosen:
            widget.observe(lambda _: self.draw(), "value")
        lines = sweep_words(runs) if "trained" in runs else []
        self.words = widgets.HTML("<br>".join(map(escape, lines))).add_class("dyn-sweep-words")
        self.box = widgets.VBox([self.words, widgets.Box(chosen, layout={"flex_flow": "row wrap"}), self.board])
        self.draw()

    def draw(self) -> None:
        """Show what is chosen."""
        used = (self.across.value, *(() if self.show.value in curves_of(self.runs) else (self.up.value,)))
        for field, widget in self.at.items():
            widget.layout.display = "none" if field in used else "flex"
        self.up.disabled = self.show.value in curves_of(self.runs)
        self.board.show(self.panels())

    def panels(self) -> list[Panel]:
        """The figure of what is chosen."""
        if self.show.value is None:
            return [EMPTY]
        at = {field: widget.value for field, widget in self.at.items()}
        up = "" if self.up.value in (NOTHING, self.across.value) else self.up.value
        theory = _theory(self.runs, self.experiment, at)
        return sweep_panels(self.runs, self.show.value, self.across.value, up, at, theory)


def show_sweep(runs: "xr.Dataset | str | Path", experiment: Experiment | None = None) -> SweepView:
    """Look through a sweep in a notebook: metrics as curves or maps over the fields of its grid, curves as families.

    runs: what `sweep`, `open_sweep` or `run` returned, or the directory of a sweep. experiment: what was swept, for
    what its theory says (default: the known one of that name, if there is one). Without a front end: one picture.
    Raises InputError where there is no sweep, and for one over no field.

    >>> show_sweep("nowhere")
    Traceback (most recent call last):
    ...
    dyntoolkit.errors.InputError: there is no sweep in nowhere.
    """
    found: Any = open_sweep(runs) if isinstance(runs, str | Path) else runs  # of anybody's code
    if not hasattr(found, "data_vars") or not {"metrics", "diverged_at"} <= set(found.data_vars):
        raise InputError(f"show_sweep takes a sweep or its directory, got {type(runs).__name__}.", "runs")
    if not fields_of(found):
        raise InputError("show_sweep takes runs over one field at least; these are all of the same settings.", "runs")
    view = SweepView(found, experiment or _known(found.attrs["experiment"]))
    if headless.is_headless():
        display(Image(still_png(view.panels()), format="png"))  # type: ignore[no-untyped-call]
    else:
        display(view.box)  # type: ignore[no-untyped-call]
    return view


def fields_of(runs: "xr.Dataset") -> list[str]:
    """The fields of its grid."""
    return [str(dim) for dim in runs["metrics"].dims if dim not in ("seed", "metric")]


def curves_of(runs: "xr.Dataset") -> dict[str, str]:
    """The recorded quantities that are one number per run and step: what each is called -> its name.

    One that is called like a metric is "... by step".
    """
    wanted, metrics = {*fields_of(runs), "seed", "step"}, set(runs["metric"].values.tolist())
    names = [str(name) for name, array in runs.data_vars.items() if set(array.dims) == wanted]
    return {f"{name} by step" if name in metrics else name: name for name in names}


def is_number(runs: "xr.Dataset", field: str) -> bool:
    """Whether the values of a field are numbers, and neither words nor switches."""
    return runs[field].dtype.kind in "iuf"


def sweep_panels(
    runs: "xr.Dataset", show: str, across: str, up: str, at: Mapping[str, int], theory: Theory | None = None
) -> list[Panel]:
    """A curve of the runs as a family over the field `across`; or a metric over it, or over it and `up` as a map.

    at: for the other fields, which of their values. theory: whose predictions and borders are shown.
    """
    curve = curves_of(runs).get(show)
    free = {across} if curve or not up else {across, up}
    array = (runs[curve] if curve else runs["metrics"].sel(metric=show)).isel(
        {field: k for field, k in at.items() if field not in free}
    )
    values = runs[across].values
    names = value_names(values.tolist())
    label = _label(runs, across)
    if curve:
        steps = runs["step"].values
        own = array.transpose(across, "step", "seed").values.astype(np.float64)
        axis = Axis(curve, log=is_logarithmic(own))
        members = {name: _curve(curve, axis, steps, each) for name, each in zip(names, own, strict=True)}
        return [Panel(f"{panel.title} by {label}", panel.x, panel.y, panel.marks) for panel in family(members)]
    if up:
        z = medians(array.transpose(up, across, "seed").values)
        y = value_names(runs[up].values.tolist())
        numbers = is_number(runs, across) and is_number(runs, up)
        borders = (
            border_lines(*theory, across, up, values.tolist(), runs[up].values.tolist()) if theory and numbers else []
        )
        return [Panel(show, Axis(label), Axis(_label(runs, up)), [Heat(show, names, y, z), *borders])]
    found = array.transpose(across, "seed").values.astype(np.float64)
    y_axis = Axis(show, log=is_logarithmic(found))
    if not is_number(runs, across):
        return [Panel(show, Axis(label), y_axis, [Bars("median", names, medians(found), MEASURED)])]
    line = median_line("median over the seeds", values.astype(np.float64), found, MEASURED, markers="both")
    dashed = theory_lines(*theory, across, values.tolist(), show) if theory else []
    return [Panel(show, Axis(label, log=is_logarithmic(values.astype(np.float64))), y_axis, [line, *dashed])]


def _curve(name: str, axis: Axis, steps: Any, values: Any) -> list[Panel]:
    known = np.isfinite(values).any(axis=1)
    return [Panel(name, Axis("step"), axis, [median_line(name, steps[known], values[known], MEASURED)])]


def _known(name: str) -> Experiment | None:
    """The experiment of that name; None for one that is not known here."""
    try:
        return find(name)
    except InputError:
        return None


def _theory(runs: "xr.Dataset", experiment: Experiment | None, at: Mapping[str, int]) -> Theory | None:
    """An experiment at these values of the grid; None where there is none, or it has other fields by now."""
    if experiment is None:
        return None
    chosen = {field: runs[field].values[k].item() for field, k in at.items()}
    try:
        return experiment, experiment.config().replace(**json.loads(runs.attrs["config"]), **chosen)
    except InputError:
        return None


def _label(runs: "xr.Dataset", field: str) -> str:
    about = runs[field].attrs
    return f"{about.get('long_name', field)}{f' ({unit})' if (unit := about.get('units')) else ''}"
