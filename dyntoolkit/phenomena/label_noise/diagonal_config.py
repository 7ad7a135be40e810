"""Settings of `label_noise.diagonal` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number

WARN = 1.3  # of `Config.instability`; the first diverging runs were seen between 3 and 4


class Config(config.Config):
    """Settings of one run of the diagonal model on a sparse truth."""

    noise_std: float = number(2.0, 0.0, 2.5, label="label noise ±τ", help="sign noise, fresh in every step", main=True)
    init_scale: float = number(
        0.3, 0.02, 1.0, label="initialization scale", help="of u and v, all alike", log=True, main=True
    )
    lr: float = number(0.005, 0.001, 0.01, label="learning rate η", help="step size of SGD", log=True, main=True)
    n_nonzero: int = number(5, 1, 20, label="non-zero coordinates", help="of the truth", main=True, structural=True)
    n_train: int = number(40, 20, 100, label="training samples n", help="samples", main=True, structural=True)
    dim: int = number(100, 40, 300, label="coordinates d", help="inputs", log=True, structural=True)
    batch_size: int = number(1, 1, 40, label="batch size B", help="samples per step", log=True, structural=True)
    steps: int = number(15000, 1000, 60000, label="steps", help="SGD updates", log=True, structural=True)

    def warnings(self) -> list[str]:
        """What misleads: close to the edge of stability SGD shrinks the weights by itself."""
        if self.instability < WARN:
            return []
        return [
            f"8·lr·init_scale²·(1 + (dim + 1)/batch_size) = {self.instability:.2f}: from about 2 on SGD is unstable "
            "and shrinks the weights even without noise, or diverges. Lower lr or init_scale, or raise batch_size."
        ]

    @property
    def instability(self) -> float:
        """8 lr init_scale^2 (1 + (d+1)/B): at 2, with the weights of the start, beta loses mean-square stability."""
        return 8 * self.lr * self.init_scale**2 * (1 + (self.dim + 1) / self.batch_size)

    @property
    def start_size(self) -> float:
        """Sum of u^2 + v^2 at the start."""
        return 2 * self.dim * self.init_scale**2


PRESETS = {
    "noise": Preset("Fresh label noise finds the five coordinates among a hundred from forty samples."),
    "control": Preset("Without noise: fitted just as well, and wrong elsewhere.", {"noise_std": 0.0}),
    "rich": Preset("A small start is sparse by itself.", {"init_scale": 0.05, "noise_std": 1.0}),
}
