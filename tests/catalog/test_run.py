"""A grid of settings and seeds as one labelled data set."""

import itertools
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from tiny_experiment import TINY, simulate

from dyntoolkit.catalog.batches import TOGETHER
from dyntoolkit.catalog.course import OWN_NAMES
from dyntoolkit.catalog.run import MOST_RUNS, run
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.history import Frame
from dyntoolkit.engine.loop import evenly, train
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.update import Sgd, sgd
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Config, Experiment, number, run_metrics

module = sys.modules["dyntoolkit.catalog.run"]  # in its package the name is the function's


@pytest.fixture
def counted():
    """The tiny experiment, and the settings and seeds of each loop that was trained."""
    loops = []

    def counting(configs, seeds):
        loops.append(list(zip(configs, seeds, strict=True)))
        return simulate(configs, seeds)

    return replace(TINY, simulate=counting), loops


def test_listed_settings_are_dimensions_in_the_order_given():
    runs = run(TINY, pull=[0.0, 0.1, 0.2], lr=(0.5, 0.25), law="cubic", seeds=4)
    assert runs["x"].dims == ("pull", "lr", "seed", "step")
    assert runs["x"].shape == (3, 2, 4, 11)
    assert runs["metrics"].dims == ("pull", "lr", "seed", "metric")
    assert runs["diverged_at"].dims == ("pull", "lr", "seed")
    assert {name: runs[name].values.tolist() for name in ("pull", "lr", "seed", "metric")} == {
        "pull": [0.0, 0.1, 0.2],
        "lr": [0.5, 0.25],
        "seed": [0, 1, 2, 3],
        "metric": ["end", "start", "t_small"],
    }
    assert runs["step"].values.tolist() == list(range(0, 21, 2))
    assert runs.attrs["experiment"] == "tiny.decay"
    assert json.loads(runs.attrs["config"]) == {"steps": 20, "law": "cubic"}


@pytest.mark.parametrize("values", [[0.5, 0.25], (0.5, 0.25), np.array([0.5, 0.25]), ["0.5", "25e-2"]])
def test_values_may_come_in_any_sequence(values):
    assert run(TINY, lr=values)["lr"].values.tolist() == [0.5, 0.25]
    assert run(TINY, steps=range(10, 40, 10))["steps"].values.tolist() == [10, 20, 30]


def test_single_settings_make_no_dimension():
    runs = run("label_noise.linear", steps=500, width=16)
    assert set(runs["w2"].dims) == {"seed", "step"}
    assert run(TINY)["x"].dims == ("seed", "step")


def check_against_alone(experiment, preset=None, seeds=(0, 3), rtol=0.0, **lists):
    """Every cell is the run of its setting and seed alone."""
    runs = run(experiment, preset, seeds=list(seeds), **lists)
    for values, seed in itertools.product(itertools.product(*lists.values()), seeds):
        at = dict(zip(lists, values, strict=True))
        history = experiment.run(experiment.configure(preset, **at), [seed])
        cell = runs.sel(**at, seed=seed)
        for name in history.names():
            found = cell[name].sel(step=history.at(name)).values
            np.testing.assert_allclose(found, history[name][:, 0], rtol=rtol)
            assert np.isnan(cell[name].drop_sel(step=history.at(name))).all()
        for name, value in run_metrics(experiment, history).items():
            found = cell["diverged_at"] if name == "diverged_at" else cell["metrics"].sel(metric=name)
            np.testing.assert_allclose(found, value[0], rtol=rtol)
    return runs


def test_a_cell_is_the_run_of_its_setting_and_seed():
    check_against_alone(TINY, lr=[0.25, 0.5], pull=[0.0, 0.1])
    check_against_alone(TINY, "pulled", lr=[0.25, 0.5])


def test_structural_settings_are_trained_in_loops_of_their_own_and_laid_side_by_side(counted):
    experiment, loops = counted
    runs = check_against_alone(experiment, steps=[20, 30, 100], lr=[0.5, 0.25])
    assert [len({config.steps for config, _ in loop}) for loop in loops[:3]] == [1, 1, 1]
    assert [len(loop) for loop in loops[:3]] == [4, 4, 4]
    assert runs.sizes["step"] == len({*range(0, 21, 2), *range(0, 31, 3), *range(0, 101, 10)})


def test_a_diverged_run_has_a_step_and_no_metrics():
    runs = check_against_alone(TINY, lr=[0.5, 3.0], steps=[20, 100])
    assert runs["diverged_at"].sel(lr=0.5).isnull().all()
    lost = runs.sel(lr=3.0, steps=100)
    assert (lost["diverged_at"] > 0).all()
    assert lost["metrics"].isnull().all()
    assert lost["x"].notnull().any()  # what was recorded stays


