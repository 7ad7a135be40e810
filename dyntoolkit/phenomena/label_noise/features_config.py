"""Settings of `label_noise.features` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number


class Config(config.Config):
    """Settings of one run of the two-patch network with flipped labels (arXiv 2505.18909)."""

    flip_rate: float = number(0.3, 0.0, 0.45, label="flipped labels", help="share of wrong training labels", main=True)
    signal_norm: float = number(4.0, 0.5, 8.0, label="signal |μ|", help="length of the signal", log=True, main=True)
    init_scale: float = number(
        0.003, 0.001, 0.3, label="initialization scale", help="standard deviation of the filters", log=True, main=True
    )
    lr: float = number(0.1, 0.02, 5.0, label="learning rate η", help="step size; rescales time", log=True, main=True)
    select_step: int = number(
        0,
        0,
        2000,
        label="drop samples at step",
        help="drop those of high loss at this step; 0 = never",
        log=True,
        main=True,
    )
    select_drop: float = number(0.3, 0.0, 0.5, label="share dropped", help="of the samples, at that step")
    early_step: int = number(20, 1, 2000, label="early step", help="where “early” is read", log=True, structural=True)
    steps: int = number(2000, 100, 20000, label="steps", help="updates", log=True, structural=True)
    input_noise_std: float = number(
        1.0, 0.3, 3.0, label="input noise", help="standard deviation of the noise patch", log=True
    )
    width: int = number(10, 2, 50, label="filters per sign m", help="of either sign", structural=True)
    dim: int = number(200, 50, 4000, label="patch size", help="coordinates of a patch", log=True, structural=True)
    n_train: int = number(100, 20, 200, label="training samples n", help="samples", log=True, structural=True)

    def warnings(self) -> list[str]:
        """What cannot be seen because the run is too short."""
        found = []
        if self.early_step > self.steps:
            found.append(f"early_step = {self.early_step} lies beyond the {self.steps} steps of the run.")
        if self.select_step >= self.steps:
            found.append(
                f"select_step = {self.select_step} drops nothing: the last of the {self.steps} steps is before."
            )
        return found

    @property
    def flipped(self) -> int:
        """Samples with a wrong training label."""
        return round(self.flip_rate * self.n_train)

    @property
    def kept(self) -> int:
        """Samples that a selection keeps."""
        return round((1 - self.select_drop) * self.n_train)


PRESETS = {
    "two_stages": Preset("Clean samples are fitted by their signal, and then flipped ones by their noise."),
    "clean": Preset("No flipped labels: nothing to forget.", {"flip_rate": 0.0}),
    "low_snr": Preset("A weak signal: noise is memorised at once, clean or not.", {"signal_norm": 1.0}),
    "select_early": Preset("Drop the samples of high loss at step 20: all flipped ones go.", {"select_step": 20}),
    "select_late": Preset("Drop them at step 1000: too late to tell them apart.", {"select_step": 1000}),
    "big_init": Preset("A large start: no first stage.", {"init_scale": 0.3}),
}
