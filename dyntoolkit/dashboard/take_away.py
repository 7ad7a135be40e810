"""A row, folded away, that hands out files of the present run: data, figure, weights, report, citation."""

import gzip
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from dyntoolkit.catalog.provenance import file_name
from dyntoolkit.catalog.weights import FILE, weights
from dyntoolkit.dashboard.save import FORMATS, Finished, content
from dyntoolkit.errors import InputError, problem_words

MOST = 50_000_000  # packed bytes that are sent to a browser


class TakeAway(anywidget.AnyWidget):
    """Buttons for files. taken(): the present run, as far as it is trained; None where there is none yet.

    train: the line for a terminal that trains it. rerun: that for one of its files, FILE.
    A file is made when its button is pressed, in a thread of its own, one after the other; nothing is sent before.
    """

    _esm = Path(__file__).parent / "take_away.js"
    _css = Path(__file__).parent / "take_away.css"
    rerun = traitlets.Unicode().tag(sync=True)
    train = ""

    def __init__(self, taken: Callable[[], Finished | None]) -> None:
        super().__init__()
        self.add_class("dyn-take")
        self._taken = taken
        self._making = threading.Lock()
        self.on_msg(self._receive)

    def _receive(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        """The page wants a file. ask: what this wish is known by."""
        wish = (str(message.get("suffix")), str(message.get("ask")))
        if message.get("kind") == "wanted" and wish[0] in FORMATS:
            threading.Thread(target=self._give, args=wish, name="dyntoolkit file", daemon=True).start()

    def _give(self, suffix: str, ask: str) -> None:
        try:
            with self._making:
                name, packed, lines = self._made(suffix)
        except Exception as problem:  # told to the reader, and the next file must work
            self.send({"kind": "refused", "ask": ask, "why": problem_words(problem)})
        else:
            self.send({"kind": "file", "ask": ask, "name": name, "lines": lines}, [packed])

    def _made(self, suffix: str) -> tuple[str, bytes, str]:
        """A file's name, its packed content, and the lines of Python that read it, if it has weights."""
        run = self._taken()
        if run is None:
            raise InputError("Nothing is trained yet.")
        name = file_name(run.experiment, run.history, suffix)
        packed = gzip.compress(content(run, name), 6, mtime=0)
        if len(packed) > MOST:
            cure = f"{self.train} --out {name}"
            raise InputError(f"{name} would have {len(packed) / 1e6:.0f} MB, too much for a page: {cure} writes it.")
        lines = weights(run.experiment, run.history).lines if suffix == ".safetensors" else ""
        return name, packed, lines.replace(repr(FILE), repr(name))
