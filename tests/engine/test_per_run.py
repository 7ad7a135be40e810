from types import SimpleNamespace

import pytest
import torch

from dyntoolkit.engine.per_run import per_run
from dyntoolkit.errors import InputError


def test_the_value_of_each_run_along_the_run_axis() -> None:
    configs = [SimpleNamespace(lr=0.1, select_step=3), SimpleNamespace(lr=0.2, select_step=0)]
    torch.testing.assert_close(per_run(configs, "lr"), torch.tensor([0.1, 0.2]), rtol=0, atol=0)
    exact = torch.tensor([[[0.1]], [[0.2]]], dtype=torch.float64)
    torch.testing.assert_close(per_run(configs, "lr", torch.float64, ndim=3), exact, rtol=0, atol=0)
    assert per_run(configs, "select_step", torch.int64, ndim=2).tolist() == [[3], [0]]


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="unknown field 'lrr'"):
        per_run([SimpleNamespace(lr=0.1)], "lrr")
