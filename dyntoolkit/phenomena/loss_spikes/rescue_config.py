"""Settings of `loss_spikes.rescue`, and what its branches change at the alarm."""

from collections.abc import Mapping
from typing import NamedTuple

from dyntoolkit.experiment import Preset
from dyntoolkit.experiment.config import number
from dyntoolkit.phenomena.loss_spikes import mlp_config


class Config(mlp_config.Config):
    """Settings of one run of `loss_spikes.mlp`, and how long its branches are watched."""

    horizon: int = number(
        60, 20, 400, label="horizon", help="losses of each branch from the alarm on", unit="steps", structural=True
    )


class Rates(NamedTuple):
    """The settings of Adam that a branch may change, one number each."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    grad_clip: float


class Branch(NamedTuple):
    """Factors on, and new values of, settings of Adam from the alarm on. label: as the figure writes it."""

    label: str
    times: Mapping[str, float]
    new: Mapping[str, float]

    def rates(self, config: Config) -> Rates:
        """The settings of a run after this branch's change."""
        before = Rates(*(getattr(config, name) for name in Rates._fields))
        scaled = {name: getattr(before, name) * factor for name, factor in self.times.items()}
        return before._replace(**scaled, **self.new)


BRANCHES = {
    "none": Branch("none", {}, {}),
    "lr_2": Branch("η/2", {"lr": 1 / 2}, {}),
    "lr_4": Branch("η/4", {"lr": 1 / 4}, {}),
    "eps_0.01": Branch("ε .01", {}, {"eps": 0.01}),
    "eps_0.1": Branch("ε .1", {}, {"eps": 0.1}),
    "beta1_0.97": Branch("β₁ .97", {}, {"beta1": 0.97}),
    "clip_0.001": Branch("clip", {}, {"grad_clip": 1e-3}),
    "beta2_0.99": Branch("β₂ .99", {}, {"beta2": 0.99}),
    "beta2_0.9": Branch("β₂ .9", {}, {"beta2": 0.9}),
}

PRESETS = {
    "rescue": Preset("At the alarm, nine copies of the run go on with different settings."),
}
