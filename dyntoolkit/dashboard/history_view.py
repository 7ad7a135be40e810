"""The figure of a dashboard's newest run: grows with it, looks back at any recorded step, keeps pinned runs behind."""

import threading
from collections.abc import Callable, Sequence

from dyntoolkit.dashboard.board import Board
from dyntoolkit.dashboard.pins import Pin, panels_with_pins
from dyntoolkit.dashboard.time_lapse import TimeLapse
from dyntoolkit.dashboard.work import Work
from dyntoolkit.engine.history import History


class HistoryView:
    """A board and the time-lapse that chooses which moment of a history it shows.

    history: the newest one, growing while a run goes on (None before the first frame); of: the work that it is of.
    pins: runs that are kept behind it, the newest one last; whoever looks back sees them all at the same step.
    Methods may be called from any thread. on_error: what went wrong when the reader looked back or pinned; the next
    look must work.
    """

    def __init__(self, board: Board, on_error: Callable[[Exception], None]) -> None:
        self.board = board
        self.lapse = TimeLapse(self._look)
        self.history: History | None = None
        self.of: Work | None = None
        self._on_error = on_error
        self._drawing = threading.Lock()  # guards what is shown
        self.pins: tuple[Pin, ...] = ()

    def extend(self, work: Work, history: History) -> None:
        """This is the history now, as far as it goes; a new `work` begins a new run."""
        if self.of is not work:
            self.lapse.restart()
        self.history, self.of = history, work
        self.lapse.extend(history.steps)
        if self.lapse.follows:
            self._show()

    def keep(self, pins: Sequence[Pin]) -> None:
        """Show these runs behind the present one, and behind those to come."""
        with self._drawing:
            self.pins = tuple(pins)
        self._look()

    def clear(self) -> None:
        """Forget the run shown: it is of another experiment than those to come."""
        with self._drawing:
            self.history, self.of = None, None

    def _show(self) -> None:
        """Show the moment that the time-lapse is at; every drawing does this, so the last one shows the last choice."""
        with self._drawing:
            history, work = self.history, self.of
            if history is None or work is None:
                return
            step = None if self.lapse.follows else self.lapse.step
            shown = history.until(history.step if step is None else step)
            self.board.show(panels_with_pins(work.experiment, shown, self.pins, step), shown.step)

    def _look(self) -> None:
        """The reader moved to another step of the run, or pinned it."""
        try:
            self._show()
        except Exception as problem:  # told to the reader, and the next step must work
            self._on_error(problem)
