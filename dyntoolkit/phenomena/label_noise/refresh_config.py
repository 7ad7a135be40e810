"""Settings of `label_noise.refresh` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number, switch


class Config(config.Config):
    """Settings of one run with labels flipped anew in every step (arXiv 2510.17526)."""

    flip_rate: float = number(0.3, 0.0, 0.45, label="flipped labels", help="share of wrong training labels", main=True)
    fresh_flips: bool = switch(True, label="flipped anew in every step", help="or once, before training", main=True)
    signal_norm: float = number(3.0, 0.5, 6.0, label="signal |μ|", help="length of the signal", log=True, main=True)
    lr: float = number(0.1, 0.02, 0.3, label="learning rate η", help="step size", log=True, main=True)
    init_scale: float = number(
        0.003, 0.001, 0.03, label="initialization scale", help="standard deviation of the filters", log=True, main=True
    )
    steps: int = number(6000, 500, 20000, label="steps", help="updates", log=True, structural=True)
    input_noise_std: float = number(1.0, 0.3, 3.0, label="input noise", help="standard deviation of the noise patch")
    width: int = number(10, 2, 50, label="filters per sign m", help="of either sign", structural=True)
    dim: int = number(2000, 200, 4000, label="patch size", help="coordinates of a patch", log=True, structural=True)
    n_train: int = number(50, 20, 100, label="training samples n", help="samples", structural=True)


PRESETS = {
    "fresh": Preset("Labels flipped anew in every step: nothing can be memorised, and the signal is found."),
    "clean": Preset(
        "All labels right: the noise is memorised, and test accuracy is that of guessing.", {"flip_rate": 0.0}
    ),
    "fixed": Preset("Flipped once: memorised as well.", {"fresh_flips": False}),
}
