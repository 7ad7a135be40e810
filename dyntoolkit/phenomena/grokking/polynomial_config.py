"""Settings of `grokking.polynomial` and its presets."""

import math

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number


class Config(config.Config):
    """Settings of one run of gradient descent on a quadratic target (Kumar et al. 2023, arXiv 2310.06110)."""

    alpha: float = number(1.0, 0.1, 10.0, label="laziness α", help="scale of the output", log=True, main=True)
    nonlinearity: float = number(
        0.1, 0.03, 1.0, label="nonlinearity ε", help="quadratic part of the unit h + ε h²/2", log=True, main=True
    )
    n_train: int = number(
        200, 50, 1500, label="training points P", help="random points", log=True, main=True, structural=True
    )
    input_dim: int = number(40, 10, 80, label="input dimension D", help="of the points", log=True, structural=True)
    width: int = number(100, 20, 400, label="width N", help="units", log=True, structural=True)
    init_scale: float = number(
        1.0, 0.3, 3.0, label="initialization scale", help="standard deviation of initial weights", log=True, main=True
    )
    lr_relative: float = number(
        0.3, 0.03, 0.9, label="learning rate", help="as a share of the stability edge", log=True, main=True
    )
    steps: int = number(3000, 300, 30000, label="steps", help="updates", log=True, structural=True)

    @property
    def final_norm(self) -> float:
        """|w|_F once f has learned the target: w^T w/N has grown by b b^T/(alpha epsilon), and |b|^2 = D."""
        return math.sqrt(self.width * self.input_dim * (self.init_scale**2 + 1 / (self.alpha * self.nonlinearity)))


PRESETS = {
    "lazy_to_rich": Preset("Training loss falls first, with the kernel of the start; test loss when the kernel turns."),
    "rich": Preset("A tenth of the output scale: the delay is shorter, but does not vanish.", {"alpha": 0.1}),
    "lazy": Preset("Ten times the output scale: test loss stays high for 3000 steps.", {"alpha": 10.0}),
    "enough_data": Preset("With 1500 points the two losses fall together.", {"n_train": 1500, "steps": 400}),
    "too_little_data": Preset("With 50 points the target is never found.", {"n_train": 50}),
}
