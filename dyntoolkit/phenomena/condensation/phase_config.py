"""Settings of `condensation.phase` and its presets."""

import numpy as np

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number

Array = np.ndarray
POINTS = 4  # of the training data
SECOND = 4e8  # numbers in hidden layers that a core works off per second, about


class Config(config.Config):
    """Settings of one run: a network at every gamma and every width, with random weights of one seed."""

    gamma_min: float = number(0.5, 0.25, 2.5, label="first γ", help="1/2: NTK scaling, 1: mean field", main=True)
    gamma_max: float = number(2.0, 0.25, 2.5, label="last γ", help="the larger γ, the smaller the weights", main=True)
    n_gammas: int = number(7, 1, 15, label="number of γ", help="evenly spaced; one: the first γ", structural=True)
    gamma_prime: float = number(
        0.0, -0.5, 1.0, label="γ′", help="above 0: output weights begin smaller than input weights", main=True
    )
    width_min: int = number(
        50, 20, 400, label="smallest width m", help="hidden units", log=True, main=True, structural=True
    )
    width_factor: float = number(4.0, 2.0, 8.0, label="ratio of widths", help="each to the next", structural=True)
    n_widths: int = number(3, 2, 4, label="number of widths", help="points that a slope goes through", structural=True)
    steps: int = number(4000, 500, 10000, label="steps", help="at most", log=True, structural=True)
    tol: float = number(1e-4, 1e-7, 1e-2, label="tolerance", help="stop below this loss", log=True, main=True)
    lr_damping: float = number(10.0, 1.0, 50.0, label="damping", help="constant in the step size", log=True)

    @property
    def gammas(self) -> Array:
        """The values of gamma, (n_gammas,)."""
        return np.linspace(self.gamma_min, self.gamma_max, self.n_gammas)

    @property
    def widths(self) -> list[int]:
        """The widths m, from the smallest."""
        return [round(self.width_min * self.width_factor**k) for k in range(self.n_widths)]

    def warnings(self) -> list[str]:
        """Wide networks take long."""
        seconds = POINTS * sum(self.widths) * self.n_gammas * self.steps / SECOND
        if seconds < 15:
            return []
        return [f"networks of up to {self.widths[-1]} neurons: a run may take {seconds / 60:.1f} minutes."]


PRESETS = {
    "gamma_axis": Preset("Below γ = 1 the wide networks move less (S < 0), above it they move more (S > 0)."),
    "above_boundary": Preset(
        "γ′ = 0.9 at γ = 1.5, above the line γ′ = γ − 1: linear again, S < 0.",
        {"gamma_min": 1.5, "gamma_max": 1.5, "n_gammas": 1, "gamma_prime": 0.9},
    ),
    "on_boundary": Preset(
        "γ′ = 0.5 at γ = 1.5, on the line: S is about 0.",
        {"gamma_min": 1.5, "gamma_max": 1.5, "n_gammas": 1, "gamma_prime": 0.5},
    ),
    "below_boundary": Preset(
        "γ′ = 0.25 at γ = 1.5, below the line: condensed, S > 0.",
        {"gamma_min": 1.5, "gamma_max": 1.5, "n_gammas": 1, "gamma_prime": 0.25},
    ),
}
