"""What is trained beside the run of the settings shown: pinned runs, a spread slider, maps."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dyntoolkit.dashboard.pins import FULL, MOST, Pin
from dyntoolkit.dashboard.slider_map import GRIDS, slider_map
from dyntoolkit.dashboard.spread import Spread, chosen_values
from dyntoolkit.dashboard.trained_map import TrainedMap
from dyntoolkit.dashboard.work import Work
from dyntoolkit.engine.history import History
from dyntoolkit.errors import InputError
from dyntoolkit.experiment.config import Config
from dyntoolkit.experiment.judging import judge_history
from dyntoolkit.experiment.plan import control_runs
from dyntoolkit.experiment.training import Start

if TYPE_CHECKING:
    from dyntoolkit.dashboard.dashboard import Dashboard


@dataclass(frozen=True)
class Asked:
    """Runs that a reader has asked for.

    what: the status calls them so. left(): the stages that are not trained to their end. draw(history): shows one of
    them, as far as it is trained. end(histories): called once all are.
    """

    what: str
    left: Callable[[], Sequence[Start]]
    draw: Callable[[History], None]
    end: Callable[[list[History]], None] = lambda _: None


class Beside:
    """Trains what a reader has asked for, the newest first, whenever the run of the settings shown is finished.

    A reader who moves a slider goes first; what that breaks off goes on after the run. Who stops wants no more of it.
    told: the spread and the map asked for last, if any, as plain data.
    """

    def __init__(self, dashboard: "Dashboard") -> None:
        self.told: dict[str, Any] = {}
        self._dashboard = dashboard
        self._asked: dict[Hashable, Asked] = {}  # not finished; the newest one last
        self._now: tuple[Work, Hashable] | None = None  # which of them was begun last, and by what work

    @property
    def waiting(self) -> list[str]:
        """What is asked for and not finished, in the order in which it is trained."""
        return [asked.what for asked in reversed(self._asked.values())]

    def spread(self, field: str, values: str) -> None:
        """Train several values of a slider; InputError for wrong ones."""
        dashboard = self._dashboard
        chosen = chosen_values(dashboard.config, field, values)
        spread = Spread(dashboard.experiment, dashboard.config, dashboard.seeds, field, chosen)
        self._tell("spread", {"field": field, "values": spread.values})
        self._begin("spread", Asked(f"the spread of {field}", spread.left, partial(self._draw_spread, spread)))

    def map_sliders(self, x: str, y: str, of: str) -> None:
        """Train a map over two sliders, finer where it changes; InputError for what is no slider or the same one."""
        dashboard = self._dashboard
        over = slider_map(dashboard.experiment, dashboard.config, x, y, of)
        grid = TrainedMap(replace(dashboard.experiment, map=over), dashboard.config, dashboard.seeds[0], GRIDS)
        self._tell("map", {"x": x, "y": y, "of": of})
        show = partial(_fill, grid, dashboard.compare.show_map)
        self._begin("map of sliders", Asked(f"the map of {of}", grid.left, show))

    def train_map(self) -> None:
        """Train the experiment's own map."""
        dashboard = self._dashboard
        grid = TrainedMap(dashboard.experiment, dashboard.config, dashboard.seeds[0])
        self._begin("map", Asked("the map", grid.left, partial(_fill, grid, dashboard.show_map)))

    def pin_control(self) -> None:
        """Train the first negative control that is not pinned yet, and pin it; InputError where there is none."""
        dashboard = self._dashboard
        if len(dashboard.pins) == MOST:
            raise InputError(FULL, "pin")
        pinned = [pin.history.config for pin in dashboard.pins]
        controls = control_runs(dashboard.experiment, dashboard.config)
        label, config = next((found for found in controls if found[1] not in pinned), ("", None))
        if config is None:
            none = "No claim that is expected in these settings has a negative control."
            raise InputError("All negative controls are pinned." if controls else none, "pin")
        self.pin_run(config, dashboard.seeds, f"the control “{label}”")

    def pin_run(self, config: Config, seeds: Sequence[int], what: str) -> None:
        """Train these settings and pin them. what: the status calls the run so."""
        dashboard, experiment = self._dashboard, self._dashboard.experiment
        labels = {control: label for label, control in control_runs(experiment, dashboard.config)}
        label = labels.get(config, "")

        def end(histories: list[History]) -> None:
            dashboard.keep(Pin(experiment, histories[0], judge_history(experiment, histories[0]), label))

        stages = [partial(experiment.start, [config] * len(seeds), seeds)]
        self._begin(("pin", config, tuple(seeds)), Asked(what, lambda: stages, lambda _: None, end))

    def go_on(self) -> bool:
        """Train the newest of what is left; whether there was any."""
        if not self._asked:
            return False
        key, asked = next(reversed(self._asked.items()))
        work = self._dashboard.train_others(asked.what, asked.left(), asked.draw, partial(self._end, key, asked))
        self._now = work, key
        return True

    def fail(self, work: Work) -> None:
        """This work has failed; if it was of something asked for, that is not tried again."""
        if self._now is not None and self._now[0] is work:
            self._asked.pop(self._now[1], None)

    def give_up(self) -> None:
        """Leave the rest."""
        self._asked.clear()

    def _begin(self, key: Hashable, asked: Asked) -> None:
        """Train this next, in place of what was asked for under the same key."""
        self._asked.pop(key, None)
        self._asked[key] = asked
        if self._dashboard.finished:
            self.go_on()
        else:
            self._dashboard.train()  # then it goes on with this

    def _end(self, key: Hashable, asked: Asked, histories: list[History]) -> None:
        if self._asked.get(key) is asked:
            del self._asked[key]
        asked.end(histories)

    def _tell(self, name: str, what: dict[str, Any]) -> None:
        """What is asked for now is in the link from now on, and has its place below the figure."""
        self.told[name] = what
        self._dashboard.show_shared()
        self._dashboard.compare.make()

    def _draw_spread(self, spread: Spread, history: History) -> None:
        spread.take(history)
        self._dashboard.compare.show_spread(spread, last=history.done)


def _fill(grid: TrainedMap, show: Callable[[TrainedMap], None], history: History) -> None:
    grid.fill(history)
    show(grid)
