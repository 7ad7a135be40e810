"""Settings of `grokking.parity` and its presets."""

from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number


class Config(config.Config):
    """Settings of one run on the product of k of n bits (Zhou et al. 2024, arXiv 2405.17479)."""

    train_fraction: float = number(
        0.2, 0.08, 0.9, label="training share", help="share of the cube used for training", main=True, structural=True
    )
    init_scale: float = number(
        4.0, 0.5, 6.0, label="initialization scale", help="factor on all initial parameters", log=True, main=True
    )
    weight_decay: float = number(0.1, 0.0, 0.5, label="weight decay", help="decoupled decay", main=True)
    lr: float = number(3e-3, 1e-4, 1e-2, label="learning rate η", help="step size", log=True, main=True)
    k: int = number(3, 1, 12, label="bits in the product k", help="at most n_bits", main=True, structural=True)
    n_bits: int = number(10, 6, 12, label="bits n", help="bits of the input", structural=True)
    width: int = number(128, 32, 1000, label="width", help="hidden units", log=True, structural=True)
    steps: int = number(2500, 200, 5000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="memory of the gradient")
    beta2: float = number(0.999, 0.9, 0.9999, label="β₂", help="memory of the squared gradient", near_one=True)
    eps: float = number(1e-8, 1e-12, 1e-3, label="ε", help="added to √v in the denominator", log=True)

    def check(self) -> None:
        """The product takes no more bits than there are."""
        if self.k > self.n_bits:
            raise InputError(f"k takes a whole number from 1 to n_bits = {self.n_bits}, got {self.k}.", "k")

    @property
    def points(self) -> int:
        """N, the points of the cube."""
        return int(2**self.n_bits)

    @property
    def n_train(self) -> int:
        """n, the points of the training set."""
        return round(self.train_fraction * self.points)


FULL = {"k": 10, "width": 200, "init_scale": 1.0, "lr": 1e-3, "weight_decay": 0.0, "steps": 800}

PRESETS = {
    "sparse": Preset("Three bits of ten: memorised first, and later the true set of bits takes over."),
    "rich": Preset("Small initial weights: the delay is nearly gone.", {"init_scale": 1.0}),
    "enough_data": Preset("With 60 % of the points there is next to none.", {"train_fraction": 0.6}),
    "no_decay": Preset("Without weight decay it memorises and stays there.", {"weight_decay": 0.0}),
    "full_parity": Preset(
        "All ten bits: a bump of the test loss while low degrees are tried, hardly a delay.",
        {**FULL, "train_fraction": 0.35},
    ),
    "full_parity_too_little": Preset("All ten bits from 20 % of the points: never.", {**FULL, "train_fraction": 0.2}),
}
