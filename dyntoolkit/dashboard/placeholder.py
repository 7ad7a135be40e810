"""What stands in a page for widgets that are made when a reader comes near: a name, a sentence, a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets


class Placeholder(anywidget.AnyWidget):
    """One light widget in place of many.

    near(): called when it is within about a screen's height of what is seen, until it is `heard`. title, text: what is
    to come. picture: a PNG of it, or nothing.
    """

    _esm = Path(__file__).parent / "placeholder.js"
    _css = Path(__file__).parent / "placeholder.css"
    title = traitlets.Unicode().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)
    heard = traitlets.Bool(False).tag(sync=True)

    def __init__(self, near: Callable[[], None], title: str = "", text: str = "", picture: bytes = b"") -> None:
        super().__init__(title=title, text=text, picture=picture)
        self.add_class("dyn-near")
        self._near = near
        self.on_msg(self._receive)

    def _receive(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        if message.get("kind") == "near" and not self.heard:
            self._near()
