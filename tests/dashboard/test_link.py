"""Settings as addresses and in words."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyntoolkit.catalog.check import any_settings
from dyntoolkit.catalog.registry import experiments, find
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.link import link, settings_words
from dyntoolkit.dashboard.linked import Run, linked
from dyntoolkit.dashboard.parameters import MAX_SEEDS
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config, choice, number


@pytest.mark.parametrize("experiment", experiments(), ids=lambda experiment: experiment.name)
def test_a_link_gives_any_settings_back(experiment: Experiment) -> None:
    changes = any_settings(experiment.config, {})
    presets = st.sampled_from(list(experiment.presets))
    seeds = st.tuples(st.integers(0, 2**32 - MAX_SEEDS), st.integers(1, MAX_SEEDS))
    names = st.sets(st.sampled_from(list(experiment.config.sliders())), max_size=4)

    def run_of(preset: str, values: dict[str, Any], some: set[str], first: int, count: int) -> Run:
        chosen = tuple(range(first, first + count))
        try:
            return Run(experiment.configure(preset, **{name: values[name] for name in some}), chosen)
        except InputError:  # a rule between fields
            return Run(experiment.configure(preset), chosen)

    runs = st.builds(
        lambda preset, values, some, ends: run_of(preset, values, some, *ends), presets, changes, names, seeds
    )

    @settings(max_examples=10)
    @given(runs, runs)
    def there_and_back(own: Run, pin: Run) -> None:
        compared = {"pins": [{"settings": pin.config.asdict(), "seeds": list(pin.seeds)}]}
        pairs = parse_qsl(link(experiment, own.config, own.seeds, compared), keep_blank_values=True)
        asked = linked(experiment, pairs)
        assert (asked.run, asked.pins, asked.problems) == (own, (pin,), ())
        assert len(pairs) <= 5 + len(fields_that_differ(experiment, own.config))

    there_and_back()


def fields_that_differ(experiment: Experiment, config: Config) -> list[str]:
    first = experiment.configure().asdict()
    return [name for name, value in config.asdict().items() if value != first[name]]


def test_only_what_differs_is_in_the_link() -> None:
    experiment = find("label_noise.linear")
    assert link(experiment, experiment.configure(), [0]) == "experiment=label_noise.linear"
    given = dict(parse_qsl(link(experiment, experiment.configure("fast", lr=0.123, noise_std=0.5), [0, 1])))
    assert given == {
        "experiment": "label_noise.linear",
        "preset": "fast",
        "lr": "0.123",
        "noise_std": "0.5",
        "n_seeds": "2",
    }


def test_what_is_compared_is_in_the_link(tiny: Experiment) -> None:
    compared = {
        "pins": [{"settings": {"lr": 0.1, "dim": 4}, "seeds": [3, 4]}, {"settings": {}, "seeds": [0]}],
        "spread": {"field": "lr", "values": [0.1, 0.2]},
        "map": {"x": "lr", "y": "noise_std", "of": "claim stays"},
    }
    query = link(tiny, tiny.configure(), [0], compared)
    assert query == (
        "experiment=tiny.one&compare.pin=lr:0.1,dim:4,seed:3,n_seeds:2&compare.pin=&compare.spread=lr:0.1,0.2"
        "&compare.map=lr:noise_std:claim+stays"
    )


def test_signs_within_a_word_do_not_end_it(tiny: Experiment) -> None:
    class Odd(tiny.config):  # type: ignore[name-defined]
        kind: str = choice("sgd", ["sgd", "a,b:c&d=e+f% g"])

    odd = replace(tiny, config=Odd)
    pin = Run(odd.configure(kind="a,b:c&d=e+f% g"), (5,))
    plain = {"pins": [{"settings": pin.config.asdict(), "seeds": [5]}]}
    query = link(odd, pin.config, pin.seeds, plain)
    asked = linked(odd, parse_qsl(query, keep_blank_values=True))
    assert (asked.run, asked.pins, asked.problems) == (pin, (pin,), ())


def test_fields_and_values_that_only_the_experiment_of_a_file_has_do_not_travel(tiny: Experiment) -> None:
    class OfFile(tiny.config):  # type: ignore[name-defined]
        dim: int = number(3, 1, 99)
        lr: float = number(0.05, 0.001, 4, log=True)
        target: str = choice("price", ["price", "rooms"])

    config = OfFile(target="rooms", dim=50, lr=0.1, flip=True)
    assert link(tiny, config, [3]) == "experiment=tiny.one&lr=0.1&flip=True&seed=3"


def test_words_name_the_main_settings() -> None:
    experiment = find("label_noise.linear")
    assert "label noise ±τ 0.5" in settings_words(experiment.configure(noise_std=0.5))


def test_a_run_leaves_its_settings_with_the_status_line(tiny: Experiment) -> None:
    dashboard = Dashboard(tiny)
    dashboard.train()
    assert dashboard.monitor.status.link == "experiment=tiny.one"
    dashboard.seed.value = 7
    dashboard.train()
    assert dashboard.monitor.status.link.endswith("seed=7")
    dashboard.close()
