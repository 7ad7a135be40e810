"""Settings of `condensation.directions` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import choice, number

MULTIPLICITY = {"tanh": 1, "xtanh": 2, "x2tanh": 3, "sigmoid": 1, "softplus": 1}  # p; relu has none


class Config(config.Config):
    """Settings of one run of full-batch training near its start (Zhou et al. 2022, arXiv 2105.11686)."""

    data: str = choice("cubic_1d", ("cubic_1d", "sine_5d"), label="data", help="7x³ - 4.5x, or five sines", main=True)
    activation: str = choice(
        "tanh",
        (*MULTIPLICITY, "relu"),
        label="activation σ",
        help="p = 1, 2, 3 for tanh, x tanh x, x² tanh x",
        main=True,
    )
    width: int = number(100, 20, 1000, label="width m", help="neurons", log=True, main=True, structural=True)
    init_scale: float = number(
        1e-3, 1e-8, 1.0, label="initialization scale", help="std of all weights", log=True, main=True
    )
    optimizer: str = choice("adam", ("adam", "gd"), label="optimizer", help="gd steps by η / (2|v|)")
    lr: float = number(
        5e-4,
        1e-5,
        0.1,
        label="learning rate η",
        help="for gd, the growth per step in the exponent",
        log=True,
        main=True,
    )
    steps: int = number(100, 10, 1000, label="steps", help="updates", log=True, structural=True)
    beta1: float = number(0.9, 0.0, 0.999, label="β₁", help="Adam's memory of the gradient")
    beta2: float = number(0.999, 0.0, 0.9999, label="β₂", help="Adam's memory of the squared gradients")
    eps: float = number(1e-16, 1e-20, 1e-6, label="ε", help="added to Adam's √v", log=True)

    @property
    def multiplicity(self) -> int:
        """p: the lowest power in the activation's expansion at 0 beyond the constant; 0 for relu, which has none."""
        return MULTIPLICITY.get(self.activation, 0)


PRESETS = {
    "2p_tanh": Preset("p = 1: two directions, on one line."),
    "2p_xtanh": Preset("p = 2: four directions, on two lines.", {"activation": "xtanh"}),
    "2p_x2tanh": Preset("p = 3: six directions, on three lines.", {"activation": "x2tanh"}),
    "generic": Preset("A usual start: the weights hardly turn, no lines.", {"init_scale": 1.0}),
    "five_d": Preset(
        "Five inputs: all neurons turn to one line.",
        {"data": "sine_5d", "optimizer": "gd", "lr": 0.05, "steps": 260, "width": 50, "init_scale": 1e-6},
    ),
    "authors": Preset(
        "The paper's widths and scales, with Adam.",
        {"data": "sine_5d", "width": 50, "init_scale": 50.0**-4, "lr": 1e-3},
    ),
}
