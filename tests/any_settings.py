"""Any settings of an experiment run to the end: a strategy for them, and the check."""

from typing import Any

from hypothesis import strategies as st

from dyntoolkit.config import Config, Control
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment


def field(name: str, control: Control, default: Any, most: dict[str, int]) -> st.SearchStrategy[Any]:
    """Values of a field: its ends, and anything between; of whole numbers at most `most[name]`, to be quick."""
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, str):
        return st.sampled_from(control.options)
    if isinstance(default, int):
        low, high = int(control.low), min(int(control.high), most.get(name, int(control.high)))
        return st.sampled_from((low, high)) | st.integers(low, high)
    return st.sampled_from((control.low, control.high)) | st.floats(control.low, control.high)


def any_settings(config: type[Config], **most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Any values of all fields; whole numbers up to `most`."""
    return st.fixed_dictionaries(
        {name: field(name, control, getattr(config(), name), most) for name, control in config.controls().items()}
    )


def runs_to_the_end(experiment: Experiment, fields: dict[str, Any], every: int = 13) -> None:
    """Refused, or trained to the end, with figure and metrics all the way."""
    try:
        config = experiment.config(**fields)
    except InputError:
        return
    history, frames = experiment.start([config] * 2, [0, 1])
    shape = [(panel.title, [type(mark) for mark in panel.marks]) for panel in experiment.panels(history)]
    for k, frame in enumerate(frames):
        history.append(frame)
        if frame.values and k % every == 0:
            assert [(p.title, [type(mark) for mark in p.marks]) for p in experiment.panels(history)] == shape
            experiment.metrics(history)
    assert history.done
    assert all(value.shape == (2,) for value in experiment.metrics(history).values())
    for claim in experiment.claims:
        claim.expected(config)
    config.warnings()
