"""Settings of `loss_spikes.blocks` and its presets."""

from dyntoolkit.engine.transformer import GAINS
from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number
from dyntoolkit.phenomena.loss_spikes.logit_growth_config import check_width

BLOCKS = {  # in the paper's order, flattest first, the head apart; and what the names of their weights begin with
    "Emb": ("tok", "pos"),
    "QK": ("query", "key"),
    "FFN": ("w1", "w2"),
    "VO": ("value", "output"),
    "Norm": GAINS,
    "Head": ("head",),
}


class Config(config.Config):
    """Settings of one tiny transformer whose sharpness is measured block by block (Wang et al. 2025, 2502.19002)."""

    lr: float = number(
        0.003, 0.001, 0.01, label="learning rate η", help="largest step size of AdamW", log=True, main=True
    )
    steps: int = number(400, 100, 1000, label="steps", help="updates", log=True, main=True, structural=True)
    batch_size: int = number(8, 4, 32, label="batch size", help="windows of 32 characters in a step", structural=True)
    width: int = number(32, 16, 64, label="width", help="of the network; a multiple of 4", structural=True)
    weight_decay: float = number(
        0.1, 0.0, 0.3, label="weight decay", help="decoupled decay of all but the gains", main=True
    )

    def check(self) -> None:
        """Two heads of even size."""
        check_width(self.width)


PRESETS = {
    "order": Preset("Value and output matrices become sharper than feed-forward ones; others are out of order."),
    "short": Preset("Half the steps: the same start, less time to grow apart.", {"steps": 200}),
}
