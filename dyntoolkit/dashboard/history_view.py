"""The figure of a dashboard's newest run: grows with it, looks back at any recorded step, keeps a pinned run behind."""

import threading
from collections.abc import Callable

from dyntoolkit.dashboard.board import Board
from dyntoolkit.dashboard.pin import behind
from dyntoolkit.dashboard.time_lapse import TimeLapse
from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import Panel


class HistoryView:
    """A board and the time-lapse that chooses which moment of a history it shows.

    history: the newest one, growing while a run goes on (None before the first frame). Methods may be called from any
    thread. on_error: what went wrong when the reader looked back; the next look must work.
    """

    def __init__(
        self, board: Board, panels: Callable[[History], list[Panel]], on_error: Callable[[Exception], None]
    ) -> None:
        self.board = board
        self.lapse = TimeLapse(self._look_back)
        self.history: History | None = None
        self.of: object = None  # the work that the history is of
        self._make_panels, self._on_error = panels, on_error
        self._drawing = threading.Lock()  # guards the two below
        self._panels: list[Panel] = []  # of the newest history
        self._pinned: list[Panel] = []  # of a run to compare with

    def extend(self, work: object, history: History) -> None:
        """This is the history now, as far as it goes; a new `work` begins a new run."""
        if self.of is not work:
            self.lapse.restart()
        self.history, self.of = history, work
        self.lapse.extend(history.steps)
        if self.lapse.follows:
            self._show()

    def toggle_pin(self) -> bool:
        """Keep the present curves behind those of the next runs, or let go of those that are kept; whether some are."""
        with self._drawing:
            self._pinned = [] if self._pinned else self._panels
            if self.history is not None:
                self.board.show(behind(self._panels, self._pinned), self.lapse.step)
            return bool(self._pinned)

    def _show(self) -> None:
        """Show the moment that the time-lapse is at; every drawing does this, so the last one shows the last choice."""
        with self._drawing:
            history = self.history
            if history is not None:
                past = history.until(history.step if self.lapse.follows else self.lapse.step)
                self._panels = self._make_panels(past)
                self.board.show(behind(self._panels, self._pinned), past.step)

    def _look_back(self) -> None:
        """The reader moved to another step of the run."""
        try:
            self._show()
        except Exception as problem:  # told to the reader, and the next step must work
            self._on_error(problem)
