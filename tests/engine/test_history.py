import json
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from dyntoolkit.engine.history import PICTURE, Frame, History, Live


@dataclass(frozen=True)
class Settings:
    lr: float = 0.1
    mode: str = "plain"


HEALTHY = np.array([-1, -1])


def loss(step):
    return np.array([1.0, 2.0]) / (1 + step)


@pytest.fixture
def history():
    """Two phases that meet at step 20: loss in both, a matrix in the second, a number at the end."""
    history = History("demo.one", [Settings(), Settings(0.2)], (3, 5))
    history.append(Frame(0, 40, {"loss": loss(0)}, HEALTHY))
    history.append(Frame(8, 40, {}, HEALTHY))
    history.append(Frame(20, 40, {"loss": loss(20)}, HEALTHY))
    history.append(Frame(20, 40, {"loss": loss(20) + 1, "map": np.arange(12).reshape(2, 2, 3)}, HEALTHY))
    history.append(Frame(36, 40, {}, np.array([-1, 33])))
    history.append(Frame(40, 40, {"loss": loss(40), "map": np.ones((2, 2, 3)), "final": loss(9)}, np.array([-1, 33])))
    return history


def test_values_are_stacked_with_the_steps_at_which_they_were_measured(history):
    assert history.names() == ["loss", "map", "final"]
    assert history["loss"].shape == (4, 2)
    assert history["map"].shape == (2, 2, 2, 3)
    assert history.at("loss").tolist() == [0, 20, 20, 40]
    assert history.at("map").tolist() == [20, 40]
    assert history.last("loss").tolist() == loss(40).tolist()
    assert "final" in history
    assert "other" not in history
    assert history.config == Settings()


def test_a_heartbeat_moves_the_step_and_the_marks_but_measures_nothing():
    history = History("demo.one", [Settings()], (3,))
    history.append(Frame(8, 40, {}, np.array([7])))
    assert (history.step, history.total, history.diverged.tolist()) == (8, 40, [7])
    assert history.names() == []


def test_done_means_that_the_last_step_is_in(history):
    early = History("demo.one", [Settings()], (3,))
    assert not early.done
    early.append(Frame(20, 40, {}, np.array([-1])))
    assert not early.done
    assert history.done


@pytest.mark.parametrize("r", [0, 1, -1])
def test_one_run_alone(history, r):
    alone = history.run(r)
    assert alone.seeds == (history.seeds[r],)
    assert alone.config == history.configs[r]
    assert alone.diverged.tolist() == [history.diverged[r]]
    assert alone.done
    for name in history.names():
        np.testing.assert_array_equal(alone[name][:, 0], history[name][:, r])
        np.testing.assert_array_equal(alone.at(name), history.at(name))
    alone.append(Frame(41, 41, {"loss": np.zeros(1)}, np.array([-1])))
    assert len(history["loss"]) == len(history.at("loss")) == 4


def test_neighbouring_runs_alone(history):
    some = history.runs(range(2))
    assert (some.seeds, some.configs, some.step) == (history.seeds, history.configs, history.step)
    np.testing.assert_array_equal(some["loss"], history["loss"])
    assert some.nbytes == history.nbytes


