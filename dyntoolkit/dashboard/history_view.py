"""The figure of a dashboard's newest run: grows with it, looks back at any recorded step, keeps a pinned run behind."""

import threading
from collections.abc import Callable

from dyntoolkit.dashboard.board import Board
from dyntoolkit.dashboard.pin import behind
from dyntoolkit.dashboard.time_lapse import TimeLapse
from dyntoolkit.dashboard.work import Work
from dyntoolkit.engine.history import History
from dyntoolkit.figure.panels import Panel


class HistoryView:
    """A board and the time-lapse that chooses which moment of a history it shows.

    history: the newest one, growing while a run goes on (None before the first frame); of: the work that it is of.
    Methods may be called from any thread. on_error: what went wrong when the reader looked back or pinned; the next
    look must work.
    """

    def __init__(self, board: Board, on_error: Callable[[Exception], None]) -> None:
        self.board = board
        self.lapse = TimeLapse(self._look)
        self.history: History | None = None
        self.of: Work | None = None
        self._on_error = on_error
        self._drawing = threading.Lock()  # guards all below
        self._shown: History | None = None  # the newest history, up to the moment shown
        self._panels: list[Panel] = []  # of that
        self._pinned: History | None = None  # of a run to compare with
        self._kept: list[Panel] = []  # of that

    def extend(self, work: Work, history: History) -> None:
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
            pins = self._pinned is None
            self._pinned, self._kept = (self._shown, self._panels) if pins else (None, [])
        self._look()
        return self._pinned is not None

    def clear(self) -> None:
        """Forget the runs shown and pinned: they are of another experiment than those to come."""
        with self._drawing:
            self.history, self.of, self._shown, self._pinned = None, None, None, None
            self._panels, self._kept = [], []

    def _show(self) -> None:
        """Show the moment that the time-lapse is at; every drawing does this, so the last one shows the last choice."""
        with self._drawing:
            history, work = self.history, self.of
            if history is None or work is None:
                return
            experiment = work.experiment
            self._shown = history.until(history.step if self.lapse.follows else self.lapse.step)
            self._panels = experiment.panels(self._shown)
            panels = behind(self._panels, self._kept)
            if self._pinned is not None and experiment.compare is not None:
                panels += experiment.compare(self._shown, self._pinned)
            self.board.show(panels, self._shown.step)

    def _look(self) -> None:
        """The reader moved to another step of the run, or pinned it."""
        try:
            self._show()
        except Exception as problem:  # told to the reader, and the next step must work
            self._on_error(problem)
