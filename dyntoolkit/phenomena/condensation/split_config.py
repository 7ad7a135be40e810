"""Settings of `condensation.split` and its presets."""

from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number


class Config(config.Config):
    """Settings of one narrow network, brought to a critical point, split and kicked (arXiv 2105.14573, 2111.15527)."""

    width: int = number(1, 1, 2, label="narrow width k", help="neurons before splitting", structural=True, main=True)
    split_neuron: int = number(0, 0, 1, label="neuron j", help="the one to split, below the width", structural=True)
    split_ratio: float = number(
        0.5, -1.0, 2.0, label="split ratio c", help="(a, w) becomes (c a, w) and ((1 - c) a, w)", main=True
    )
    delta: float = number(1e-4, 1e-6, 1e-2, label="kick δ", help="std of the kick", log=True, main=True)
    lr: float = number(
        0.1, 0.01, 0.3, label="learning rate η", help="gradient descent after the kick", log=True, main=True
    )
    steps: int = number(6000, 1000, 20000, label="steps", help="after the kick", log=True, structural=True)
    fit_lr: float = number(0.02, 0.001, 0.1, label="fit learning rate", help="Adam before Newton", log=True)
    fit_steps: int = number(3000, 500, 10000, label="fit steps", help="Adam before Newton", log=True, structural=True)

    def check(self) -> None:
        """The neuron to split must be there."""
        if self.split_neuron >= self.width:
            allowed = "0" if self.width == 1 else "0 or 1"
            raise InputError(
                f"split_neuron takes {allowed} at width {self.width}, got {self.split_neuron}.", "split_neuron"
            )


PRESETS = {
    "saddle": Preset("Half and half: one direction leads down, and a small kick escapes along it."),
    "no_escape": Preset("Beyond 1: other curvatures, and no quick way down.", {"split_ratio": 1.5}),
    "two_neurons": Preset("A narrow network of two; for most seeds it has no critical point.", {"width": 2}),
    "flat": Preset("All to one copy: three flat directions, none that leads down.", {"split_ratio": 0.0}),
}
