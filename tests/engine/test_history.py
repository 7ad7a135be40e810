import json
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from dyntoolkit.engine.history import Frame, History


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
