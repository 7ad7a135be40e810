"""Settings of `condensation.final` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number


class Config(config.Config):
    """Settings of one run of gradient descent on four points, until the loss is below the tolerance."""

    width: int = number(500, 20, 1000, label="width m", help="neurons", log=True, main=True, structural=True)
    init_exponent: float = number(
        1.0,
        0.25,
        1.25,
        label="initialization exponent t",
        help="all weights begin with std m^-t; t = γ/2 of the phase diagram",
        main=True,
    )
    lr_factor: float = number(
        1.0, 0.1, 2.0, label="step size", help="times the step of the kernel", log=True, main=True
    )
    lr_damping: float = number(2.0, 0.5, 20.0, label="damping", help="constant in the step size", log=True)
    steps: int = number(6000, 100, 10000, label="steps", help="at most", log=True, structural=True)
    tol: float = number(1e-7, 1e-9, 1e-3, label="tolerance", help="stop below this loss", log=True, main=True)


PRESETS = {
    "condensed": Preset("Small weights: nearly all neurons end in one of two directions.", {"init_exponent": 1.0}),
    "lazy": Preset("Large weights: the same fit from a cloud of neurons that hardly moves.", {"init_exponent": 0.25}),
    "critical": Preset("In between: the weights move a little, and do not condense.", {"init_exponent": 0.5}),
    "near": Preset("Two directions, but not sharp.", {"init_exponent": 0.75}),
}
