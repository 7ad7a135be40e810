"""Settings of `label_noise.map` and its presets."""

import numpy as np

from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.claims import Array
from dyntoolkit.experiment.config import number
from dyntoolkit.phenomena.label_noise import linear_config

SECOND = 3e8  # updates of single weights that a core makes per second, about


class Config(config.Config):
    """Settings of one map: a grid of runs of `label_noise.linear` (arXiv 2603.10397)."""

    init_scale_min: float = number(
        0.05, 0.05, 0.5, label="smallest initialization scale", help="of the map", log=True, main=True
    )
    init_scale_max: float = number(
        1.6, 0.5, 1.8, label="largest initialization scale", help="of the map", log=True, main=True
    )
    noise_std_max: float = number(2.5, 0.0, 3.0, label="largest label noise ±τ", help="of the map", main=True)
    lr: float = number(0.2, 0.01, 0.4, label="learning rate η", help="step size of SGD", log=True, main=True)
    steps: int = number(20000, 500, 60000, label="steps", help="SGD updates", log=True, main=True, structural=True)
    n_init_scale: int = number(8, 2, 16, label="initialization scales", help="columns of the map", structural=True)
    n_noise_std: int = number(8, 2, 16, label="noise sizes", help="rows of the map", structural=True)
    batch_size: int = number(10, 1, 400, label="batch size B", help="samples per step", log=True, structural=True)
    width: int = number(64, 16, 256, label="width m", help="hidden neurons", log=True, structural=True)
    dim: int = number(10, 2, 30, label="input dimension d", help="inputs of the network", structural=True)
    n_train: int = number(100, 40, 400, label="training samples n", help="samples", log=True, structural=True)

    def check(self) -> None:
        """The scales differ, and no cell is refused by `label_noise.linear`."""
        if self.init_scale_min >= self.init_scale_max:
            raise InputError(
                f"init_scale_min must be below init_scale_max = {self.init_scale_max:g}, got {self.init_scale_min:g}.",
                "init_scale_min",
            )
        self.cell(self.init_scale_max, 0.0)

    def warnings(self) -> list[str]:
        """Those of the cell with the largest initialization; a map of many large networks takes long."""
        found = self.cell(self.init_scale_max, self.noise_std_max).warnings()
        seconds = self.n_init_scale * self.n_noise_std * self.width * self.dim * self.steps / SECOND
        if seconds > 15:
            found.append(f"a map of so many and so large networks may take {seconds / 60:.1f} minutes.")
        return found

    def cell(self, init_scale: float, noise_std: float) -> linear_config.Config:
        """The settings of one run; InputError where SGD would be unstable."""
        shared = {name: getattr(self, name) for name in ("lr", "steps", "batch_size", "width", "dim", "n_train")}
        return linear_config.Config(init_scale=init_scale, noise_std=noise_std, **shared)

    @property
    def init_scales(self) -> Array:
        """Logarithmically spaced, (n_init_scale,)."""
        return np.geomspace(self.init_scale_min, self.init_scale_max, self.n_init_scale)

    @property
    def noise_stds(self) -> Array:
        """Evenly spaced from 0, (n_noise_std,)."""
        return np.linspace(0, self.noise_std_max, self.n_noise_std)

    @property
    def cells(self) -> list[linear_config.Config]:
        """All cells, noise by noise, each with all initialization scales."""
        return [self.cell(scale, noise) for noise in self.noise_stds for scale in self.init_scales]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (noise) and columns (initialization) of the map."""
        return self.n_noise_std, self.n_init_scale


PRESETS = {
    "map": Preset("64 networks at once: rich by small initialization, or by noise."),
    "quick": Preset("A coarser map, much sooner.", {"n_init_scale": 5, "n_noise_std": 5}),
}
