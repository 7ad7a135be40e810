"""Settings of `condensation.isometric` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import choice, number


class Config(config.Config):
    """Settings of one network and its split image, trained side by side (arXiv 2505.12419)."""

    splitting: str = choice(
        "isometric", ("isometric", "plain"), label="splitting", help="which map T from narrow to wide", main=True
    )
    copies: int = number(2, 2, 3, label="copies", help="of each neuron", structural=True)
    activation: str = choice(
        "relu", ("relu", "leaky", "tanh"), label="activation σ", help="leaky: slope 0.1 below zero", main=True
    )
    optimizer: str = choice("gd", ("gd", "adam"), label="optimizer", help="full batch", main=True)
    lr: float = number(0.1, 0.001, 0.5, label="learning rate η", help="0.01 suits Adam", log=True, main=True)
    steps: int = number(600, 50, 2000, label="steps", help="updates", log=True, structural=True)
    width: int = number(8, 2, 64, label="width m", help="neurons before splitting", log=True, structural=True)
    input_dim: int = number(5, 2, 20, label="input dimension d", help="Gaussian inputs", structural=True)
    n_train: int = number(60, 10, 200, label="training points n", help="labelled -1 or 1", log=True, structural=True)
    init_scale: float = number(
        0.3, 0.01, 1.0, label="initialization scale", help="std of all weights", log=True, main=True
    )


PRESETS = {
    "isometric": Preset("Split and train, or train and split: the same wide network to the last digits."),
    "plain": Preset("A splitting that keeps the function, but not the lengths: the two part.", {"splitting": "plain"}),
    "adam": Preset("Adam does not see lengths: the two part.", {"optimizer": "adam", "lr": 0.01}),
    "tanh": Preset("tanh is not homogeneous: the two part.", {"activation": "tanh"}),
}
