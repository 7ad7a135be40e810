"""The settings of a run as a page's address and in words."""

from collections.abc import Sequence
from urllib.parse import urlencode

from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config, carry_over
from dyntoolkit.experiment.words import number_words


def link(experiment: Experiment, config: Config, seeds: Sequence[int]) -> str:
    """The query of an address that replays a run: the preset that it is nearest to, what differs, and the seeds.

    >>> from dyntoolkit.catalog.registry import find
    >>> noise = find("label_noise.linear")
    >>> link(noise, noise.configure("fast", lr=0.1), [3, 4])
    'preset=fast&lr=0.1&seed=3&n_seeds=2'
    """
    if type(config) is not experiment.config:  # that of a reader's file: its own fields mean nothing without it
        config = carry_over(config.asdict(), experiment.config())
    presets = {name: experiment.configure(name) for name in experiment.presets}
    changes = {name: _changes(config, preset) for name, preset in presets.items()}
    nearest = min(changes, key=lambda name: len(changes[name]))
    seed = {"seed": str(seeds[0])} | ({"n_seeds": str(len(seeds))} if len(seeds) > 1 else {})
    return urlencode({"preset": nearest, **changes[nearest], **seed})


def settings_words(config: Config) -> str:
    """The main settings by name: "learning rate η 0.2, label noise ±τ 2"."""
    values = config.asdict()
    return ", ".join(
        f"{slider.label} {_word(values[name])}" for name, slider in config.sliders().items() if slider.main
    )


def _changes(config: Config, preset: Config) -> dict[str, str]:
    before = preset.asdict()
    return {name: str(value) for name, value in config.asdict().items() if value != before[name]}


def _word(value: object) -> str:
    return number_words(value) if isinstance(value, float) else str(value)
