"""What a link compares, trained again once the run that it asks for is there."""

from typing import TYPE_CHECKING

from dyntoolkit.dashboard.linked import Linked
from dyntoolkit.dashboard.pins import FULL, MOST
from dyntoolkit.dashboard.slider_map import quantities
from dyntoolkit.dashboard.work import Work
from dyntoolkit.errors import unknown

if TYPE_CHECKING:
    from dyntoolkit.dashboard.dashboard import Dashboard


class Restoring:
    """Pinned runs, a spread and a map, one after the other whenever the dashboard has nothing else to train.

    A reader who moves a slider goes first: a pinned run that this breaks off is trained after the reader's.
    """

    def __init__(self, dashboard: "Dashboard", linked: Linked) -> None:
        self._dashboard, self._experiment = dashboard, dashboard.experiment
        self._step, self._spread, self._map = linked.step, linked.spread, linked.map
        self._pins = list(linked.pins)
        self._count = len(linked.pins)
        self._work: Work | None = None  # that trains the first of the pins

    def give_up(self) -> None:
        """Leave the rest: the reader wants no more of it."""
        self._step, self._spread, self._map = None, None, None
        self._pins.clear()

    def fail(self, work: Work) -> None:
        """This work has failed; if it was a pinned run's, that one is not tried again."""
        if work is self._work and self._pins:
            self._pins.pop(0)

    def go_on(self, work: Work) -> None:
        """Begin what comes next, now that this work is done."""
        dashboard = self._dashboard
        if dashboard.experiment is not self._experiment:  # on a reader's file, which has other settings
            self.give_up()
        if work is self._work and self._pins:
            self._pins.pop(0)
        if self._step is not None:
            step, self._step = self._step, None
            dashboard.lapse.look_at(step)
        if self._pins and len(dashboard.pins) == MOST:
            self._pins.clear()
            dashboard.refuse(FULL)
        if self._pins:
            run = self._pins[0]
            name = f"pinned run {self._count - len(self._pins) + 1} of {self._count}"
            self._work = dashboard.pin_run(run.config, run.seeds, name)
        elif self._spread is not None:
            spread, self._spread = self._spread, None
            dashboard.spread(*spread)
        elif self._map is not None:
            over, self._map = self._map, None
            history = dashboard.history
            known = quantities(self._experiment, history) if history is not None and history.done else []
            if over[2] in known:
                dashboard.map_sliders(*over)
            else:
                dashboard.refuse(str(unknown("quantity of the link's map", over[2], known)))
