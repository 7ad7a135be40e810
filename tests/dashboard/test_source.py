"""The code that really runs."""

import inspect

import pytest

from dyntoolkit.dashboard.source import source
from dyntoolkit.engine.loop import evenly
from dyntoolkit.errors import InputError


def test_functions_and_classes_one_below_the_other(tiny):
    text = source(evenly, type(tiny)).data
    assert text.startswith("```python\ndef evenly(")
    assert text.endswith("\n```")
    assert f"{inspect.getsource(evenly).rstrip()}\n\n@dataclass" in text


def test_an_experiment_stands_for_its_settings_and_its_simulation(tiny):
    assert source(tiny).data == source(tiny.config, tiny.simulate).data
    assert "class TinyConfig(Config):" in source(tiny).data
    assert "def simulate(" in source(tiny).data


def test_a_name_stands_for_its_experiment():
    assert "def simulate(" in source("label_noise").data
    with pytest.raises(InputError, match="unknown experiment 'label_nose'"):
        source("label_nose")


@pytest.mark.parametrize(("thing", "name"), [(len, "len"), (3, "3"), ([], r"\[\]")])
def test_what_has_no_source_is_refused_in_one_sentence(thing, name):
    with pytest.raises(InputError, match=f"source of {name} cannot be shown: "):
        source(thing)
