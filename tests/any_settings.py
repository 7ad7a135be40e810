"""Any settings of an experiment run to the end: a strategy for them, and the check."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from dyntoolkit.engine.history import History
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config, Control
from dyntoolkit.figure.panels import Heat


def field(control: Control, default: Any, most: float) -> st.SearchStrategy[Any]:
    """Values of a field: its ends, and anything between; of numbers at most `most`, to be quick."""
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, str):
        return st.sampled_from(control.options)
    low, high = control.low, min(control.high, most)
    if isinstance(default, int):
        return st.sampled_from((int(low), int(high))) | st.integers(int(low), int(high))
    return st.sampled_from((low, high)) | st.floats(low, high)


def any_settings(config: type[Config], **most: float) -> st.SearchStrategy[dict[str, Any]]:
    """Any values of all fields; numbers up to `most`."""
    controls = config.sliders()
    assert most.keys() <= controls.keys()
    return st.fixed_dictionaries(
        {name: field(controls[name], getattr(config(), name), most.get(name, np.inf)) for name in controls}
    )


def shape(experiment: Experiment, history: History) -> list[Any]:
    """What a figure keeps while its run goes on: titles, and kinds and names of marks (up to a colon) in their order.

    Each of its maps has a number for every column and row, and no column or row twice.
    """
    panels = experiment.panels(history)
    for heat in (mark for panel in panels for mark in panel.marks if isinstance(mark, Heat)):
        assert heat.z.shape == (len(heat.y), len(heat.x)) == (len(set(heat.y)), len(set(heat.x))), heat.name
    return [(panel.title, [(type(mark), mark.name.split(":")[0]) for mark in panel.marks]) for panel in panels]


def runs_to_the_end(
    experiment: Experiment, fields: dict[str, Any], every: int = 13, runs: int = 2, finite: bool = False
) -> bool:
    """Trained to the end, with figure and metrics all the way; False where the settings are refused.

    every: how many measured frames from one look at figure and metrics to the next. finite: whatever is measured is.
    """
    try:
        config = experiment.config(**fields)
    except InputError:
        assert experiment.config.check is not Config.check  # only a rule between fields may refuse them
        return False
    history, frames = experiment.start([config] * runs, range(runs))
    start, measured = shape(experiment, history), 0
    for frame in frames:
        history.append(frame)
        assert not finite or all(np.isfinite(value).all() for value in frame.values.values()), frame.step
        if frame.values and measured % every == 0:
            assert shape(experiment, history) == start
            experiment.metrics(history)
        measured += bool(frame.values)
    assert history.done
    assert shape(experiment, history) == start
    assert all(value.shape == (runs,) for value in experiment.metrics(history).values())
    for claim in experiment.claims:
        claim.expected(config)
    config.warnings()
    return True
