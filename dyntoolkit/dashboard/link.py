"""The settings of a run, and what it is compared with, as a page's address; settings in words."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from dyntoolkit.dashboard.parameters import CHOICE, MAP, PIN, SPREAD
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config, carry_over, value_words

PACKED = str.maketrans("&=", ",:")  # a run within a parameter is written like a query, with these for its signs
UNPACKED = str.maketrans(",:", "&=")


def link(
    experiment: Experiment, config: Config, seeds: Sequence[int], compared: Mapping[str, Any] | None = None
) -> str:
    """The query of an address that replays a run: the experiment, and what differs from its default settings.

    compared: as `Dashboard.compared` gives it. Settings are told as the preset that is the nearest and what differs
    from it.

    >>> from dyntoolkit.catalog.registry import find
    >>> noise = find("label_noise.linear")
    >>> link(noise, noise.configure("fast", lr=0.1), [3, 4])
    'experiment=label_noise.linear&preset=fast&lr=0.1&seed=3&n_seeds=2'
    >>> link(noise, noise.configure(), [0], {"pins": [{"settings": {"lr": 0.1}, "seeds": [3]}]})
    'experiment=label_noise.linear&compare.pin=lr:0.1,seed:3'
    """
    compared = compared or {}
    pairs = [(CHOICE, experiment.name), *run_words(experiment, config, seeds).items()]
    for pin in compared.get("pins", ()):
        words = run_words(experiment, carry_over(pin["settings"], experiment.config()), pin["seeds"])
        pairs.append((PIN, urlencode(words).translate(PACKED)))
    if spread := compared.get("spread"):
        pairs.append((SPREAD, f"{spread['field']}:{','.join(map(str, spread['values']))}"))
    if over := compared.get("map"):
        pairs.append((MAP, f"{over['x']}:{over['y']}:{over['of']}"))
    return urlencode(pairs, safe=",:")


def run_words(experiment: Experiment, config: Config, seeds: Sequence[int]) -> dict[str, str]:
    """What tells a run from the experiment's default one, name -> value in words: preset, fields, seed, n_seeds."""
    preset, changes = nearest_preset(experiment, config)
    first = next(iter(experiment.presets))
    words = {} if preset == first else {"preset": preset}
    words |= {name: str(value) for name, value in changes.items()}
    if seeds[0] != 0:
        words["seed"] = str(seeds[0])
    if len(seeds) > 1:
        words["n_seeds"] = str(len(seeds))
    return words


def nearest_preset(experiment: Experiment, config: Config) -> tuple[str, dict[str, Any]]:
    """The preset of which these settings differ in the fewest fields, and the values of those fields."""
    if type(config) is not experiment.config:  # that of a reader's file: its own fields mean nothing without it
        config = carry_over(config.asdict(), experiment.config())
    changes = {name: _changes(config, experiment.configure(name)) for name in experiment.presets}
    nearest = min(changes, key=lambda name: len(changes[name]))
    return nearest, changes[nearest]


def settings_words(config: Config) -> str:
    """The main settings by name: "learning rate η 0.2, label noise ±τ 2"."""
    values = config.asdict()
    return ", ".join(
        f"{slider.label} {value_words(values[name])}" for name, slider in config.sliders().items() if slider.main
    )


def _changes(config: Config, preset: Config) -> dict[str, Any]:
    before = preset.asdict()
    return {name: value for name, value in config.asdict().items() if value != before[name]}
