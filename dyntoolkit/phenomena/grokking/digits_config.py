"""Settings of `grokking.digits` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number


class Config(config.Config):
    """Settings of one run on a few handwritten digits (Zhou et al. 2024, arXiv 2405.17479)."""

    n_train: int = number(
        200, 100, 600, label="training images n", help="images to train on", log=True, main=True, structural=True
    )
    width: int = number(64, 16, 200, label="width", help="units per hidden layer", log=True, structural=True)
    init_scale: float = number(
        4.0, 1.0, 6.0, label="initialization scale", help="factor on all initial parameters", main=True
    )
    lr: float = number(3e-3, 3e-4, 1e-2, label="learning rate η", help="step size", log=True, main=True)
    weight_decay: float = number(0.1, 0.0, 1.0, label="weight decay", help="decoupled decay", main=True)
    steps: int = number(2500, 200, 5000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="memory of the gradient")
    beta2: float = number(0.999, 0.9, 0.9999, label="β₂", help="memory of the squared gradient", near_one=True)
    eps: float = number(1e-8, 1e-12, 1e-3, label="ε", help="added to √v in the denominator", log=True)


PRESETS = {
    "large_init": Preset("The outputs get more high frequencies than the labels have, and lose them again."),
    "standard_init": Preset("They stay at or under the line of the labels, and nothing is late.", {"init_scale": 1.0}),
    "no_decay": Preset("Without weight decay it mostly stays memorised.", {"weight_decay": 0.0}),
    "enough_data": Preset("Three times as many images: the high frequencies, but no delay.", {"n_train": 600}),
}
