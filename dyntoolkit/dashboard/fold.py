"""A button that shows and hides what is below it."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets


def fold(title: str, parts: Sequence[Any]) -> tuple[Any, Any]:
    """The button and the box of the parts that it shows and hides (an Accordion cannot be opened with the keyboard)."""
    button, box = widgets.Button().add_class("dyn-fold"), widgets.VBox(parts)  # status.js says whether it is open

    def show(shown: bool) -> None:
        box.layout.display = "flex" if shown else "none"
        button.description = f"{'▾' if shown else '▸'} {title}"

    button.on_click(lambda _: show(box.layout.display == "none"))
    show(False)
    return button, box
