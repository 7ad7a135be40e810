"""Settings of `loss_spikes.quadratic`, its presets, and the thresholds that follow from the settings alone."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number


class Config(config.Config):
    """Settings of one run of Adam on L = curvature theta^2 / 2."""

    lr: float = number(0.1, 0.003, 0.3, label="learning rate η", help="step size of Adam", log=True, main=True)
    beta1: float = number(0.9, 0.0, 0.99, label="β₁", help="momentum: memory of the gradient", main=True)
    beta2: float = number(
        0.99, 0.5, 0.995, label="β₂", help="memory of the squared gradients", near_one=True, main=True
    )
    eps: float = number(1e-12, 1e-12, 0.1, label="ε", help="added to √v", log=True, main=True)
    steps: int = number(3000, 200, 10000, label="steps", help="updates", log=True, structural=True)
    curvature: float = number(1.0, 0.1, 10.0, label="curvature h", help="of the parabola", log=True)
    theta0: float = number(1.0, 0.5, 2.0, label="start θ₀", help="where training starts")

    @property
    def critical_eps(self) -> float:
        """eps* = lr h (1 - beta1)/(2 (1 + beta1)): above it the curvature never passes 2/lr."""
        return self.lr * self.curvature * (1 - self.beta1) / (2 * (1 + self.beta1))

    @property
    def critical_root(self) -> float:
        """s* = eps* - eps: the value of sqrt(v) at which the curvature is 2/lr; none is needed where s* <= 0."""
        return self.critical_eps - self.eps


PRESETS = {
    "spikes": Preset("v forgets until the parabola is too steep for the step; then it spikes, again and again."),
    "beta2_0.9": Preset("Short memory: v follows the gradient, nothing spikes.", {"beta2": 0.9}),
    "eps_1.05": Preset("ε five percent above its critical value: the limit is out of reach.", {"eps": 0.00277}),
    "beta1_0": Preset("Without momentum the simple prediction of the time fails here.", {"beta1": 0.0}),
}
