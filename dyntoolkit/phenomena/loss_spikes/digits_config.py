"""Settings of `loss_spikes.digits` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number


class Config(config.Config):
    """Settings of one full-batch Adam run on handwritten digits (Bai et al. 2025, arXiv 2506.04805)."""

    lr: float = number(0.03, 0.003, 0.1, label="learning rate η", help="step size of Adam", log=True, main=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="momentum: memory of the gradient", main=True)
    beta2: float = number(
        0.999, 0.5, 0.9999, label="β₂", help="memory of the squared gradients", near_one=True, main=True
    )
    eps: float = number(
        1e-8, 1e-8, 0.1, label="ε", help="added to √v in the denominator of the step", log=True, main=True
    )
    width: int = number(16, 8, 64, label="width", help="hidden units", structural=True)
    n_train: int = number(200, 50, 500, label="training images n", help="the first n digits", structural=True)
    steps: int = number(2500, 500, 5000, label="steps", help="updates", log=True, structural=True)


PRESETS = {
    "spikes": Preset("Long memory of the squared gradients: after an alarm the loss of real images bumps up."),
    "beta2_0.8": Preset("Short memory: a smooth curve, and never an alarm.", {"beta2": 0.8}),
}
