"""The picture of a live dashboard that a notebook's file keeps, to be seen without a kernel."""

import base64
import os
import textwrap
import threading
from collections.abc import Callable, Sequence
from uuid import uuid4

from IPython.display import publish_display_data

from dyntoolkit.dashboard.headless import is_voila
from dyntoolkit.dashboard.stored_picture import stored_picture
from dyntoolkit.engine.history import History
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.judging import Verdict
from dyntoolkit.experiment.words import MARKS, numbers_words, seeds_words, verdict_words
from dyntoolkit.figure.still import still_png

REST = 1.0  # seconds without a newer run until one is drawn


def run_png(experiment: Experiment, history: History, claims: Sequence[Verdict]) -> bytes:
    """The figure of a run, with the numbers of the expected claims above it."""
    numbers = [
        f"{verdict.id} {numbers_words(verdict.value, verdict.diverged)} {MARKS[verdict_words(verdict)]}"
        for verdict in claims
        if verdict.expected
    ]
    caption = textwrap.fill("   ".join(numbers), 120)
    return still_png(experiment.panels(history), f"{experiment.title}, {seeds_words(history.seeds)}\n{caption}")


def is_kept() -> bool:
    """Whether outputs go into a notebook's file: jupyter_server names it in the kernel's environment."""
    return os.environ.get("JPY_SESSION_NAME", "").endswith(".ipynb") and not is_voila()


class LivePicture:
    """A second output beside a dashboard, hidden by its style sheet for as long as the dashboard is there.

    title: what it is a picture of. png: what it shows; at first the picture that the notebook's file holds for the
    present cell, if any. Outside of a notebook's file nothing is shown.
    """

    def __init__(self, title: str) -> None:
        self.png = stored_picture()
        self._title = title
        self._display = {"display_id": uuid4().hex}
        self._lock = threading.Lock()  # guards the two below
        self._timer: threading.Timer | None = None
        self._shown = False

    def show(self) -> None:
        """Put it into the present cell's outputs."""
        if is_kept():
            with self._lock:
                self._shown = True
                self._publish()

    def draw_soon(self, draw: Callable[[], bytes]) -> None:
        """Show what `draw()` returns; it is called in a thread after a rest, if this is still the newest."""
        with self._lock:
            self._forget()
            if self._shown:
                timer = self._timer = threading.Timer(REST, lambda: self._draw(timer, draw))
                timer.daemon = True
                timer.start()

    def keep(self) -> None:
        """Leave it as it is, whatever is to be drawn."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _draw(self, timer: threading.Timer, draw: Callable[[], bytes]) -> None:
        png = draw()
        with self._lock:
            if self._timer is timer:
                self.png = png
                self._publish(update=True)

    def _publish(self, *, update: bool = False) -> None:
        """Show or update it. `needs_background` (it has a white one) is what the style sheet knows it by."""
        data, metadata = {"text/plain": self._title}, {}
        if self.png:
            data["image/png"] = base64.b64encode(self.png).decode()
            metadata["needs_background"] = "light"
        else:
            data["text/html"] = ""  # no line that would be in the way
        publish_display_data(  # type: ignore[no-untyped-call]
            data, metadata, transient=self._display, update=update
        )
