"""Settings of `loss_spikes.mlp` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number, switch


class Config(config.Config):
    """Settings of one full-batch Adam run on the small regression (Bai et al. 2025, arXiv 2506.04805)."""

    lr: float = number(0.03, 0.001, 0.1, label="learning rate η", help="step size of Adam", log=True, main=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="momentum: memory of the gradient")
    beta2: float = number(
        0.999, 0.5, 0.9999, label="β₂", help="memory of the squared gradients", near_one=True, main=True
    )
    eps: float = number(
        1e-8, 1e-8, 0.1, label="ε", help="added to √v in the denominator of the step", log=True, main=True
    )
    steps: int = number(5000, 500, 20000, label="steps", help="updates", log=True, structural=True)
    width: int = number(20, 5, 60, label="width", help="hidden units", structural=True)
    n_train: int = number(50, 20, 200, label="training points n", help="points of the regression", structural=True)
    init_scale: float = number(
        1.0,
        0.1,
        4.0,
        label="initialization scale",
        help="s of w, b ~ N(0, s²), a ~ N(0, s²/width)",
        log=True,
        main=True,
    )
    noise_std: float = number(0.0, 0.0, 1.0, label="label noise", help="noise on the labels, drawn once", main=True)
    grad_noise_std: float = number(
        0.0, 0.0, 0.03, label="gradient noise", help="noise on each coordinate of the gradient, fresh at each step"
    )
    grad_clip: float = number(0.0, 0.0, 10.0, label="gradient clipping", help="limit of the gradient norm; 0 = off")
    amsgrad: bool = switch(False, label="AMSGrad", help="the running maximum of v in place of v")


PRESETS = {
    "spikes": Preset("Long memory of the squared gradients: alarms, and after each of them a spike."),
    "beta2_0.9": Preset("Short memory: small bumps at most, and never an alarm.", {"beta2": 0.9}),
    "eps_0.1": Preset("A large ε keeps the steps from growing: no spikes.", {"eps": 0.1}),
    "amsgrad": Preset("The denominator may not shrink: no spikes.", {"amsgrad": True}),
    "lr_0.003": Preset("A tenth of the learning rate: smooth, but slower.", {"lr": 0.003}),
    "noise_0.2": Preset("Noisy labels: the gradient never gets small, and nothing spikes.", {"noise_std": 0.2}),
    "beta2_0.9999": Preset("An even longer memory: few spikes, but tall ones.", {"beta2": 0.9999}),
}
