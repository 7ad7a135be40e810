"""Looking back at a run: a slider over its recorded frames, and a button that plays them."""

import threading
from collections.abc import Callable, Sequence

import ipywidgets as widgets

SPEEDS = {"slow": 5.0, "medium": 15.0, "fast": 40.0}  # frames per second
END = 1000
CLAIMS_NOTE = "The figures look back; the claims refer to the end of the run."


class TimeLapse:
    """Chooses which recorded step the figures show.

    The slider's range is always the same, END places for however many frames: a browser that learns of another range
    sends the value back that it had before, as if somebody had moved the slider.

    look(step): called when the reader, or playing, moves to another recorded step; in the thread that moved. While the
    slider stands at its right end it follows a run that goes on; elsewhere it stays where it is.
    """

    def __init__(self, look: Callable[[int], None]) -> None:
        self._look = look
        self._lock = threading.RLock()  # guards the steps and the slider that counts them
        self._steps: list[int] = [0]
        self._at = 0  # which of them is shown
        self._quiet = False
        self._playing = threading.Event()
        self.slider = widgets.IntSlider(END, 0, END, description="Time-lapse", readout=False, disabled=True)
        self.slider.add_class("dyn-lapse-slider").observe(self._moved, "value")
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

    def start(self) -> None:
        """Play from here, or from the beginning if this is the end."""
        with self._lock:
            if len(self._steps) < 2 or self._playing.is_set():
                return
            self._playing.set()
            self.play.description = "Pause"
            if self._at == len(self._steps) - 1:
                self._go(0)
        self._look(self.step)
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
                self._go(min(self._at + 1, len(self._steps) - 1))
                if self._at == len(self._steps) - 1:
                    self.pause()
            self._look(self.step)

    def _go(self, at: int) -> None:
        """Show frame number `at` of the recorded ones on the widgets. The lock is held."""
        self._at, self._quiet = at, True
        self.slider.value = self._place(at)
        self._quiet = False
        self.moment.value = f"step {self._steps[at]:,}"
        self.note.value = CLAIMS_NOTE if at < len(self._steps) - 1 else ""

    def _place(self, at: int) -> int:
        """Where a frame stands on the slider; the last one at its end."""
        return round(END * at / (len(self._steps) - 1)) if len(self._steps) > 1 else END

    def _moved(self, change: dict[str, int]) -> None:
        """The reader moved the slider: with an arrow key to the next frame, else to the nearest one."""
        if self._quiet:
            return
        with self._lock:
            last, moved = len(self._steps) - 1, change["new"] - self._place(self._at)
            at = self._at + moved if abs(moved) == 1 else round(last * change["new"] / END)
            self._go(min(max(at, 0), last))
        self._look(self.step)
