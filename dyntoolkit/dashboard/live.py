"""The dashboards that are alive: running a cell again, or giving the name to something else, ends the old one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from IPython import get_ipython

from dyntoolkit.dashboard import headless
from dyntoolkit.dashboard.dashboard import Dashboard


@dataclass
class _Entry:
    dashboard: Dashboard
    place: str  # the cell; for a front end that does not tell it, the experiment
    execution: str  # of that cell
    named: bool = False  # whether a variable of the person has pointed to it


_live: list[_Entry] = []


def enter(dashboard: Dashboard) -> bool:
    """Register a dashboard; end those of an earlier execution of its cell. Whether it is the only one now."""
    entry = _Entry(dashboard, headless.cell() or dashboard.original.name, headless.execution())
    for old in list(_live):
        if old.place == entry.place and (old.execution != entry.execution or not entry.execution):
            _live.remove(old)
            old.dashboard.close()
    _live.append(entry)
    shell = get_ipython()
    if shell is not None and _after_cell not in shell.events.callbacks["post_run_cell"]:
        shell.events.register("post_run_cell", _after_cell)
    return len(_live) == 1


def earlier(name: str) -> Dashboard | None:
    """The dashboard of this experiment that an earlier execution of the present cell has made, if it is alive."""
    place, execution = headless.cell() or name, headless.execution()
    same = [entry for entry in _live if entry.place == place and entry.dashboard.original.name == name]
    return next((entry.dashboard for entry in same if entry.execution != execution or not execution), None)


def newest(name: str) -> Dashboard | None:
    """The newest live dashboard of this experiment, if there is one."""
    same = [entry.dashboard for entry in _live if entry.dashboard.original.name == name]
    return same[-1] if same else None


def present(dashboard: Dashboard) -> Dashboard:
    """The dashboard itself or, once it is closed, the newest live one of the same experiment, if there is one."""
    return (newest(dashboard.original.name) or dashboard) if dashboard.runner.closed else dashboard


def _after_cell(_result: object) -> None:
    shell = get_ipython()
    retire_unnamed({} if shell is None else shell.user_ns)


def retire_unnamed(namespace: Mapping[str, Any]) -> None:
    """End every dashboard that had a name in this namespace and has none any more; its figure stays in sight."""
    values = {id(value) for name, value in namespace.items() if not name.startswith("_")}
    for entry in list(_live):
        if id(entry.dashboard) in values:
            entry.named = True
        elif entry.named:
            _live.remove(entry)
            entry.dashboard.retire()