def test_many_runs_are_trained_in_several_loops(counted, monkeypatch):
    experiment, loops = counted
    run(experiment, seeds=TOGETHER + 3)
    assert [len(loop) for loop in loops] == [33, 34]  # of nearly one size
    monkeypatch.setattr(module, "TOGETHER", 2)
    check_against_alone(experiment, lr=[0.25, 0.5, 0.75])


def test_seeds_are_a_count_or_a_list():
    assert run(TINY, seeds=3)["seed"].values.tolist() == [0, 1, 2]
    assert run(TINY, seeds="2")["seed"].values.tolist() == [0, 1]
    for seeds in ([7, 4], (7, 4), np.array([7, 4]), ["7", "4"]):
        runs = run(TINY, seeds=seeds)
        assert runs["seed"].values.tolist() == [7, 4]
        np.testing.assert_array_equal(runs["x"].isel(step=0), [1.7, 1.4])


class Shapes(Config):
    """Records a number under the name of a field, a picture, and something at the end only."""

    x: float = number(1.0, 0.0, 9.0)
    rows: int = number(2, 1, 9, structural=True)
    columns: int = number(3, 1, 9, structural=True)


def shapes(configs, seeds):
    c, n = configs[0], len(seeds)
    x = np.array([config.x for config in configs])
    for k in (0, 5, 9):
        picture = x[:, None, None] * np.arange(1, c.rows * c.columns + 1).reshape(c.rows, c.columns) + k
        values = {"x": x + k, "picture": picture, **dict.fromkeys(OWN_NAMES, x - k)}
        yield Frame(k, 9, values | ({"final": np.full(n, c.rows)} if k == 9 else {}), np.full(n, -1))


SHAPES = Experiment("shapes", Shapes, shapes)


def test_a_quantity_with_the_name_of_a_dimension_gets_another_one():
    runs = run(SHAPES, x=[1, 2])
    np.testing.assert_array_equal(runs["x_recorded"].isel(seed=0), [[1, 6, 10], [2, 7, 11]])
    assert runs["x"].values.tolist() == [1, 2]
    for name in OWN_NAMES:
        np.testing.assert_array_equal(runs[f"{name}_recorded"].isel(seed=0), [[1, -4, -8], [2, -3, -7]])
    assert "x" in run(SHAPES)  # no dimension of that name here
    assert runs["metrics"].dims == ("x", "seed", "metric")


def test_pictures_have_axes_of_their_own_and_those_of_several_sizes_lie_side_by_side():
    runs = run(SHAPES, rows=[2, 5], columns=[9, 3], x=[1.0, 2.0])
    assert runs["picture"].dims == ("rows", "columns", "x", "seed", "step", "picture_0", "picture_1")
    assert runs["picture"].shape == (2, 2, 2, 1, 3, 5, 9)
    for rows, columns, x in itertools.product((2, 5), (9, 3), (1.0, 2.0)):
        picture = runs["picture"].sel(rows=rows, columns=columns, x=x, step=5).isel(seed=0).values
        wanted = x * np.arange(1, rows * columns + 1).reshape(rows, columns) + 5
        np.testing.assert_array_equal(picture[:rows, :columns], wanted)
        assert np.isnan(picture[rows:]).all()
        assert np.isnan(picture[:, columns:]).all()