def test_pictures_of_a_copy_are_thinned_to_a_size_and_those_of_the_history_are_not():
    history = History("demo.one", [Settings()], (3,))
    for step in range(9):
        history.append(Frame(step, 8, {"map": np.full((1, PICTURE), step), "loss": np.zeros(1)}, np.array([-1])))
    copy = history.until(8)
    copy.keep_within(history.nbytes // 2)
    assert copy.at("map").tolist() == [0, 4, 8]
    assert copy.nbytes <= history.nbytes // 2
    assert len(copy["loss"]) == len(history["map"]) == 9
    copy.keep_within(0)
    assert copy["map"][:, 0, 0].tolist() == [0, 8]


def test_a_run_that_does_not_exist(history):
    with pytest.raises(IndexError):
        history.run(2)


def test_xarray_survives_the_round_trip_through_netcdf(history, tmp_path):
    written = history.to_xarray()
    written.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as read:
        xr.testing.assert_identical(read.load(), written)
    assert written.sizes["run"] == 2
    assert written["step"].values.tolist() == [0, 20, 40]
    assert written["seed"].values.tolist() == [3, 5]
    assert written["diverged_at"].values.tolist() == [-1, 33]
    assert json.loads(written.attrs["configs"]) == [{"lr": 0.1, "mode": "plain"}, {"lr": 0.2, "mode": "plain"}]
    assert written.attrs["experiment"] == "demo.one"
    assert written.attrs["finished"] == 1
    assert written.attrs["engine"] == "eager"


def test_xarray_marks_what_was_not_measured_with_nan(history):
    dataset = history.to_xarray()
    assert np.isnan(dataset["map"].sel(step=0)).all()
    assert np.isnan(dataset["final"].sel(step=[0, 20])).all()
    assert dataset["final"].sel(step=40).values.tolist() == loss(9).tolist()
    np.testing.assert_array_equal(dataset["map"].sel(step=20), np.arange(12).reshape(2, 2, 3))


def test_xarray_keeps_the_later_phase_where_two_meet(history):
    assert history.to_xarray()["loss"].sel(step=20).values.tolist() == (loss(20) + 1).tolist()


def test_xarray_of_a_run_that_was_stopped_before_its_first_frame(tmp_path):
    dataset = History("demo.one", [Settings()], (3,)).to_xarray()
    dataset.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    assert dataset.attrs["finished"] == 0
    assert dataset["seed"].values.tolist() == [3]


def test_until_is_the_history_of_that_moment():
    history = History("x", [None], [0])
    for step in (0, 10, 20, 30):
        values = {"a": np.array([step])} | ({"b": np.array([[step, 1]])} if step >= 20 else {})
        history.append(Frame(step, 30, values, np.array([25 if step > 25 else -1])))
    past = history.until(20)
    assert past["a"][:, 0].tolist() == [0, 10, 20]
    assert past.at("b").tolist() == [20]
    assert (past.step, past.total, past.done) == (20, 30, False)
    assert past.diverged.tolist() == [-1]
    assert "b" not in history.until(10)
    assert history.until(30).done
    assert history.until(30).diverged.tolist() == [25]
    assert history.steps == [0, 10, 20, 30]


def test_only_pictures_are_thinned_and_their_ends_stay(monkeypatch):
    monkeypatch.setattr("dyntoolkit.engine.history.MEMORY", 40_000)
    history = History("x", [None], [0])
    for step in range(101):
        history.append(Frame(step, 100, {"map": np.full((1, 300), step), "loss": np.array([step])}, np.array([-1])))
        assert history.nbytes <= 40_000
    assert history["loss"][:, 0].tolist() == list(range(101))
    kept = history.at("map").tolist()
    assert (kept[0], kept[-1]) == (0, 100)
    assert len(set(np.diff(kept[:-1]))) == 1
    assert history["map"][:, 0, 0].tolist() == kept
    assert history.steps == kept


def test_a_cut_history_knows_what_was_known_then(history):
    cut = history.until(20)
    assert (cut.step, cut.total, cut.done) == (20, 40, False)
    assert cut.seeds == history.seeds
    assert cut.configs == history.configs
    assert cut.at("loss").tolist() == [0, 20, 20]
    assert cut["map"].shape == (1, 2, 2, 3)
    assert "final" not in cut
    assert cut.diverged.tolist() == [-1, -1]
    assert cut.last("loss") is history._rows["loss"][2]  # the same array: looking back takes no memory
    assert history.until(33).diverged.tolist() == [-1, 33]


@pytest.mark.parametrize("step", [40, 1000])
def test_a_history_cut_at_its_end_is_the_whole_one(history, step):
    cut = history.until(step)
    assert cut.done
    assert cut.step == 40
    assert cut.names() == history.names()
    xr.testing.assert_identical(cut.to_xarray(), history.to_xarray())


def test_a_cut_history_does_not_grow(history):
    cut = history.until(40)
    history.append(Frame(41, 41, {"loss": loss(41), "new": loss(0)}, HEALTHY))
    assert cut.at("loss").tolist() == [0, 20, 20, 40]
    assert "new" not in cut
    assert cut.diverged.tolist() == [-1, 33]


def test_the_steps_with_something_to_see(history):
    assert history.steps == [0, 20, 40]  # not the heartbeats
    assert history.until(36).steps == [0, 20]
    assert History("demo.one", [Settings()], (3,)).steps == []


@pytest.mark.parametrize("n_frames", [9, 40, 41, 100])
def test_pictures_are_thinned_to_the_memory_bound_and_curves_are_not(n_frames, monkeypatch):
    monkeypatch.setattr("dyntoolkit.engine.history.MEMORY", 40_000)
    history = History("demo.one", [Settings()], (3,))
    for k in range(n_frames):
        values = {"map": np.full((1, 16, 16), k, float), "points": np.full((1, 128, 4), k, float), "loss": np.ones(1)}
        history.append(Frame(10 * k, 1000, values, np.array([-1])))
        kept = [row.nbytes for name in history.names() for row in history[name]]
        assert history.nbytes == sum(kept) <= 40_000
        for name in ("map", "points"):
            assert {history.at(name)[0], history.at(name)[-1]} == {0, 10 * k}
            assert (history[name][:, 0].reshape(len(kept := history.at(name)), -1)[:, 0] * 10 == kept).all()
            gaps = np.diff(history.at(name))
            assert len(set(gaps[:-1])) <= 1  # evenly, up to the newest
            assert len(gaps) >= 3 or k < 4
    assert history.at("loss").tolist() == list(range(0, 10 * n_frames, 10))
    whole = set(history.at("map")) & set(history.at("points"))
    assert history.steps == sorted(whole)
    assert len(whole) >= 4


def test_curves_are_kept_whatever_they_take(monkeypatch):
    monkeypatch.setattr("dyntoolkit.engine.history.MEMORY", 100)
    history = History("demo.one", [Settings()], (3,))
    for k in range(50):
        history.append(Frame(k, 50, {"loss": np.ones((1, 255))}, np.array([-1])))
    assert history.steps == list(range(50))


def test_the_repr_tells_runs_progress_and_what_was_measured(history):
    assert repr(history) == (
        "History of demo.one: 2 runs, step 40 of 40, 1 diverged\n"
        "  loss: 4 rows of 2\n"
        "  map: 2 rows of 2 x 2 x 3\n"
        "  final: 1 rows of 2"
    )
    assert repr(history.run(0).until(20)).splitlines()[0] == "History of demo.one: seed 3, step 20 of 40"
    assert repr(History("demo.one", [Settings()], (7,))) == "History of demo.one: seed 7, step 0 of 0"


def test_a_history_knows_what_trained_it_phase_after_phase():
    history = History("demo.one", [None], [0])
    assert history.engine == "eager"
    for step, engine in enumerate(("", "xla", "xla", "", "recorded")):
        history.append(Frame(step, 4, {"loss": np.zeros(1)}, np.full(1, -1), engine=engine))
    assert history.engine == "xla, recorded"
    assert history.run(0).engine == "xla, recorded"


def test_what_is_watched_may_change_while_it_grows():
    history = History("demo.one", [Settings(), Settings()], [0, 1])
    field = next(iter(vars(Settings())))
    history.note(Live({field: 7}))
    assert [getattr(config, field) for config in history.configs] == [7, 7]


def test_what_was_sent_into_a_simulation_is_known_with_its_step():
    history = History("demo.one", [Settings()], [0])
    history.append(Frame(3, 9, {"loss": np.zeros(1)}, np.full(1, -1)))
    history.note("lr_2")
    field = next(iter(vars(Settings())))
    history.note(Live({field: 7}))
    assert [step for step, _ in history.sent] == [3, 3]
    assert history.first_configs == (Settings(),) != history.configs
    assert history.until(2).sent == ()
    assert history.run(0).sent == history.sent


def test_weights_come_with_the_end_of_a_phase():
    history = History("demo.one", [None, None], [0, 1])
    theta = np.array([[1.0], [2.0]])
    history.append(Frame(1, 2, {"loss": np.zeros(2)}, np.full(2, -1), weights={"theta": theta}))
    history.append(Frame(2, 2, {"loss": np.zeros(2)}, np.full(2, -1)))
    assert history.weights["theta"] is theta
    assert history.run(1).weights["theta"].tolist() == [[2.0]]
    assert history.until(1).weights == {}
    assert history.until(2).weights == history.weights
