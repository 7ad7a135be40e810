"""The Board: one widget that draws a dashboard's panels live with plotly.js."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from dyntoolkit import plotly_js
from dyntoolkit.figure.panels import Panel
from dyntoolkit.figure.plotly_figure import CONFIG, describe, panel_to_dict

PATIENCE = 2.0  # seconds to wait for the browser's word that a frame is drawn
Template = list[dict[str, Any]]


class Board(anywidget.AnyWidget):
    """The panels of a dashboard, redrawn in the browser with every `show`.

    label: what the figures are about, for screen readers. pick(name, x, y): called with the mark that a reader clicks
    on, and the place there: numbers, or the names of categories.

    A frame travels as one float32 buffer, and only when the browser has drawn the one before (or has been silent for
    PATIENCE seconds); the frames in between are skipped, the newest one always arrives. Without a browser nothing is
    sent. `show` may be called from any thread; the browser's messages arrive in the kernel's.
    """

    _esm = Path(__file__).parent / "board.js"
    _css = Path(__file__).parent / "board.css"
    label = traitlets.Unicode().tag(sync=True)
    picks = traitlets.Bool(False).tag(sync=True)

    def __init__(self, label: str, pick: Callable[[str, Any, Any], None] | None = None) -> None:
        self._lock = threading.Lock()  # guards everything below
        self._newest: tuple[list[Panel], int] | None = None
        self._views: set[str] = set()  # drawing in browsers, as far as is known
        self._shown = self._sent = self._drawn = 0  # numbers of frames: given to show, sent, drawn
        self._sent_at = 0.0
        self._template: Template = []
        self._structure = 0  # number of the template
        self._timer: threading.Timer | None = None
        self._pick = pick
        super().__init__(label=label, picks=pick is not None)
        self.on_msg(self._receive)

    @property
    def attached(self) -> bool:
        """Whether a browser shows this board."""
        return bool(self._views)

    def show(self, panels: list[Panel], step: int = 0) -> None:
        """Draw the panels as soon as the browser is ready for them; their arrays must not change afterwards."""
        with self._lock:
            self._newest = (panels, step)
            self._shown += 1
            self._send_if_due()

    def close(self) -> None:
        """End the widget; what `show` is given from now on goes nowhere."""
        with self._lock:
            self._views.clear()
        super().close()

    def _receive(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        """A word from a view: attach (again), detach, frame drawn, plotly.js wanted, or a click."""
        kind, view = message.get("kind"), str(message.get("view"))
        if kind == "library":  # in a thread of its own: the first time it takes a while to pack
            threading.Thread(target=self._send_library, daemon=True).start()
            return
        if kind == "pick" and self._pick is not None:
            self._pick(str(message["name"]), message["x"], message["y"])
        with self._lock:
            if kind == "attach":
                self._views.add(view)
                self._template = []  # this view has none yet
                if self._newest:
                    self._send_frame()
            elif kind == "detach":
                self._views.discard(view)
                self._drawn = self._sent  # it may be the one that was waited for
                self._send_if_due()
            elif kind == "drawn":
                self._drawn = max(self._drawn, int(message.get("frame", 0)))
                self._send_if_due()

    def _send_library(self) -> None:
        self.send({"kind": "library"}, [plotly_js.gzipped()])

    def _send_if_due(self) -> None:
        """Send the newest frame if there is a new one and someone is ready for it. The lock is held."""
        ready = self._drawn == self._sent or time.monotonic() - self._sent_at >= PATIENCE
        if self._views and ready and self._shown > self._sent:
            self._send_frame()

    def _send_frame(self) -> None:
        """Send the newest frame, with the figure's structure if that is new. The lock is held."""
        assert self._newest is not None
        panels, step = self._newest
        template, sizes, numbers = pack(panels)
        message: dict[str, Any] = {"kind": "frame", "frame": self._shown, "step": step, "sizes": sizes}
        if template != self._template:
            self._template = template
            self._structure += 1
            message |= {"panels": template, "config": CONFIG}
        message["structure"] = self._structure
        self._sent, self._sent_at = self._shown, time.monotonic()
        self.send(message, [numbers.data])
        if self._timer is None:
            self._watch(PATIENCE)

    def _watch(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look_again)
        self._timer.daemon = True
        self._timer.start()

    def _look_again(self) -> None:
        """A message can get lost, or the view that was to answer can be gone: do not leave the newest frame unsent."""
        with self._lock:
            self._timer = None
            waited = time.monotonic() - self._sent_at
            if self._drawn != self._sent and self._views:
                if waited < PATIENCE:
                    self._watch(PATIENCE - waited)
                else:
                    self._send_if_due()


def pack(panels: list[Panel]) -> tuple[Template, list[list[int]], np.ndarray]:
    """The panels split into their structure and their numbers.

    Returns plotly's figures with {"array": k} in place of array k (a scalar is an array of shape ()), the shapes of
    the arrays, and all numbers one after the other as float32. An array used twice travels once.
    """
    arrays: list[np.ndarray] = []
    places: dict[int, int] = {}

    def split(node: Any) -> Any:
        if isinstance(node, np.ndarray | np.generic):
            if id(node) not in places:
                places[id(node)] = len(arrays)
                arrays.append(np.asarray(node))
            return {"array": places[id(node)]}
        if isinstance(node, dict):
            return {key: split(value) for key, value in node.items()}
        if isinstance(node, list):
            return [split(value) for value in node]
        return node

    figures = [panel_to_dict(panel) for panel in panels]  # kept alive: `places` knows the arrays by address
    template = [
        {"title": panel.title, "label": describe(panel), **split(figure)}
        for panel, figure in zip(panels, figures, strict=True)
    ]
    with np.errstate(over="ignore"):  # beyond float32 a value is infinite, and plotly leaves a gap
        flat = [array.astype(np.float32).ravel() for array in arrays]
    numbers = np.concatenate(flat) if flat else np.zeros(0, np.float32)
    return template, [list(array.shape) for array in arrays], numbers
