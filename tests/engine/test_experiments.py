"""Every step of every experiment can be recorded and said in XLA, and no slider but a structural one recompiles it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain

import numpy as np
import pytest

from dyntoolkit.engine import loop, rules
from dyntoolkit.engine.batches import unbind
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.record import Recording, record
from dyntoolkit.errors import InputError
from dyntoolkit.phenomena import EXPERIMENTS
from dyntoolkit.phenomena.cross_task_linearity._memory import Memory

pytestmark = pytest.mark.slow


@contextmanager
def only_recorded(monkeypatch) -> Iterator[list[Recording]]:
    """A context in which `train` records one step in place of training; all its frames show the state it was given."""
    found: list[Recording] = []

    def train(state, step, batches, record_steps, measure, *, start=0, diverged=None, settled=None, **_):
        (batch,) = unbind(batches(record_steps[0], record_steps[0] + 1), 1)
        found.append(record(step, state, batch)[0])
        marks = np.full(len(state[0]), -1) if diverged is None else diverged
        goals = {} if settled is None else {"settled_at": marks}
        values = {**measure(record_steps[0], state), **goals}
        for k in record_steps:  # none is the last one, at which some experiments measure for seconds
            yield Frame(start + k, start + record_steps[-1] + 1, values, marks)
        return state, marks

    trains = loop.train
    with monkeypatch.context() as patch:
        for module in list(sys.modules.values()):
            if getattr(module, "train", None) is trains:
                patch.setattr(module, "train", train)
        patch.setattr(Memory, "frames", lambda _, key, train: train())
        yield found


def recorded(experiment, config, monkeypatch) -> list[Recording]:
    """A recording of each training of a simulation, phase after phase."""
    with only_recorded(monkeypatch) as found:
        for _ in experiment.simulate([config] * 2, [0, 1]):
            pass
    return found


def values_of(config, name, slider):
    """Both ends of a slider and its middle, or all choices."""
    if slider.options or slider.low == slider.high:
        return slider.options or (False, True)
    kind = type(getattr(config, name))
    return kind(slider.low), kind((slider.low + slider.high) / 2), kind(slider.high)


def variants(experiment, *, structural):
    """By slider, structural or not: the default settings with each of its values, where they go together."""
    config = experiment.configure()
    for name, slider in config.sliders().items():
        if slider.structural == structural:
            changed = []
            for value in values_of(config, name, slider):
                with suppress(InputError):
                    changed.append(config.replace(**{name: value}))
            if experiment.file and name == "data":
                changed = [each for each in changed if each.data != "file"]  # there is none
            yield changed


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_all_settings_train_with_operators_that_have_a_rule(experiment, monkeypatch):
    settings = [experiment.configure(name) for name in experiment.presets]
    for config in (*settings, *chain(*variants(experiment, structural=True))):
        recordings = recorded(experiment, config, monkeypatch)
        assert recordings
        used = {line.operator for recording in recordings for line in recording.lines}
        assert not used - rules.RULES.keys(), config


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_a_slider_that_is_not_structural_trains_with_the_programs_that_are_there(experiment, monkeypatch):
    for off, *on in variants(experiment, structural=False):  # at its lowest value, 0, something may be switched off
        keys = [[recording.key for recording in recorded(experiment, config, monkeypatch)] for config in on]
        assert all(keys)
        assert len({tuple(each) for each in keys}) <= 1, (off, on)
