"""Settings of `cross_task_linearity.merging` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number
from dyntoolkit.phenomena.cross_task_linearity.deadly_noise import deadly_noise

GRID = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8)  # numbers of units at which merged networks are tested


class Config(config.Config):
    """Settings of one network whose hidden units are merged (arXiv 2310.06756)."""

    init_scale: float = number(
        0.1, 0.01, 1.0, label="initialization scale", help="small: condensed units", log=True, main=True
    )
    width: int = number(256, 64, 512, label="width", help="hidden units", log=True, main=True, structural=True)
    lr: float = number(0.05, 0.01, 0.1, label="learning rate η", help="of SGD", log=True, main=True)
    steps: int = number(1500, 200, 3000, label="steps", help="updates", log=True, main=True, structural=True)
    batch_size: int = number(64, 16, 256, label="batch size", help="images per step", log=True, structural=True)
    momentum: float = number(0.9, 0.0, 0.9, label="momentum", help="heavy-ball momentum")

    def warnings(self) -> list[str]:
        """Training that may die."""
        return deadly_noise(self.lr, self.batch_size, self.momentum)

    @property
    def depth(self) -> int:
        """One hidden layer."""
        return 1

    @property
    def grid(self) -> tuple[int, ...]:
        """Numbers of units at which merged networks are tested, at most the width."""
        return tuple(k for k in GRID if k <= self.width)


PRESETS = {
    "condensed": Preset("Small initial weights: nine in ten units are redundant."),
    "tiny_init": Preset("Tinier still: even more.", {"init_scale": 0.01}),
    "standard_init": Preset("The usual initialization: merging is no better than dropping.", {"init_scale": 1.0}),
}
