"""Settings as addresses and in words."""

from urllib.parse import parse_qsl

import pytest

from dyntoolkit.catalog.registry import experiments
from dyntoolkit.dashboard.dashboard import Dashboard
from dyntoolkit.dashboard.link import link, settings_words
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import choice, number


@pytest.mark.parametrize("experiment", experiments(), ids=lambda experiment: experiment.name)
def test_a_link_gives_the_settings_back(experiment: Experiment) -> None:
    for preset in experiment.presets:
        config = experiment.configure(preset)
        given = dict(parse_qsl(link(experiment, config, [5]), keep_blank_values=True))
        assert given.pop("seed") == "5"
        assert experiment.configure(given.pop("preset"), **given) == config


def test_every_field_that_differs_is_in_the_link() -> None:
    experiment = next(each for each in experiments() if each.name == "label_noise.linear")
    config = experiment.configure("fast", lr=0.123, noise_std=0.5)
    given = dict(parse_qsl(link(experiment, config, [0, 1])))
    assert given == {"preset": "fast", "lr": "0.123", "noise_std": "0.5", "seed": "0", "n_seeds": "2"}


def test_fields_and_values_that_only_the_experiment_of_a_file_has_do_not_travel(tiny: Experiment) -> None:
    class OfFile(tiny.config):  # type: ignore[name-defined]
        dim: int = number(3, 1, 99)
        lr: float = number(0.05, 0.001, 4, log=True)
        target: str = choice("price", ["price", "rooms"])

    config = OfFile(target="rooms", dim=50, lr=0.1, flip=True)
    assert link(tiny, config, [3]) == "preset=plain&lr=0.1&flip=True&seed=3"


def test_words_name_the_main_settings() -> None:
    experiment = next(each for each in experiments() if each.name == "label_noise.linear")
    assert "label noise ±τ 0.5" in settings_words(experiment.configure(noise_std=0.5))


def test_a_run_leaves_its_settings_with_the_status_line(tiny: Experiment) -> None:
    dashboard = Dashboard(tiny)
    dashboard.train()
    assert dashboard.monitor.status.link.endswith("seed=0")
    dashboard.seed.value = 7
    dashboard.train()
    assert dashboard.monitor.status.link.endswith("seed=7")
    dashboard.close()
