import numpy as np
import pytest
import torch

from dyntoolkit.errors import InputError
from dyntoolkit.laboratory.csv_table import read_csv
from dyntoolkit.laboratory.real_data import REAL
from dyntoolkit.phenomena.laboratory._data import NUMBERS, SYNTHETIC, TEST, load
from dyntoolkit.phenomena.laboratory.network import Config, settings_for

ROWS = "\n".join(f"{k / 7},{k % 5},{k % 13},{'ab'[k % 2]}" for k in range(80))
TABLE = read_csv("houses.csv", f"area,<b>rooms</b>,price,kind\n{ROWS}".encode())


def loaded(seeds=(0, 1), table=None, **settings):
    return load([Config(**settings)] * len(seeds), seeds, table)


@pytest.mark.parametrize("name", [*SYNTHETIC, *REAL])
def test_shapes_and_words_fit_each_other(name):
    data = loaded(data=name, n_train=60)
    problem = data.problem
    runs, n, d = problem.x.shape
    assert (runs, n, d) == (2, 60, len(data.features))
    assert problem.test_x.shape[::2] == (2, d)
    assert problem.x.dtype == problem.test_x.dtype == torch.float32
    assert bool(problem.classes) == (name not in NUMBERS)
    assert len(data.classes) == problem.classes
    shape, dtype = ((2, 60), torch.int64) if problem.classes else ((2, 60, 1), torch.float32)
    assert (problem.y.shape, problem.y.dtype) == (shape, dtype)
    assert torch.equal(problem.y, problem.clean)
    assert len(torch.cat([problem.x[0], problem.test_x[0]]).unique(dim=0)) > 60
    assert data.image == (name == "digits")


@pytest.mark.parametrize("name", SYNTHETIC)
def test_synthetic_data_are_each_runs_own_and_the_same_alone(name):
    both, alone = loaded((4, 5), data=name), loaded((5,), data=name)
    assert not torch.equal(both.problem.x[0], both.problem.x[1])
    for part, own in zip(both.problem[:5], alone.problem[:5], strict=True):
        assert torch.equal(part[1], own[0])


def test_of_few_bits_some_points_are_left_to_test_on():
    problem = loaded(data="parity", n_bits=4, parity_bits=2, n_train=200).problem
    assert (problem.x.shape[1], problem.test_x.shape[1]) == (14, 2)
    assert len(torch.cat([problem.x[0], problem.test_x[0]]).unique(dim=0)) == 16
    assert loaded(data="parity", n_train=200).problem.test_x.shape[1] == TEST


@pytest.mark.parametrize("name", ["moons", "digits"])
def test_irrelevant_inputs_come_last_and_have_no_name(name):
    plain, more = loaded(data=name), loaded(data=name, irrelevant=3)
    d = plain.problem.x.shape[2]
    assert more.problem.x.shape[2] == more.problem.test_x.shape[2] == d + 3
    assert torch.equal(more.problem.x[:, :, :d], plain.problem.x)
    assert more.features == plain.features
    assert more.problem.x[:, :, d:].std().item() == pytest.approx(1, abs=0.1)


def test_noise_is_drawn_once_unless_it_is_fresh():
    wrong = loaded(data="digits", label_noise=0.5, n_train=1000).problem
    assert (wrong.y != wrong.clean).float().mean().item() == pytest.approx(0.5, abs=0.05)
    noisy = loaded(data="sines", target_noise=0.5, n_train=1000).problem
    assert (noisy.y - noisy.clean).std().item() == pytest.approx(0.5, abs=0.05)
    for settings in ({"data": "moons", "label_noise": 0.5}, {"data": "sines", "target_noise": 0.5}):
        fresh = loaded(**settings, fresh_noise=True).problem
        assert torch.equal(fresh.y, fresh.clean)


def test_a_table_is_the_same_for_all_runs_and_its_names_hold_no_tags():
    config = settings_for(TABLE)(target="price", n_train=50)
    data = load([config] * 2, (0, 1), TABLE)
    assert data.problem.x.shape == (2, 50, 3)
    assert torch.equal(data.problem.x[0], data.problem.x[1])
    assert data.features == ("area", "&lt;b&gt;rooms&lt;/b&gt;", "kind = b")
    assert data.target == "price"


@pytest.mark.parametrize(("task", "classes"), [("guessed", 13), ("classes", 13), ("numbers", 0)])
def test_the_task_is_guessed_or_said(task, classes):
    config = settings_for(TABLE)(target="price", task=task)
    assert load([config], (0,), TABLE).problem.classes == classes


def test_names_of_classes_stay_different_when_they_are_cut():
    long = "x" * 40
    rows = "\n".join(f"{k},{long}{'ab'[k % 2]}" for k in range(20))
    table = read_csv("t.csv", f"a,y\n{rows}".encode())
    data = load([settings_for(table)()], (0,), table)
    assert len(set(data.classes)) == 2
    assert all(len(name) < 40 for name in data.classes)


def test_a_file_that_is_not_there_is_asked_for():
    with pytest.raises(InputError, match="choose it again") as refusal:
        loaded(data="file")
    assert refusal.value.field == "data"


def test_a_dashboard_of_a_file_may_learn_something_else():
    config = settings_for(TABLE)(data="moons", n_train=30)
    plain = loaded((0,), data="moons", n_train=30)
    np.testing.assert_array_equal(load([config], (0,), TABLE).problem.x, plain.problem.x)
