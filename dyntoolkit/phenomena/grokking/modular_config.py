"""Settings of `grokking.modular` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import choice, number

PRIMES = ("11", "13", "17", "19", "23", "29", "31")


class Config(config.Config):
    """Settings of one run on addition modulo a prime (Kumar et al. 2023, arXiv 2310.06110)."""

    p: str = choice("23", PRIMES, label="modulus p", help="a prime: add two numbers modulo p", main=True)
    train_fraction: float = number(
        0.7, 0.3, 0.95, label="training share", help="share of the p² pairs for training", main=True, structural=True
    )
    width: int = number(128, 32, 256, label="width", help="neurons", log=True, structural=True)
    init_scale: float = number(
        2.0, 0.5, 2.5, label="initialization scale", help="factor on all initial weights", main=True
    )
    lr: float = number(1e-2, 1e-3, 1.0, label="learning rate η", help="step size", log=True, main=True)
    weight_decay: float = number(0.3, 0.0, 1.0, label="weight decay", help="decoupled decay (adamw only)", main=True)
    optimizer: str = choice("adamw", ("adamw", "gd"), label="optimizer", help="gd: momentum 0.9, no decay")
    steps: int = number(800, 100, 5000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="AdamW's memory of the gradient")
    beta2: float = number(0.98, 0.9, 0.9999, label="β₂", help="AdamW's memory of the squared gradient", near_one=True)
    eps: float = number(1e-8, 1e-12, 1e-3, label="ε", help="added to √v in AdamW's denominator", log=True)

    def __post_init__(self) -> None:
        """A modulus given as the number 23 is as good as the word "23"."""
        given: object = self.p
        object.__setattr__(self, "p", f"{given:.12g}" if isinstance(given, int | float) else given)
        super().__post_init__()

    @property
    def modulus(self) -> int:
        """p as a number."""
        return int(self.p)

    @property
    def modes(self) -> int:
        """K = (p-1)/2, the Fourier modes of a real function on Z_p without the constant."""
        return (self.modulus - 1) // 2

    @property
    def n_train(self) -> int:
        """Pairs in the training set."""
        return round(self.train_fraction * self.modulus**2)

    @property
    def start_loss(self) -> float:
        """Expected loss at step 0, about: 1 of the targets, and the mean square of the outputs at random weights."""
        return 1 + 3 * self.init_scale**6 / self.modulus


PRESETS = {
    "lazy": Preset("Large initial weights: training accuracy is perfect long before the test accuracy moves."),
    "rich": Preset(
        "Smaller weights and more decay: later training, a shorter delay, and nearly pure Fourier modes.",
        {"init_scale": 1.0, "weight_decay": 1.0, "lr": 5e-3},
    ),
    "too_little_data": Preset("30 % of the pairs: memorised at once, never generalised.", {"train_fraction": 0.3}),
    "no_decay": Preset("Without weight decay it stays memorised.", {"weight_decay": 0.0}),
}
