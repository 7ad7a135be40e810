"""What to look for: notes beside a dashboard whose first words are buttons that set a preset."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import ipywidgets as widgets
from IPython.display import Markdown

from dyntoolkit.dashboard import live
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.show import Result, shown
from dyntoolkit.experiment import Experiment


def look_for(view: Dashboard | Result | Experiment | str, notes: Mapping[str, str]) -> Any:
    """A list of notes, preset name -> what to look for with it (HTML).

    Live: each name is a button that sets the preset in the dashboard above. Without a front end: a plain list.
    Raises InputError for a name that is no preset of the experiment.

    >>> notes = look_for(explore("label_noise", steps=500), {"lazy_control": "nothing shrinks"})  # doctest: +ELLIPSIS
    label_noise.linear, seed 0, 500 of 500 steps
    ...
    >>> print(notes.data)
    - **lazy control**: nothing shrinks
    """
    view = shown(view)
    for preset in notes:
        view.experiment.configure(preset)
    if isinstance(view, Result):
        text = "\n".join(f"- **{_words(preset)}**: {note}" for preset, note in notes.items())
        return Markdown(text)  # type: ignore[no-untyped-call]
    rows = []
    for preset, note in notes.items():
        button = widgets.Button(description=_words(preset), tooltip=view.experiment.presets[preset].reason)
        button.on_click(partial(_apply, view, preset))
        rows.append(widgets.Box([button.add_class("dyn-word"), widgets.HTML(note)]).add_class("dyn-note"))
    return widgets.VBox(rows).add_class("dyn-notes")


def _apply(view: Dashboard, preset: str, _button: widgets.Button) -> None:
    dashboard = live.present(view)
    if not dashboard.runner.closed:
        dashboard.apply(preset)


def _words(preset: str) -> str:
    return preset.replace("_", " ")
