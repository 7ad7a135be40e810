import numpy as np

from dyntoolkit.experiment import config
from dyntoolkit.experiment.config import number
from dyntoolkit.figure.panels import BLUE
from dyntoolkit.figure.sweeps import by_field, sweep_line


class Config(config.Config):
    lr: float = number(0.1, 0.0, 1.0, label="learning rate", help="step size")
    steps: int = number(10, 0, 100, label="steps", help="updates")


ROWS = {
    (Config(steps=30), 0): {"loss": 3.0},
    (Config(steps=0), 0): {"loss": 1.0},
    (Config(steps=0), 1): {"loss": 2.0},
    (Config(lr=0.5, steps=30), 0): {"loss": 9.0},
}


def test_runs_are_grouped_by_all_other_settings() -> None:
    groups = by_field(ROWS, "steps")
    assert set(groups) == {Config(), Config(lr=0.5)}
    assert list(groups[Config()].items()) == [(0, [{"loss": 1.0}, {"loss": 2.0}]), (30, [{"loss": 3.0}])]
    assert groups[Config(lr=0.5)] == {30: [{"loss": 9.0}]}


def test_a_line_has_the_median_and_a_band_at_each_value() -> None:
    line = sweep_line("loss", by_field(ROWS, "steps")[Config()], "loss", BLUE, least=3)
    assert line.low is not None
    assert line.high is not None
    np.testing.assert_array_equal(line.x, [3, 30])
    np.testing.assert_array_equal(line.y, [1.5, 3])
    np.testing.assert_array_equal([line.low, line.high], [[1, 3], [2, 3]])
    assert len(sweep_line("loss", {}, "loss", BLUE).x) == 0
