"""Settings of `loss_spikes.logit_growth` and its presets."""

from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number, switch


class Config(config.Config):
    """Settings of one tiny transformer that learns sums in words."""

    lr: float = number(0.1, 0.001, 0.3, label="learning rate η", help="largest step size of AdamW", log=True, main=True)
    steps: int = number(200, 50, 1000, label="steps", help="updates", log=True, main=True, structural=True)
    qk_norm: bool = switch(False, label="QK-norm", help="queries and keys of fixed length", main=True)
    batch_size: int = number(8, 4, 32, label="batch size", help="windows of 32 characters in a step", structural=True)
    width: int = number(32, 16, 64, label="width", help="of the network; a multiple of 4", structural=True)
    weight_decay: float = number(0.0, 0.0, 0.3, label="weight decay", help="decoupled decay of all but the gains")

    def check(self) -> None:
        """Two heads of even size."""
        check_width(self.width)


def check_width(width: int) -> None:
    """InputError for a width that does not give two heads of even size."""
    if width % 4:
        raise InputError(f"width takes a multiple of 4, for two heads of even size, got {width}.", "width")


PRESETS = {
    "explode": Preset("A large learning rate: attention scores in the hundreds, and attention to one place alone."),
    "qk_norm": Preset("The same learning rate, but scores cannot pass the dashed line.", {"qk_norm": True}),
    "lr_0.003": Preset("A usual learning rate: the scores stay small.", {"lr": 0.003}),
    "lr_0.3": Preset("Three times larger still: scores in the ten thousands, and a loss that stays high.", {"lr": 0.3}),
}
