"""What a link compares, trained again once the run that it asks for is there."""

from typing import TYPE_CHECKING

from dyntoolkit.dashboard.linked import Linked
from dyntoolkit.dashboard.pins import FULL, MOST
from dyntoolkit.dashboard.slider_map import quantities
from dyntoolkit.errors import unknown

if TYPE_CHECKING:
    from dyntoolkit.dashboard.dashboard import Dashboard


class Restoring:
    """Asks for pinned runs, a spread and a map, each once the dashboard has nothing else to train."""

    def __init__(self, dashboard: "Dashboard", linked: Linked) -> None:
        self._dashboard, self._experiment = dashboard, dashboard.experiment
        self._step, self._spread, self._map = linked.step, linked.spread, linked.map
        self._pins = list(linked.pins)
        self._count = len(linked.pins)

    def give_up(self) -> None:
        """Leave the rest: the reader wants no more of it."""
        self._step, self._spread, self._map = None, None, None
        self._pins.clear()

    def go_on(self) -> None:
        """Ask for what comes next."""
        dashboard = self._dashboard
        if dashboard.experiment is not self._experiment:  # on a reader's file, which has other settings
            self.give_up()
        if self._step is not None:
            step, self._step = self._step, None
            dashboard.lapse.look_at(step)
        if self._pins and len(dashboard.pins) == MOST:
            self._pins.clear()
            dashboard.refuse(FULL)
        if self._pins:
            run = self._pins.pop(0)
            number = self._count - len(self._pins)
            dashboard.beside.pin_run(run.config, run.seeds, f"pinned run {number} of {self._count}")
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
