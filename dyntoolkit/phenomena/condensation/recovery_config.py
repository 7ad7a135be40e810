"""Settings of `condensation.recovery` and its presets."""

from dyntoolkit.experiment import Preset, config
from dyntoolkit.experiment.config import number

DIM = 4  # the matrix is DIM x DIM


class Config(config.Config):
    """Settings of one run: a matrix and a full-rank factorization, trained on its first 1, 2, ..., 16 entries."""

    rank: int = number(
        1, 1, 3, label="rank r", help="of the matrix; the factors are square", main=True, structural=True
    )
    init_scale: float = number(
        1e-3, 1e-5, 1.0, label="initialization scale", help="std of the entries of A and B", log=True, main=True
    )
    lr: float = number(0.02, 0.002, 0.05, label="learning rate η", help="step of gradient descent", log=True, main=True)
    steps: int = number(20000, 1000, 50000, label="steps", help="updates", log=True, main=True, structural=True)
    student_width: int = number(
        20, 3, 100, label="width of the tanh network", help="tangent rank only", log=True, structural=True
    )

    @property
    def optimistic(self) -> int:
        """The number of free parameters of a matrix of this rank, r(2d - r)."""
        return self.rank * (2 * DIM - self.rank)


PRESETS = {
    "rank1": Preset("Sixteen numbers from seven: often recovered at n = 7, hardly ever at n = 6."),
    "rank2": Preset("A matrix of rank 2 has 12 free parameters, and takes as many entries or one more.", {"rank": 2}),
    "rank3": Preset("Rank 3: 15 of the 16 entries.", {"rank": 3}),
    "large_init": Preset("Large factors fit the observed entries and miss the others.", {"init_scale": 1.0}),
}
