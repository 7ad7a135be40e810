"""Settings of `cross_task_linearity.permutation` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number
from dyntoolkit.phenomena.cross_task_linearity.deadly_noise import deadly_noise


class Config(config.Config):
    """Settings of two independent networks that are matched unit by unit (arXiv 2209.04836)."""

    width: int = number(
        64, 16, 256, label="width", help="units of each hidden layer", log=True, main=True, structural=True
    )
    depth: int = number(2, 1, 3, label="depth", help="hidden layers", main=True, structural=True)
    lr: float = number(0.05, 0.003, 0.1, label="learning rate η", help="of SGD", log=True, main=True)
    init_scale: float = number(
        1.0, 0.3, 1.5, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    weight_decay: float = number(0.0, 0.0, 0.01, label="weight decay", help="of weights, not biases", main=True)
    steps: int = number(600, 100, 2000, label="steps", help="updates", log=True, structural=True)
    batch_size: int = number(64, 16, 256, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.9, 0.0, 0.9, label="momentum", help="heavy-ball momentum")

    def warnings(self) -> list[str]:
        """Training that may die."""
        return deadly_noise(self.lr, self.batch_size, self.momentum)


PRESETS = {
    "match": Preset("A barrier between two networks, and hardly any once their units are matched."),
    "narrow": Preset("Half the width: a higher barrier.", {"width": 32}),
    "wide": Preset("Four times the width: little to repair.", {"width": 256}),
    "deep": Preset("Three hidden layers: weights match worse than activations.", {"depth": 3}),
}
