"""The row in which a reader chooses a file of data."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from dyntoolkit.errors import InputError
from dyntoolkit.experiment.record import check_file_size


class FileRow(anywidget.AnyWidget):
    """A button for a file, which then comes in parts, as a server takes no large message (serve: 1 MB, Jupyter: 10 MB).

    take(name, content): called with a file once it is there, in a thread of its own, file after file. refuse(sentence):
    why one was not let in: it is larger than `limit` bytes (then none of it is sent), or the browser cannot read it.
    file: the name of the one in use.
    """

    _esm = Path(__file__).parent / "file_row.js"
    limit = traitlets.Int().tag(sync=True)
    file = traitlets.Unicode().tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)

    def __init__(self, limit: int, take: Callable[[str, bytes], None], refuse: Callable[[str], None]) -> None:
        super().__init__(limit=limit)
        self.add_class("dyn-file")
        self._take, self._refuse = take, refuse
        self._taking = threading.Lock()
        self._choice, self._name, self._size = "", "", 0  # of the file that comes
        self._content = bytearray()
        self.on_msg(self._receive)

    def _receive(self, _widget: object, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """A word from the page: a file is chosen, its next part, or it cannot be read.

        choice: what this choosing of a file is known by.
        """
        kind, choice, name = message.get("kind"), str(message.get("choice")), str(message.get("name"))
        if kind == "chosen":
            self._begin(choice, name, int(message.get("size", 0)))
        elif kind == "part" and choice == self._choice and message.get("offset") == len(self._content):
            self._content += buffers[0]
            self._go_on()
        elif kind == "unreadable":
            self._end(choice, f"{name} cannot be read by the browser: choose it again.")

    def _begin(self, choice: str, name: str, size: int) -> None:
        try:
            check_file_size(name, size)
        except InputError as problem:
            self._end(choice, str(problem))
        else:
            self._choice, self._name, self._size, self._content = choice, name, size, bytearray()
            self._go_on()

    def _go_on(self) -> None:
        """Ask for the next part, or give away what is whole."""
        if len(self._content) < self._size:
            self.send({"kind": "wanted", "choice": self._choice, "offset": len(self._content)})
            return
        whole = (self._choice, self._name, bytes(self._content))
        self._choice, self._content = "", bytearray()
        threading.Thread(target=self._give, args=whole, name="dyntoolkit file", daemon=True).start()

    def _give(self, choice: str, name: str, content: bytes) -> None:
        try:
            with self._taking:
                self._take(name, content)
        finally:
            self._end(choice)

    def _end(self, choice: str, why: str = "") -> None:
        """Nothing more is done with that choice; `why` it was not let in."""
        if why:
            self._refuse(why)
        self.send({"kind": "end", "choice": choice})
