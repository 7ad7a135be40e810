"""Looking back at a run: a slider over its recorded frames, and a button that plays them."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

SPEEDS = {"slow": 5.0, "medium": 15.0, "fast": 40.0}  # frames per second
PLAYED = 300  # frames of a longer run are played in larger strides, so that it takes no minutes
CLAIMS_NOTE = "The figures look back; the claims refer to the end of the run."


class FrameSlider(anywidget.AnyWidget):
    """A slider over the frames number 0 to `max`. text: what its place stands for, for screen readers."""

    _esm = Path(__file__).parent / "time_lapse.js"
    label = traitlets.Unicode().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    value = traitlets.Int(0).tag(sync=True)
    max = traitlets.Int(1).tag(sync=True)
    disabled = traitlets.Bool(True).tag(sync=True)


class TimeLapse:
    """Chooses which recorded step the figures show.

    look(): called when the reader, or playing, has moved to another recorded step, and shows that `step`. It is called
    in a thread of its own, as drawing takes a while; of several moves meanwhile only the last one is shown. While the
    slider stands at its right end it follows a run that goes on; elsewhere it stays where it is.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = _Newest(look)
        self._lock = threading.RLock()  # guards the steps and the place among them
        self._steps: list[int] = [0]
        self._at = 0  # which of them is shown
        self._setter = 0  # the thread that sets the slider, which is then not a move of the reader
        self._playing = threading.Event()
        self.slider = FrameSlider(label="Time-lapse").add_class("dyn-lapse-slider")
        self.slider.observe(self._moved, "value")
        self.moment = widgets.Label("").add_class("dyn-moment")
        self.play = widgets.Button(description="Play", disabled=True).add_class("dyn-play")
        self.play.on_click(lambda _button: self.pause() if self._playing.is_set() else self.start())
        self.speed = widgets.Dropdown(options=SPEEDS, value=SPEEDS["medium"], description="Speed", disabled=True)
        self.speed.add_class("dyn-speed")
        self.note = widgets.Label("").add_class("dyn-lapse-note")
        row = widgets.HBox([self.slider, self.moment, self.play, self.speed]).add_class("dyn-lapse-row")
        self.box = widgets.VBox([row, self.note]).add_class("dyn-lapse")

    @property
    def step(self) -> int:
        """The step that is shown."""
        with self._lock:
            return self._steps[self._at]

    @property
    def follows(self) -> bool:
        """Whether the newest frame is to be shown."""
        with self._lock:
            return self._at == len(self._steps) - 1 and not self._playing.is_set()

    def restart(self) -> None:
        """Another run begins: forget the old one's frames, and follow."""
        self.pause()
        self.extend([0], follow=True)

    def extend(self, steps: Sequence[int], *, follow: bool = False) -> None:
        """These are the recorded steps now, increasing."""
        with self._lock:
            stays = not (follow or self.follows)
            step = self.step
            self._steps = list(steps)
            self._go(max((k for k, s in enumerate(steps) if s <= step), default=0) if stays else len(steps) - 1)
            for widget in (self.slider, self.play, self.speed):
                widget.disabled = len(steps) < 2

    def look_at(self, step: int) -> None:
        """Go to the last recorded step that is not after this one."""
        with self._lock:
            self._go(max((k for k, s in enumerate(self._steps) if s <= step), default=0))
        self._look.ask()

    def start(self) -> None:
        """Play from here, or from the beginning if this is the end."""
        with self._lock:
            if len(self._steps) < 2 or self._playing.is_set():
                return
            self._playing.set()
            self.play.description = "Pause"
            if self._at == len(self._steps) - 1:
                self._go(0)
        self._look.ask()
        threading.Thread(target=self._run, args=(self._playing,), name="dyntoolkit time-lapse", daemon=True).start()

    def pause(self) -> None:
        """Stop playing, here."""
        with self._lock:
            self._playing.clear()
            self._playing = threading.Event()  # an older thread keeps the old one, which stays clear
            self.play.description = "Play"

    def _run(self, playing: threading.Event) -> None:
        pause = threading.Event()  # never set: only to sleep
        while not pause.wait(1 / self.speed.value):
            with self._lock:
                if not playing.is_set():
                    return
                stride = 1 + len(self._steps) // PLAYED
                self._go(min(self._at + stride, len(self._steps) - 1))
                if self._at == len(self._steps) - 1:
                    self.pause()
            self._look.ask()

    def _go(self, at: int) -> None:
        """Show frame number `at` of the recorded ones on the widgets. The lock is held."""
        self._at, self._setter = at, threading.get_ident()
        text = f"step {self._steps[at]:,}"
        with self.slider.hold_sync():  # the new end and the place must reach the browser together
            self.slider.max = max(len(self._steps) - 1, 1)
            self.slider.value, self.slider.text = at, text
        self._setter = 0
        self.moment.value = text
        self.note.value = CLAIMS_NOTE if at < len(self._steps) - 1 else ""

    def _moved(self, change: dict[str, Any]) -> None:
        """The reader moved the slider."""
        if self._setter == threading.get_ident():
            return
        with self._lock:
            self._go(min(max(change["new"], 0), len(self._steps) - 1))
        self._look.ask()


class _Newest:
    """Calls `act` in a thread of its own once for the newest of all requests that came while it was busy."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._lock = threading.Lock()  # guards the two below
        self._asked = False
        self._busy = False

    def ask(self) -> None:
        """Call it soon; returns at once."""
        with self._lock:
            self._asked, starts = True, not self._busy
            self._busy = True
        if starts:
            threading.Thread(target=self._work, name="dyntoolkit look back", daemon=True).start()

    def _work(self) -> None:
        while self._is_asked():
            self._act()

    def _is_asked(self) -> bool:
        with self._lock:
            self._busy, self._asked = self._asked, False
            return self._busy
