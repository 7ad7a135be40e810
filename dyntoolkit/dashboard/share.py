"""A row, folded away, that copies what gives the present run again; and the page's address, which follows it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import segno
import traitlets

from dyntoolkit.dashboard.link import link
from dyntoolkit.dashboard.snippets import FILE, command_snippet, python_snippet, source_of
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config

LONGEST = 2_000  # characters of a link of which there is a picture: beyond, a camera cannot tell its squares apart


class Share(anywidget.AnyWidget):
    """Buttons for a link, a few lines of Python, a command, and a picture of the link for the cameras of a hall.

    plain: the query of what the page shows whose address says nothing. query: that of the present run. python, command:
    what trains the same. note: what these leave out.
    """

    _esm = Path(__file__).parent / "share.js"
    _css = Path(__file__).parent / "share.css"
    plain = traitlets.Unicode().tag(sync=True)
    query = traitlets.Unicode().tag(sync=True)
    python = traitlets.Unicode().tag(sync=True)
    command = traitlets.Unicode().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)

    def __init__(self, plain: str) -> None:
        super().__init__(plain=plain)
        self.add_class("dyn-share")
        self.on_msg(self._receive)

    def show(
        self,
        original: Experiment,
        experiment: Experiment,
        file: str,
        config: Config,
        seeds: Sequence[int],
        compared: Mapping[str, Any],
    ) -> None:
        """Give this run from now on. original, file: what `experiment` was made of, if of a reader's file of data."""
        with self.hold_sync():
            self.query = link(original, config, seeds, compared)
            self.python = python_snippet(original, experiment, file, config, seeds)
            self.command = command_snippet(original, experiment, file, config, seeds)
            self.note = note(original, file)

    def _receive(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        """The page asks for the picture of a link, which only it knows in full."""
        if message.get("kind") == "picture":
            text = str(message.get("text"))
            self.send({"kind": "picture", "text": text, "picture": picture(text)})


def picture(text: str) -> str:
    """A QR code of the text, black on white with its quiet zone, a pixel for a square, as the address of a PNG.

    "" for more than LONGEST characters.

    >>> picture("https://example.org")[:22]
    'data:image/png;base64,'
    """
    if len(text) > LONGEST:
        return ""
    address: str = segno.make(text, error="m", micro=False).png_data_uri(border=4)
    return address


def note(experiment: Experiment, file: str) -> str:
    """What link, Python and command leave out, in words; "" where that is nothing."""
    parts = []
    if file:
        parts.append(
            f"{file} does not travel in a link: who opens it chooses the file again. Python and the command read it "
            "from the folder in which they are run."
        )
    if not source_of(experiment).everywhere:
        parts.append(
            "This experiment is defined in its notebook: the link opens a page of that notebook, Python goes on there, "
            f"and for the command it is put into a file of its own, here called {FILE}."
        )
    if experiment.actions:
        parts.append("What was done in the midst of a run is left out.")
    return " ".join(parts)
