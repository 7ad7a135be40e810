"""The table of the pinned runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from dyntoolkit.dashboard.pins import Pin, comparison, run_names
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.judging import Verdict


class PinTable(anywidget.AnyWidget):
    """A row for the present run and for each pinned one, with a button that unpins it, and one that unpins them all.

    unpin(numbers): called with the numbers of the pinned runs to let go of. heads: of the columns. rows: of each run
    its `name`, `color`, `label` and `cells`.
    """

    _esm = Path(__file__).parent / "pin_table.js"
    heads = traitlets.List(traitlets.Unicode()).tag(sync=True)
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(self, unpin: Callable[[Sequence[int]], None]) -> None:
        super().__init__()
        self.add_class("dyn-pins")
        self._unpin = unpin
        self.on_msg(self._receive)

    def show(self, pins: Sequence[Pin], names: Sequence[str], heads: list[str], rows: list[list[str]]) -> None:
        """Show the present run, whose cells come first, and the pinned ones."""
        now = {"name": "now", "color": "", "label": "", "cells": rows[0]}
        kept = [
            {"name": name, "color": pin.color, "label": pin.label, "cells": cells}
            for pin, name, cells in zip(pins, names, rows[1:], strict=True)
        ]
        with self.hold_sync():
            self.heads, self.rows = heads, [now, *kept]

    def _receive(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        if message.get("kind") == "unpin":
            self._unpin([int(number) for number in message["numbers"]])


class PinsBox:
    """Where the table is, once a run is pinned. box: the widget. unpin(numbers): as of a PinTable."""

    def __init__(self, unpin: Callable[[Sequence[int]], None]) -> None:
        self.box = widgets.VBox().add_class("dyn-pins-box")
        self._unpin = unpin

    def show(self, pins: Sequence[Pin], config: Config, seeds: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Show the present run (settings, seeds, verdicts so far) and the pinned ones."""
        if not pins:
            self.box.children = []
            return
        table = self.box.children[0] if self.box.children else PinTable(self._unpin)
        heads, rows = comparison(pins, config, seeds, verdicts)
        table.show(pins, run_names(pins, config, seeds), heads, rows)
        self.box.children = [table]
