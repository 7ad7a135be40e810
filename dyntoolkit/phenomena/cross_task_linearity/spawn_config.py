"""Settings of `cross_task_linearity.spawn` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number, switch


class Config(config.Config):
    """Settings of one pair of networks that share their first steps (arXiv 2307.08286)."""

    spawn_step: int = number(
        600, 0, 600, label="spawn step", help="shared steps before the copy", log=True, main=True, structural=True
    )
    lr: float = number(0.03, 0.003, 0.05, label="learning rate η", help="of SGD", log=True, main=True)
    init_scale: float = number(
        1.0, 0.3, 1.5, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    label_noise: float = number(
        0.2, 0.0, 0.5, label="label noise", help="fraction of training labels redrawn at random", main=True
    )
    shared_init: bool = switch(True, label="shared start", help="do both start from one network?", main=True)
    steps: int = number(600, 100, 2000, label="steps", help="steps of each copy", log=True, structural=True)
    anneal_steps: int = number(200, 0, 500, label="anneal steps", help="last steps at a tenth of lr", structural=True)
    batch_size: int = number(8, 4, 128, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.9, 0.0, 0.9, label="momentum", help="heavy-ball momentum")
    width: int = number(64, 16, 128, label="width", help="units of each hidden layer", log=True, structural=True)
    depth: int = number(3, 1, 4, label="depth", help="hidden layers", structural=True)

    def warnings(self) -> list[str]:
        """Training that may die: heavy-ball SGD on small batches at a large rate."""
        if self.momentum > 0.85 and self.lr >= 0.045 and self.batch_size <= 8:
            return ["momentum 0.9 with a large learning rate and small batches kills the network for some seeds."]
        return []

    @property
    def total(self) -> int:
        """Steps of all phases."""
        return self.spawn_step + self.steps + self.anneal_steps


APART = {"shared_init": False, "spawn_step": 0}

PRESETS = {
    "late_spawn": Preset("Copied after 600 shared steps: hardly a barrier between them."),
    "early_spawn": Preset("Copied at the very start: a barrier stands between them.", {"spawn_step": 0}),
    "independent": Preset("Two different starts: a wall.", APART),
    "clean_labels": Preset("With clean labels the barriers are small anyway.", {"label_noise": 0.0}),
}
