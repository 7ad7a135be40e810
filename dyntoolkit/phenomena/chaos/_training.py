"""Heavy-ball SGD on the digits, one order of batches for all copies of a run: what the three experiments share."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from dyntoolkit.data import standardized
from dyntoolkit.engine.initialization import he, normal_init
from dyntoolkit.engine.layers import MLP
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.experiment import config
from dyntoolkit.experiment.config import choice, number
from dyntoolkit.laboratory.problem import Problem, own_split, with_wrong_labels
from dyntoolkit.laboratory.training import Epochs, factors

Tensor = torch.Tensor

DEADLY = 1.2  # lr/(1 - momentum) above which networks of some seeds died


class Config(config.Config):
    """Settings that the three experiments share; each has defaults of its own."""

    lr: float = number(0.1, 0.003, 0.15, label="learning rate η", help="step size", log=True, main=True)
    init_scale: float = number(
        1.0, 0.1, 2.0, label="initialization scale", help="factor on He initialization", log=True, main=True
    )
    label_noise: float = number(0.0, 0.0, 0.4, label="wrong labels", help="share of wrong training labels", main=True)
    momentum: float = number(0.9, 0.0, 0.95, label="momentum", help="heavy ball: memory of the gradient")
    decay: str = choice("constant", ["constant", "cosine"], label="decay", help="of the learning rate")
    batch: int = number(32, 16, 128, label="batch size", help="images per step", doubling=True, structural=True)
    hidden: int = number(2, 0, 3, label="hidden layers", help="0: softmax regression", structural=True)
    width: int = number(64, 16, 128, label="width", help="units per hidden layer", log=True, structural=True)
    n_train: int = number(1000, 200, 1000, label="training images n", help="the rest tests", log=True, structural=True)
    steps: int = number(2000, 500, 2000, label="steps", help="updates", log=True, structural=True)

    def warnings(self) -> list[str]:
        """Learning rates at which it may stop learning."""
        if self.hidden and self.lr / (1 - self.momentum) > DEADLY:
            return [
                "a learning rate this large, with this momentum, kills the network for some seeds: "
                "look at the training loss first."
            ]
        return []


class Batch(NamedTuple):
    """What the updates of a block see. factor: (K,) of the learning rate. samples: (K, R, B) training images."""

    factor: Tensor
    samples: Tensor


def network(config: Config) -> MLP:
    """64 pixels, `hidden` layers of `width` ReLU units, 10 digits; with biases."""
    return MLP((64, *[config.width] * config.hidden, 10), torch.relu)


def draw(configs: Sequence[Config], seeds: Sequence[int]) -> Problem:
    """The digits in each run's own order: n_train to train on, some with wrong labels, the rest to test on.

    One mean and one standard deviation, those of all pixels, for all images.
    """
    x, y = standardized("digits")
    problem = own_split(x.float(), y, configs[0].n_train, 10, Stream(seeds, "split"))
    return with_wrong_labels(problem, per_run(configs, "label_noise", torch.float64), Stream(seeds, "label noise"))


def initial(configs: Sequence[Config], seeds: Sequence[int]) -> Tensor:
    """W ~ N(0, init_scale^2 2/fan_in), biases 0: (R, P)."""
    model = network(configs[0])
    return normal_init(model, Stream(seeds, "init"), he(model, per_run(configs, "init_scale")))


def batches(configs: Sequence[Config], seeds: Sequence[int]) -> Callable[[int, int], Batch]:
    """A fresh permutation of the training images of each run in each epoch; what does not fill a batch is dropped."""
    config = configs[0]
    epochs = Epochs(config.n_train, config.batch, Stream(seeds, "batches"))

    def drawn(k0: int, k1: int) -> Batch:
        factor = factors(config.decay, k0, k1, config.steps).float()
        return Batch(factor, epochs.take(k1 - k0))

    return drawn
