"""Settings of `grokking.oned` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import choice, number


class Config(config.Config):
    """Settings of one run on sin 6x, sampled where it looks like sin x (Zhou et al. 2024, arXiv 2405.17479)."""

    n_aliased: int = number(
        100, 0, 150, label="aliased points", help="points where sin 6x looks like sin x", main=True, structural=True
    )
    n_uniform: int = number(
        20, 10, 1000, label="even points", help="evenly spaced points", log=True, main=True, structural=True
    )
    init_scale: float = number(
        3.0, 0.3, 30.0, label="initialization scale", help="half-width of the input weights", log=True, main=True
    )
    lr: float = number(3e-3, 3e-4, 1e-1, label="learning rate η", help="step size", log=True, main=True)
    noise_std: float = number(
        0.0, 0.0, 0.4, label="label noise", help="fixed Gaussian noise on the training labels", main=True
    )
    n_aliased3: int = number(
        0, 0, 50, label="points aliased with 3", help="points where sin 6x looks like sin 3x", structural=True
    )
    activation: str = choice("tanh", ("tanh", "sin", "relu"), label="activation", help="of the hidden units")
    width: int = number(100, 20, 400, label="width", help="hidden units", log=True, structural=True)
    readout_scale: float = number(
        0.1, 0.01, 1.0, label="readout scale", help="half-width of the output weights", log=True
    )
    weight_decay: float = number(0.0, 0.0, 1.0, label="weight decay", help="decoupled decay")
    steps: int = number(4000, 500, 10000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="memory of the gradient")
    beta2: float = number(0.999, 0.9, 0.9999, label="β₂", help="memory of the squared gradient", near_one=True)
    eps: float = number(1e-8, 1e-12, 1e-3, label="ε", help="added to √v in the denominator", log=True)


UNIFORM = {"n_aliased": 0, "n_uniform": 120}

PRESETS = {
    "aliased": Preset("The losses part: sin x is learned first, and leaves the test points again."),
    "uniform": Preset("As many points, evenly spaced: both losses fall together.", UNIFORM),
    "paper_65": Preset(
        "A mix of 65 points as in the paper: a bump of the test loss, no delay.",
        {"n_aliased": 20, "n_aliased3": 10, "n_uniform": 35},
    ),
    "too_little_data": Preset("Ten even points are too few: a long delay, and never clean.", {"n_uniform": 10}),
    "low_frequency_start": Preset("Smaller input weights: slower, and a longer delay.", {"init_scale": 1.0}),
}
