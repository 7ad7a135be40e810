"""Settings of `condensation.staircase`, its presets and its four targets."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import choice, number

Tensor = torch.Tensor
relu, sin, tanh = torch.relu, torch.sin, torch.tanh


class Target(NamedTuple):
    """A function on [-reach, reach], and the activation of the network that learns it."""

    function: Callable[[Tensor], Tensor]
    reach: float
    activation: str


TARGETS = {
    "relu3": Target(lambda x: 2 * relu(x) - 4 * relu(x - 0.5) + 2 * relu(-x - 0.3), 1.0, "relu"),
    "relu_zig": Target(lambda x: relu(x + 1) - 2 * relu(x) + 2 * relu(x - 1), 2.0, "relu"),
    "tanh_bump": Target(lambda x: tanh(8 * x + 4) - tanh(8 * x - 4), 1.0, "tanh"),
    "tanh_mix": Target(lambda x: sin(torch.pi * x) + 0.5 * sin(3 * torch.pi * x + 1), 1.0, "tanh"),
}


class Config(config.Config):
    """Settings of one run of full-batch gradient descent on 40 points."""

    target: str = choice("relu3", tuple(TARGETS), label="target", help="sets data and activation", main=True)
    width: int = number(100, 1, 200, label="width m", help="neurons", log=True, main=True, structural=True)
    init_scale: float = number(
        1e-3, 1e-6, 1.0, label="initialization scale", help="std of all weights", log=True, main=True
    )
    lr: float = number(0.05, 0.005, 0.3, label="learning rate η", help="step of gradient descent", log=True, main=True)
    steps: int = number(12000, 1000, 30000, label="steps", help="updates", log=True, structural=True)


PRESETS = {
    "staircase": Preset("The loss rests where a straight line fits best, then goes on with more directions."),
    "tiny_init": Preset("Smaller still: a longer rest, for some seeds for good.", {"width": 50, "init_scale": 1e-4}),
    "lazy": Preset("A large start: no steps, many directions.", {"init_scale": 0.5}),
    "zig": Preset("Another zigzag, on a wider interval.", {"target": "relu_zig", "lr": 0.03}),
    "bump": Preset("A bump, learned by tanh neurons.", {"target": "tanh_bump", "lr": 0.1}),
    "mix": Preset("Two sines, learned by tanh neurons.", {"target": "tanh_mix", "lr": 0.1}),
    "narrow": Preset("A single neuron: what its loss ends at is a level.", {"width": 1, "init_scale": 0.05}),
}
