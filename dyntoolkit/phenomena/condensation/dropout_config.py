"""Settings of `condensation.dropout` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import choice, number


class Config(config.Config):
    """Settings of one run of full-batch Adam with dropout, beside the same run without."""

    keep_prob: float = number(
        0.9, 0.5, 1.0, label="keep probability q", help="that a neuron stays in a step", main=True
    )
    activation: str = choice("relu", ("relu", "tanh"), label="activation σ", help="of the hidden neurons", main=True)
    width: int = number(100, 20, 300, label="width m", help="neurons", log=True, main=True, structural=True)
    init_exponent: float = number(
        0.2, 0.0, 1.0, label="initialization exponent t", help="std of all weights is width^(-t)", main=True
    )
    lr: float = number(3e-3, 1e-4, 2e-2, label="learning rate η", help="step size of Adam", log=True, main=True)
    steps: int = number(8000, 500, 20000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.999, label="β₁", help="memory of the gradient")
    beta2: float = number(0.999, 0.0, 0.9999, label="β₂", help="memory of the squared gradients")
    eps: float = number(1e-8, 1e-16, 1e-4, label="ε", help="added to √v", log=True)


PRESETS = {
    "dropout": Preset("One neuron in ten is silent in each step: the cloud gathers in few directions."),
    "none": Preset("Nobody is silent: the cloud stays as it was.", {"keep_prob": 1.0}),
    "half": Preset("Half of the neurons are silent in each step.", {"keep_prob": 0.5}),
    "tanh": Preset("With tanh neurons, counted as lines.", {"activation": "tanh"}),
}
