"""What the laboratory learns: synthetic data of each run's own, real data, or a reader's table, the same for all."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.errors import InputError
from dyntoolkit.laboratory import synthetic
from dyntoolkit.laboratory.function_panel import Data, named
from dyntoolkit.laboratory.problem import Problem, shared, with_noise
from dyntoolkit.laboratory.real_data import REAL, real_table
from dyntoolkit.laboratory.tables import Split, Table

Tensor = torch.Tensor

IN_THE_PLANE = {
    "moons": synthetic.moons,
    "spirals": synthetic.spirals,
    "xor": synthetic.xor,
    "circles": synthetic.circles,
}
SYNTHETIC = (*IN_THE_PLANE, "sines", "parity", "gaussian", "teacher")
NUMBERS = ("sines", "gaussian", "teacher", "diabetes")  # whose targets are no classes
TEST = 500  # samples of synthetic data to test on
SHARE = 0.3  # of real data
DIMENSION = {"gaussian": 20, "teacher": 10}  # inputs
MOST_BITS = 0.9  # of the cube of bits, to train on


def load(configs: Sequence[Any], seeds: Sequence[int], table: Table | None) -> Data:
    """The data of these runs, with their noise. table: the reader's.

    Raises InputError for data of the reader's own that are not there.
    """
    config = configs[0]
    if config.data in SYNTHETIC:
        data = _synthetic(configs, seeds)
    elif config.data in REAL:
        data = _real(config.data, config.n_train, len(seeds))
    elif table is not None:
        data = _own(table, config, len(seeds))
    else:
        raise InputError(
            "data is a file of your own: choose it again, above the sliders; a link does not carry it.", "data"
        )
    problem = data.problem
    if config.irrelevant:
        stream = Stream(seeds, "irrelevant inputs")
        x, test_x = (synthetic.with_irrelevant(part, config.irrelevant, stream) for part in (problem.x, problem.test_x))
        problem = problem._replace(x=x, test_x=test_x)
    if not config.fresh_noise:
        problem = with_noise(problem, configs, Stream(seeds, "noise"))
    return data._replace(problem=problem)


def _synthetic(configs: Sequence[Any], seeds: Sequence[int]) -> Data:
    config, stream = configs[0], Stream(seeds, "data")
    n, truth = config.n_train, None
    if config.data in IN_THE_PLANE:
        x, y = IN_THE_PLANE[config.data](stream, n + TEST, per_run(configs, "input_noise"))
    elif config.data == "sines":
        x, y = synthetic.sines(stream, n + TEST)
        truth = synthetic.sines_at
    elif config.data == "parity":
        points = 2**config.n_bits
        n = min(n, int(MOST_BITS * points))
        x, y = synthetic.parity(stream, min(n + TEST, points), config.n_bits, config.parity_bits)
    else:
        draw = {"gaussian": synthetic.gaussian, "teacher": synthetic.teacher}[config.data]
        x, y = draw(stream, n + TEST, DIMENSION[config.data])
    classes = 0 if config.data in NUMBERS else 2
    problem = Problem(x[:, :n], y[:, :n], x[:, n:], y[:, n:], y[:, :n], classes)
    letter = "b" if config.data == "parity" else "x"
    features = tuple(f"{letter}<sub>{k}</sub>" for k in range(1, x.shape[2] + 1)) if x.shape[2] > 1 else ("x",)
    return Data(problem, features, "y", ("class 0", "class 1") if classes else (), truth=truth)


@lru_cache(maxsize=4)
def _real_split(name: str) -> Split:
    table = real_table(name)
    return table.split(table.target, table.guess(table.target), SHARE, True, "drop rows")


def _real(name: str, n: int, runs: int) -> Data:
    return _of(_real_split(name), n, runs, real_table(name).target)


def _own(table: Table, config: Any, runs: int) -> Data:
    task = table.guess(config.target) if config.task == "guessed" else config.task
    split = _own_split(table, config.target, task, config.test_share, config.standardize, config.missing)
    return _of(split, config.n_train, runs, config.target)


@lru_cache(maxsize=2)
def _own_split(table: Table, target: str, task: str, test_share: float, standardize: bool, missing: str) -> Split:
    return table.split(target, task, test_share, standardize, missing)


def _of(split: Split, n: int, runs: int, target: str) -> Data:
    """The first n rows of a split, in random order anyway, for so many runs; images as rows of pixels."""
    x, test_x = split.x.flatten(1), split.test_x.flatten(1)
    problem = shared(x[:n], split.y[:n], test_x, split.test_y, len(split.classes), runs)
    features = split.features or tuple(f"pixel {k + 1}" for k in range(x.shape[1]))
    image = split.x.shape[1:] == (8, 8)
    return named(problem, features, target, split.classes, image)
