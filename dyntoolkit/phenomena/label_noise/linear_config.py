"""Settings of `label_noise.linear`, its presets, and the numbers of the theory that follow from the settings alone."""

import math

from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number, switch

WARN, REFUSE = 1.3, 1.8  # of `Config.instability`; the first non-finite runs were seen at 2.0


class Config(config.Config):
    """Settings of one run of the two-layer linear network under label noise (arXiv 2603.10397)."""

    lr: float = number(0.2, 0.01, 0.4, label="learning rate η", help="step size of SGD", log=True, main=True)
    noise_std: float = number(
        2.0, 0.0, 4.0, label="label noise ±τ", help="size of the sign noise added to the labels", main=True
    )
    init_scale: float = number(
        1.2, 0.05, 1.8, label="initialization scale", help="standard deviation of W at the start", log=True, main=True
    )
    steps: int = number(30000, 500, 60000, label="steps", help="SGD updates", log=True, main=True, structural=True)
    batch_size: int = number(
        10, 1, 400, label="batch size B", help="samples per step", log=True, main=True, structural=True
    )
    width: int = number(64, 16, 256, label="width m", help="hidden neurons", log=True, structural=True)
    dim: int = number(10, 2, 30, label="input dimension d", help="inputs of the network", structural=True)
    n_train: int = number(100, 40, 400, label="training samples n", help="samples", log=True, structural=True)
    target_norm: float = number(1.0, 0.3, 3.0, label="target norm |β*|", help="length of the true weights", log=True)
    sam_rho: float = number(
        0.0, 0.0, 1.0, label="SAM radius ρ", help="sharpness-aware minimization in place of noise; 0 = plain SGD"
    )
    kick_std: float = number(
        0.0, 0.0, 0.3, label="layer-2 kick c", help="random kick to the second layer at every step; 0 = none"
    )
    noise_period: int = number(
        0, 0, 10000, label="noise on/off period", help="steps on, then as many off; 0 = always on", structural=True
    )
    fixed_noise: bool = switch(False, label="noise drawn once", help="one sign per sample, kept for the whole run")
    whiten: bool = switch(True, label="whitened inputs", help="exact unit covariance of the training inputs")

    def check(self) -> None:
        """Refuse settings close to the edge of stability, where plain SGD without noise shrinks the weights too."""
        if self.instability >= REFUSE:
            raise InputError(
                f"lr·init_scale²·(1 + (dim + 1)/batch_size) = {self.instability:.2f} must stay below {REFUSE}, "
                "or SGD is unstable: lower lr or init_scale, or raise batch_size.",
                "lr",
            )

    def warnings(self) -> list[str]:
        """What misleads: the edge of stability, and fixed noise in minibatches."""
        found = []
        if self.instability >= WARN:
            found.append(
                f"lr·init_scale²·(1 + (dim + 1)/batch_size) = {self.instability:.2f} is close to where SGD is "
                "unstable and shrinks the weights even without noise: lower lr or init_scale, or raise batch_size."
            )
        if self.fixed_noise and self.batch_size < self.n_train:
            found.append(
                "Noise drawn once still acts like fresh noise in minibatches: set batch_size to n_train for a control."
            )
        return found

    @property
    def batch(self) -> int:
        """Samples that a step really uses, B."""
        return min(self.batch_size, self.n_train)

    @property
    def scale(self) -> float:
        """s = 1/sqrt(m) of f(x) = s a^T W x."""
        return 1.0 / math.sqrt(self.width)

    @property
    def instability(self) -> float:
        """lr init_scale^2 (1 + (d+1)/B): mean-square stability of SGD is lost at 2."""
        return self.lr * self.init_scale**2 * (1 + (self.dim + 1) / self.batch)

    @property
    def fresh(self) -> bool:
        """Whether something drives the flow: fresh label noise, or SAM on single samples; no kick, no fixed noise."""
        single = self.sam_rho == 0 or self.batch == 1
        return self.rate > 0 and single and not self.fixed_noise and self.kick_std == 0

    @property
    def rate(self) -> float:
        """k0 = lr^2 tau^2 s^2/(2B) + lr rho^2 s^2, per step: |W_perp|^2 falls about as exp(-2 k0 t)."""
        noise = self.lr**2 * self.noise_std**2 / (2 * self.batch)
        return (noise + self.lr * self.sam_rho**2) * self.scale**2

    @property
    def log_ratio(self) -> float:
        """L = ln((d-1) sqrt(m) init_scale^2 / (sqrt(d) |beta*|)): the alignment reaches 1/2 at t = L/(2 k0)."""
        ratio = (self.dim - 1) * math.sqrt(self.width) * self.init_scale**2
        return math.log(ratio / (math.sqrt(self.dim) * self.target_norm))

    @property
    def excess(self) -> float:
        """E = 2 k0 steps - L: how many e-foldings the noise still acts after alignment 1/2."""
        steps = self.steps / 2 if self.noise_period > 0 else self.steps
        return 2 * self.rate * steps - self.log_ratio

    @property
    def end_norm(self) -> float:
        """|W|_F^2 where the flow comes to rest: sqrt(d) |beta*| / s."""
        return math.sqrt(self.dim) * self.target_norm / self.scale

    @property
    def noise_free_norms(self) -> tuple[float, float]:
        """|W_b|^2 along beta* and |W_perp|^2 across it where noise-free training from a = 0 ends, for S = I."""
        start = self.width * self.init_scale**2  # |W_b|^2 at the start; |W_b|^2 - |a|^2 is conserved
        along = (start + math.sqrt(start**2 + 4 * (self.target_norm / self.scale) ** 2)) / 2
        return along, (self.dim - 1) * start


PRESETS = {
    "two_phase": Preset("Fresh label noise: the first layer shrinks, then the neurons align with the truth."),
    "fast": Preset("The same picture in half the steps; the flow is a little off.", {"lr": 0.3, "steps": 15000}),
    "lazy_control": Preset("No noise: the network fits at once and nothing else moves.", {"noise_std": 0.0}),
    "small_init_rich": Preset(
        "No noise, small initialization: rich without any noise.", {"noise_std": 0.0, "init_scale": 0.05}
    ),
    "sam": Preset(
        "SAM on single samples: the same two phases without label noise.",
        {"noise_std": 0.0, "sam_rho": 0.5, "batch_size": 1, "lr": 0.05, "steps": 15000},
    ),
    "on_off": Preset(
        "Noise switched on and off: the first layer shrinks only while it is on.",
        {"noise_period": 3000, "steps": 24000},
    ),
    "kick": Preset(
        "Random kicks to the second layer, no noise: the first layer shrinks too.",
        {"noise_std": 0.0, "batch_size": 100, "kick_std": 0.1, "steps": 4000},
    ),
    "fixed_noise": Preset(
        "Noise drawn once and kept: nothing shrinks.", {"fixed_noise": True, "batch_size": 100, "steps": 8000}
    ),
}