def test_what_is_wider_in_one_run_and_longer_in_another_fits_too():
    def folded(configs, seeds):
        rows = configs[0].rows
        yield Frame(0, 1, {"folded": np.ones((len(seeds), rows, 12 // rows))}, np.full(len(seeds), -1))

    runs = run(replace(SHAPES, simulate=folded), rows=[2, 3, 6])["folded"]
    assert runs.shape == (3, 1, 1, 6, 6)
    assert runs.sum(["folded_0", "folded_1"]).values.ravel().tolist() == [12, 12, 12]


def test_what_was_not_measured_at_a_step_is_nan():
    final = run(SHAPES)["final"].isel(seed=0)
    assert final.sel(step=9) == 2
    assert final.drop_sel(step=9).isnull().all()


def test_where_two_phases_meet_the_later_value_counts():
    def phases(configs, seeds):
        for k, value in ((0, 1.0), (5, 2.0), (5, 3.0), (9, 4.0)):
            yield Frame(k, 9, {"y": np.full(len(seeds), value)}, np.full(len(seeds), -1))

    np.testing.assert_array_equal(run(replace(SHAPES, simulate=phases))["y"], [[1, 3, 4]])


def test_too_much_memory_thins_the_largest_quantity_and_keeps_its_last_step(monkeypatch):
    def long(configs, seeds):
        for k in range(101):
            values = {"small": np.full(len(seeds), k), "picture": np.full((len(seeds), 20, 20), k)}
            yield Frame(k, 100, values, np.full(len(seeds), -1))

    experiment = replace(SHAPES, simulate=long)
    whole = 2 * 8 * 101 * 401
    assert run(experiment, x=[1, 2])["picture"].notnull().all()
    monkeypatch.setattr(module, "MEMORY", whole // 3)
    runs = run(experiment, x=[1, 2])
    kept = runs["picture"].isel(x=0, seed=0, picture_0=0, picture_1=0)
    np.testing.assert_array_equal(kept["picture_step"], range(0, 101, 4))
    np.testing.assert_array_equal(kept, kept["picture_step"])
    assert runs["small"].notnull().all()
    assert runs["picture"].notnull().all()  # no table of all steps with gaps
    assert runs["small"].nbytes + runs["picture"].nbytes < whole // 3
    monkeypatch.setattr(module, "MEMORY", 1)
    least = run(experiment)["small"]["small_step"].values
    assert (least[0], least[-1]) == (0, 100)


class Picky(Config):
    a: int = number(3, 0, 1000)
    b: int = number(3, 0, 1000)
    c: int = number(3, 0, 1000)

    def check(self):
        if self.a == self.b == 7:
            raise InputError("a and b must not both be 7.", "a")


def never(configs, seeds):
    raise AssertionError("trained")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"experiment": "label_nose"}, "unknown experiment 'label_nose'"),
        ({"preset": "fast"}, "unknown preset 'fast'"),
        ({"d": [1, 2]}, "unknown field 'd'"),
        ({"d": 1}, "unknown field 'd'"),
        ({"a": [1, 1001]}, "a takes a whole number from 0 to 1000, got 1001."),
        ({"a": [1, "many"]}, "a takes a whole number from 0 to 1000, got 'many'."),
        ({"a": {1, 2}}, "a takes a whole number from 0 to 1000, got {1, 2}."),
        ({"a": [6, 7], "b": [6, 7]}, "a and b must not both be 7."),
        ({"a": []}, "a: at least one value is needed, got none."),
        ({"a": [1, 2, 1]}, "a: 1 is given more than once."),
        ({"a": [1, 2], "b": [4, "4"]}, "b: 4 is given more than once."),
        ({"seeds": []}, "seeds: at least one seed is needed, got none."),
        ({"seeds": [1, 2, 1.0]}, "seeds: 1 is given more than once."),
        ({"seeds": 0}, "seeds takes a whole number from 1 to 10000, got 0."),
        ({"seeds": 1.5}, "seeds takes a whole number from 1 to 10000, got 1.5."),
        ({"seeds": [-1]}, "seed takes a whole number from 0 to 4294967295, got -1."),
        ({"seeds": None}, "seeds takes a whole number"),
        ({"a": [1, 2], "seeds": MOST_RUNS}, "at most 10000 runs at once, got 20000."),
        ({name: range(1001) for name in "abc"}, "at most 10000 runs at once, got 1003003001."),
    ],
)
def test_wrong_input_is_refused_before_anything_is_trained(settings, sentence):
    with pytest.raises(InputError) as caught:
        run(**{"experiment": Experiment("picky", Picky, never), **settings})
    assert sentence in str(caught.value)


class Descent(Config):
    lr: float = number(0.1, 0.01, 0.5)


def descend(configs, seeds):
    lr = per_run(configs, "lr")
    return train(
        Sgd(Stream(seeds, "init").normal(2)),
        lambda state, _: sgd(state, state.theta, lr),
        full_batch,
        evenly(10, 6),
        lambda k, state: {"norm": state.theta.norm(dim=1).numpy()},
    )


def test_a_simulation_of_the_engine_gives_the_same_numbers_among_others():
    check_against_alone(Experiment("descent", Descent, descend), lr=[0.1, 0.2], rtol=1e-6)


def test_an_engine_can_be_asked_for_and_stands_in_the_data_set():
    runs = {engine: run("condensation.directions", steps=100, engine=engine) for engine in ("eager", "recorded", "xla")}
    assert {engine: found.attrs["engine"] for engine, found in runs.items()} == {name: name for name in runs}
    assert np.array_equal(runs["eager"]["w"], runs["recorded"]["w"], equal_nan=True)
    np.testing.assert_allclose(runs["eager"]["w"], runs["xla"]["w"], rtol=1e-6)
    with pytest.raises(InputError, match="unknown engine 'jax'"):
        run(TINY, engine="jax")
