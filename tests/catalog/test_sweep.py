"""A grid in batches that are kept in a directory, in this process; in several: test_sweep_processes.py."""

import errno
import json
import shutil
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import replace

import filelock
import numpy as np
import pytest
import tiny_experiment
import xarray as xr
from tiny_experiment import TINY

from dyntoolkit.catalog import batch, sweep_store
from dyntoolkit.catalog import sweep as _  # noqa: F401  # the module, before the function of that name
from dyntoolkit.catalog.batch import COPIES
from dyntoolkit.catalog.open_sweep import open_sweep
from dyntoolkit.catalog.run import run
from dyntoolkit.catalog.sweep import FIRST, sweep
from dyntoolkit.engine.history import Frame
from dyntoolkit.errors import InputError
from dyntoolkit.experiment import Config, Experiment, Preset, number

GRID = {"lr": [0.1, 0.25, 0.5], "pull": [0.0, 0.1], "steps": [20, 30]}


class Here(Executor):
    """Trains each batch at once; what was trained is in `seen`. before(k) is called before the k-th."""

    def __init__(self, before=lambda k: None):
        self.seen, self.before = [], before

    def submit(self, function, /, *arguments, **keywords):
        future: Future[object] = Future()
        try:
            self.seen.append(arguments[0])
            self.before(len(self.seen) - 1)
            future.set_result(function(*arguments, **keywords))
        except Exception as problem:
            future.set_exception(problem)
        return future


def files(folder):
    """Names of the batches' files, which say what is in them."""
    return sorted(path.name for path in (folder / "batches").iterdir())


# What it finds.


@pytest.mark.parametrize("preset", [None, "pulled"])
def test_a_sweep_finds_what_run_does(tmp_path, preset):
    runs = sweep(TINY, GRID, 4, out=tmp_path, executor=Here(), curves=True, preset=preset, law="cubic")
    same = run(TINY, preset, seeds=4, law="cubic", **GRID)
    assert set(runs.variables) == {*same.variables, "trained"}
    for name in same.variables:
        assert runs[name].dims == same[name].dims
        np.testing.assert_array_equal(runs[name], same[name])
    assert runs["trained"].values.all()
    for name in ("experiment", "config", "engine"):
        assert runs.attrs[name] == same.attrs[name]


def test_the_same_for_an_experiment_of_torch(tmp_path):
    grid = {"noise_std": [0.0, 1.0], "width": [16, 32]}
    with ThreadPoolExecutor(1) as executor:
        runs = sweep("label_noise.linear", grid, [3, 5], out=tmp_path, executor=executor, curves=True, steps=500)
    same = run("label_noise.linear", seeds=[3, 5], steps=500, **grid)
    for name in same.data_vars:
        np.testing.assert_allclose(runs[name], same[name], rtol=1e-4, atol=1e-6)
    assert runs["noise_std"].attrs == {"long_name": "label noise ±τ", "units": ""}
    assert json.loads(runs.attrs["versions"])["torch"]


def test_the_engine_that_is_asked_for_trains(tmp_path):
    grid = {"noise_std": [0.0, 2.0]}
    found = sweep("label_noise.linear", grid, steps=500, engine="eager", out=tmp_path, executor=Here())
    assert found.attrs["engine"] == "eager"
    known = run("label_noise.linear", steps=500, engine="eager", **grid)
    np.testing.assert_array_equal(found["metrics"], known["metrics"])


def test_diverged_runs_and_those_of_one_setting(tmp_path):
    runs = sweep(TINY, {"lr": [0.5, 3.0]}, 2, out=tmp_path / "lost", executor=Here(), steps=100)
    assert "x" not in runs
    assert "step" not in runs.coords
    assert runs["diverged_at"].sel(lr=0.5).isnull().all()
    assert (runs["diverged_at"].sel(lr=3.0) > 0).all()
    alone = sweep(TINY, {}, 3, out=tmp_path / "alone", executor=Here())
    assert dict(alone["metrics"].sizes) == {"seed": 3, "metric": 3}


def test_some_metrics_in_the_order_asked_for(tmp_path):
    runs = sweep(TINY, {"lr": [0.5]}, out=tmp_path, executor=Here(), metrics=["start", "end"])
    assert runs["metric"].values.tolist() == ["start", "end"]
    with pytest.raises(InputError, match=r"unknown metric 'ende'\. Did you mean 'end'\?"):
        sweep(TINY, {"lr": [0.5]}, out=tmp_path, executor=Here(), metrics=["ende"])


# Batches.


def test_batches_share_a_loop_the_largest_first_and_stay_below_the_memory(tmp_path):
    here = Here()
    sweep(TINY, {"lr": np.linspace(0.1, 0.9, 30), "steps": [20, 30]}, 2, out=tmp_path, executor=here)
    assert [len(each.seeds) for each in here.seen] == [FIRST, 26, 26, 30, 30]
    assert [{settings["steps"] for settings in each.settings} for each in here.seen] == [{30}] * 3 + [{20}] * 2
    assert sorted(cell for each in here.seen for cell in each.cells) == list(range(120))
    here, rows = Here(), 11 * 8  # bytes that a run records
    sweep(TINY, {"lr": np.linspace(0.1, 0.9, 30)}, 1, out=tmp_path / "small", executor=here, memory=7.5 * rows)
    assert [len(each.seeds) for each in here.seen] == [FIRST, 5, 6, 5, 6]


# It goes on.


class Keeps:
    """`SweepStore.keep`, stopped by Ctrl-C just before, or just after, it has put the k-th batch on the disk."""

    def __init__(self, k, *, after):
        self.left, self.after = k, after

    def __call__(self, store, number, content):
        if self.after or self.left:
            KEEP(store, number, content)
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1


KEEP = sweep_store.SweepStore.keep
LONG = {"lr": np.linspace(0.1, 0.9, 20), "steps": [20, 30, 50]}


@pytest.mark.parametrize("curves", [False, True])
def test_an_interrupted_sweep_goes_on_and_ends_as_an_undisturbed_one(tmp_path, curves, monkeypatch):
    there, tried = {"curves": curves, "memory": 16 * 11 * 8 * (COPIES if curves else 1)}, Here()
    undisturbed = sweep(TINY, LONG, 2, out=tmp_path / "undisturbed", executor=tried, **there)
    count = len(tried.seen)
    assert count > 7
    for moment in (0, 1, 2, 3, count, 2 * count - 2, 2 * count - 1):
        out, keep = tmp_path / str(moment), Keeps(moment // 2, after=bool(moment % 2))
        with monkeypatch.context() as patch:
            patch.setattr(sweep_store.SweepStore, "keep", lambda *args, keep=keep: keep(*args))
            with pytest.raises(KeyboardInterrupt) as end:
                sweep(TINY, LONG, 2, out=out, executor=Here(), **there)
        (note,) = end.value.__notes__
        assert note.endswith(
            f"of 120 runs are finished and stay in {out}; the same sweep, begun again, goes on from there."
        )
        finished, again = len(files(out)), Here()
        assert finished == (moment + 1) // 2
        found = sweep(TINY, LONG, 2, out=out, executor=again, **there)
        assert len(again.seen) == count - finished
        assert files(out) == files(tmp_path / "undisturbed")
        xr.testing.assert_identical(found.load(), undisturbed.load())
    nothing = Here()
    sweep(TINY, LONG, 2, out=tmp_path / "undisturbed", executor=nothing, **there)
    assert nothing.seen == []


def test_what_a_killed_process_has_half_written_is_cleared(tmp_path):
    (tmp_path / ".0123456789abcdef.part").write_bytes(b"{")
    sweep(TINY, {"lr": [0.5]}, out=tmp_path, executor=Here())
    (tmp_path / "batches" / ".0123456789abcdef.part").write_bytes(b"half")
    sweep(TINY, {"lr": [0.5]}, out=tmp_path, executor=Here())
    assert [path.name for path in tmp_path.rglob("*.part")] == []


def test_an_unfinished_sweep_can_be_looked_at(tmp_path):
    def stop(k):
        if k == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(TINY, {"lr": [0.1, 0.5], "steps": [20, 30, 50]}, 4, out=tmp_path, executor=Here(stop), curves=True)
    runs = open_sweep(tmp_path)
    assert runs["trained"].sel(steps=50).values.all()
    assert not runs["trained"].sel(steps=[20, 30]).values.any()
    assert runs["metrics"].sel(steps=20).isnull().all()
    assert runs["x"].sel(steps=20).isnull().all()
    assert runs["x"].sel(steps=50, step=[0, 50]).notnull().all()


# Batches that fail.


def picky(configs, seeds):
    if not tiny_experiment.__dict__.get("mended") and configs[0].steps == 30:
        raise ValueError("thirty is too much")
    yield from tiny_experiment.simulate(configs, seeds)


def test_a_failing_batch_is_recorded_and_the_others_go_on(tmp_path, monkeypatch):
    grid, here = {"lr": np.linspace(0.1, 0.9, 20), "steps": [20, 30]}, Here()
    experiment = replace(TINY, simulate=picky)
    with pytest.warns(RuntimeWarning, match="3 of 6 batches failed, the first one by ValueError: thirty is too much"):
        runs = sweep(experiment, grid, out=tmp_path, executor=here)
    assert runs["trained"].sel(steps=20).values.all()
    assert not runs["trained"].sel(steps=30).values.any()
    errors = json.loads(runs.attrs["failed"])
    assert all("thirty is too much" in error and "raise ValueError" in error for error in errors)
    monkeypatch.setattr(tiny_experiment, "mended", True, raising=False)
    again = Here()
    runs = sweep(experiment, grid, out=tmp_path, executor=again)
    assert [{settings["steps"] for settings in each.settings} for each in again.seen] == [{30}] * len(errors)
    assert runs["trained"].values.all()
    assert json.loads(runs.attrs["failed"]) == []


def test_where_all_batches_fail_there_is_nothing(tmp_path):
    with pytest.warns(RuntimeWarning, match="1 of 1 batches failed"):
        runs = sweep(replace(TINY, simulate=picky), {"steps": [30]}, out=tmp_path, executor=Here(), metrics=["end"])
    assert runs.sizes["metric"] == 0


def test_a_batch_that_no_worker_survives_fails_alone(tmp_path):
    def die(k):
        if k == 1:
            raise MemoryError("killed four times")

    with pytest.warns(RuntimeWarning, match="1 of 3 batches failed, the first one by MemoryError: killed four times"):
        runs = sweep(TINY, {"lr": np.linspace(0.1, 0.9, 4), "steps": [20, 30, 50]}, out=tmp_path, executor=Here(die))
    assert int(runs["trained"].sum()) == 8


def test_where_no_worker_can_train_nothing_is_tried_further(tmp_path):
    def lacks(k):
        raise ModuleNotFoundError("No module named 'dyntoolkit'")

    with pytest.raises(InputError, match="no worker can train a batch: ModuleNotFoundError: No module named"):
        sweep(TINY, {"lr": [0.1, 0.2]}, out=tmp_path, executor=Here(lacks))
    assert files(tmp_path) == []


def test_workers_that_go_are_said_to(tmp_path):
    class Cancels(Here):
        def submit(self, function, /, *arguments, **keywords):
            if len(self.seen) < 1:
                return super().submit(function, *arguments, **keywords)
            future: Future[object] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(BrokenExecutor, match="do not answer") as end:
        sweep(TINY, {"lr": [0.1, 0.2], "steps": [20, 30]}, out=tmp_path, executor=Cancels())
    assert end.value.__notes__[0].startswith("2 of 4 runs are finished")


# What is refused.


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"grid": {"lrr": [0.1]}}, r"unknown field 'lrr'\. Did you mean 'lr'\?"),
        ({"grid": {"lr": []}}, "lr: at least one value is needed, got none."),
        ({"grid": {"lr": 0.1}}, "lr: a grid takes a list of values, got 0.1."),
        ({"grid": {"lr": [0.1, 9.0]}}, "lr takes a number from 0 to 3, got 9."),
        ({"grid": {"lr": [0.1, 0.1]}}, "lr: 0.1 is given more than once."),
        ({"grid": {"lr": [0.1, 3.0], "pull": [0.5]}}, "lr 3 allows no pull."),
        ({"grid": [("lr", [0.1])]}, r"grid takes a dict, field -> its values; got \[\('lr', \[0.1\]\)\]."),
        ({"grid": {"seed": [1]}}, "seeds=, how many or a list of them, says which seeds; there is no seed."),
        ({"lr": 0.2}, "lr is a dimension of the grid, and cannot be set as well."),
        ({"pull": 7}, "pull takes a number from -1 to 1, got 7."),
        ({"seeds": 0}, "seeds takes a whole number from 1 to 100000, got 0."),
        ({"seeds": [2, 2]}, "seeds: 2 is given more than once."),
        ({"grid": {"lr": np.linspace(0, 1, 1000)}, "seeds": 1000}, "at most 100000 runs at once, got 1000000."),
        ({"memory": 0}, "memory takes a number of bytes above 0, got 0."),
        ({"memory": "much"}, "memory takes a number of bytes above 0, got 'much'."),
        ({"preset": "no"}, "unknown preset 'no'."),
        ({"engine": "fast"}, "unknown engine 'fast'."),
        ({"executor": "mine"}, "executor takes a concurrent.futures.Executor, got 'mine'."),
        ({"memory": float("inf")}, "memory takes a number of bytes above 0, got inf."),
        ({"grid": {1: [0.1]}}, "unknown field '1'."),
        ({"out": None}, "out takes a directory, got None."),
        ({"experiment": None}, "unknown experiment 'None'."),
        ({"experiment": "tyny"}, "unknown experiment 'tyny'."),
    ],
)
def test_wrong_input_is_refused_before_anything_is_trained(tmp_path, changes, sentence):
    here, given = Here(), {"experiment": TINY, "grid": {"lr": [0.1]}, "out": tmp_path / "sweep", "seeds": 1} | changes
    with pytest.raises(InputError, match=f"^{sentence}"):
        sweep(given.pop("experiment"), given.pop("grid"), given.pop("seeds"), **{"executor": here, **given})
    assert here.seen == []
    assert not (tmp_path / "sweep").exists()


def test_an_executor_that_is_shut_and_metrics_that_are_no_list_are_refused(tmp_path):
    shut = ThreadPoolExecutor(1)
    shut.shutdown()
    with pytest.raises(InputError, match=r"executor takes no work: cannot schedule new futures after shutdown\."):
        sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=shut)
    with pytest.raises(InputError, match=r"metrics takes a list of names, got 'end'\."):
        sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here(), metrics="end")


def test_a_directory_that_is_none_of_a_sweep_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty, and no sweep: it holds thesis.tex\."):
        sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())
    with pytest.raises(InputError, match=r"out takes a directory, but .*thesis.tex is a file\."):
        sweep(TINY, {"lr": [0.1]}, out=tmp_path / "thesis.tex", executor=Here())
    with pytest.raises(InputError, match=r"thesis\.tex/sweep cannot be written: "):
        sweep(TINY, {"lr": [0.1]}, out=tmp_path / "thesis.tex" / "sweep", executor=Here())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"grid": {"lr": [0.1, 0.3]}}, r"its grid has lr \[0.1, 0.2\], not \[0.1, 0.3\]"),
        ({"grid": {"pull": [0.1, 0.2]}}, r"its grid has lr \[0.1, 0.2\], not None"),
        ({"seeds": 3}, r"its seeds is \[0, 1\], not \[0, 1, 2\]"),
        ({"law": "cubic"}, "its config has law linear, not cubic"),
        ({"curves": True}, "its curves is False, not True"),
        ({"memory": 1e8}, "its memory is 1000000000.0, not 100000000.0"),
        ({"engine": "eager"}, "its engine is None, not eager"),
        ({"experiment": replace(TINY, name="other")}, "its experiment is tiny.decay, not other"),
    ],
)
def test_a_directory_of_another_sweep_is_refused(tmp_path, changes, sentence):
    sweep(TINY, {"lr": [0.1, 0.2]}, 2, out=tmp_path, executor=Here())
    before, given = files(tmp_path), {"experiment": TINY, "grid": {"lr": [0.1, 0.2]}, "seeds": 2} | changes
    with pytest.raises(InputError, match=f"holds another sweep: {sentence}"):
        sweep(given.pop("experiment"), given.pop("grid"), given.pop("seeds"), out=tmp_path, executor=Here(), **given)
    assert files(tmp_path) == before


def test_another_source_or_version_is_refused(tmp_path, monkeypatch):
    sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())

    def simulate(configs, seeds):
        yield from tiny_experiment.simulate(configs, seeds)

    with pytest.raises(InputError, match="holds a sweep from before its source was changed"):
        sweep(replace(TINY, simulate=simulate), {"lr": [0.1]}, out=tmp_path, executor=Here())
    path = tmp_path / "sweep.json"
    path.write_text(path.read_text().replace('"dyntoolkit": "', '"dyntoolkit": "9.'))
    with pytest.raises(InputError, match=r"holds another sweep: its versions has dyntoolkit 9\."):
        sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())


def test_a_worker_of_another_version_or_source_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "versions", lambda: {"dyntoolkit": "9.0", "torch": "", "numpy": "", "jax": ""})
    with pytest.raises(InputError, match=r"the worker on .* has dyntoolkit 9.0, and the sweep needs "):
        sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())
    monkeypatch.undo()
    monkeypatch.setattr(batch, "_source", lambda parcel: "another one")
    with pytest.raises(InputError, match=r"the worker on .* has another source of label_noise.linear\."):
        sweep("label_noise", {"lr": [0.1]}, out=tmp_path / "other", executor=Here())
    assert files(tmp_path) == files(tmp_path / "other") == []


def test_a_damaged_file_is_named_and_costs_one_batch(tmp_path):
    grid = {"lr": [0.1, 0.2], "steps": [20, 30, 50]}
    sweep(TINY, grid, out=tmp_path, executor=Here())
    before = files(tmp_path)
    damaged = tmp_path / "batches" / before[1]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    for look in (lambda: open_sweep(tmp_path), lambda: sweep(TINY, grid, out=tmp_path, executor=Here())):
        with pytest.raises(InputError, match=f"{before[1]} is damaged: delete it, and the same sweep trains its batch"):
            look()
    damaged.unlink()
    here = Here()
    sweep(TINY, grid, out=tmp_path, executor=here)
    assert len(here.seen) == 1
    assert files(tmp_path) == before


def test_a_damaged_manifest_and_no_sweep_at_all(tmp_path):
    with pytest.raises(InputError, match="there is no sweep in "):
        open_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(InputError, match=r"sweep.json is damaged: it is no JSON document\."):
        open_sweep(tmp_path)
    with pytest.raises(InputError, match=r"sweep.json is damaged: it is no JSON document\."):
        sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())


@pytest.mark.parametrize(
    "change", [{"grid": []}, {"grid": {"lr": 3}}, {"grid": {"lr": {}}}, {"seeds": 3}, {"seeds": []}]
)
def test_a_manifest_of_something_else_is_said_to_be(tmp_path, change):
    sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())
    path = tmp_path / "sweep.json"
    for other in ([], {}, {**json.loads(path.read_bytes()), **change}):
        path.write_text(json.dumps(other))
        with pytest.raises(InputError, match=r"sweep.json is damaged, or of something else: no sweep\."):
            open_sweep(tmp_path)


def test_a_damaged_note_on_a_failure_is_said_with_the_cure(tmp_path):
    sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())
    (tmp_path / "batches" / "000003.failed.json").write_text("{")
    with pytest.raises(InputError, match=r"000003.failed.json is damaged: delete it, and the same sweep trains its"):
        open_sweep(tmp_path)


def test_a_sweep_that_goes_on_meanwhile_can_be_looked_at(tmp_path):
    sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())
    (tmp_path / "batches" / "000003.failed.json").symlink_to("gone")  # listed, and not there when it is read
    assert open_sweep(tmp_path).attrs["failed_runs"] == 0


def test_two_sweeps_do_not_fill_one_directory(tmp_path):
    lock = filelock.FileLock(tmp_path / ".lock", thread_local=False)
    with lock, pytest.raises(InputError, match="another process is sweeping into "):
        sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())
    sweep(TINY, {"lr": [0.1]}, out=tmp_path, executor=Here())


def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch):
    written = []

    def write(path, content, **keywords):
        written.append(path)
        if len(written) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(path, content, **keywords)

    write_whole = sweep_store.write_whole
    grid = {"lr": [0.1, 0.2], "steps": [20, 30, 50]}
    with monkeypatch.context() as patch:
        patch.setattr(sweep_store, "write_whole", write)
        with pytest.raises(InputError, match=r"cannot be written: No space left on device\."):
            sweep(TINY, grid, out=tmp_path, executor=Here())
    assert len(files(tmp_path)) == 2
    here = Here()
    sweep(TINY, grid, out=tmp_path, executor=here)
    assert len(here.seen) == 1


# How an experiment travels.


def test_an_experiment_with_a_closure_travels_with_it(tmp_path):
    added = np.array([1.0, 2.0])

    def simulate(configs, seeds):
        for frame in tiny_experiment.simulate(configs, seeds):
            yield Frame(
                frame.step, frame.total, {"x": frame.values["x"] + added.sum()} if frame.values else {}, frame.diverged
            )

    runs = sweep(replace(TINY, simulate=simulate), {"lr": [0.0]}, out=tmp_path, executor=Here())
    assert runs["metrics"].sel(metric="end").item() == 4.0


def test_a_class_of_a_notebook_is_what_it_was_after_its_sweep(tmp_path):
    class Mine(Config):
        lr: float = number(0.1, 0.0, 1.0)
        steps: int = number(20, 10, 1000, structural=True)
        pull: float = number(0.0, -1.0, 1.0)

    runs = sweep(replace(TINY, config=Mine, presets={"a": Preset("a")}), {"lr": [0.2]}, out=tmp_path, executor=Here())

    class More(Mine):
        dim: int = number(1, 1, 3)

    assert More(lr=0.3).replace(dim=2).asdict() == {"lr": 0.3, "steps": 20, "pull": 0.0, "dim": 2}
    assert runs["trained"].all()


def test_an_experiment_that_cannot_be_sent_is_refused(tmp_path):
    lock = threading.Lock()

    def simulate(configs, seeds):
        with lock:
            yield from tiny_experiment.simulate(configs, seeds)

    with pytest.raises(InputError, match=r"tiny.decay cannot be sent to other processes .* such as 'my_file.py'"):
        sweep(replace(TINY, simulate=simulate), {"lr": [0.0]}, out=tmp_path, executor=Here())


def test_a_file_is_sent_by_its_path(tmp_path):
    here = Here()
    (tmp_path / "own.py").write_text("from tiny_experiment import TINY\n")
    sweep(str(tmp_path / "own.py"), {"lr": [0.1]}, out=tmp_path / "sweep", executor=here)
    assert here.seen[0].parcel.target == str(tmp_path / "own.py")
    (tmp_path / "own.py").unlink()
    batch.unpack.cache_clear()
    with pytest.raises(InputError, match=r"the experiment cannot be had on .*: there is no file .*own.py\."):
        batch.train_batch(here.seen[0])


# Curves that stay on the disk.


def ragged(configs, seeds):
    """A picture whose size is a setting, and one number."""
    size = configs[0].steps
    for k in (0, 1, 2):
        lr = np.array([config.lr for config in configs], dtype=np.float32)
        picture = np.outer(lr + k, np.arange(1, size + 1)) + np.array(seeds)[:, None]
        count = np.array(seeds) + k
        yield Frame(
            k, 2, {"picture": picture} | ({"count": count, "metrics": count} if k else {}), np.full(len(seeds), -1)
        )


@pytest.fixture
def curves(tmp_path):
    """Curves of different sizes: as a sweep finds them, and the same ones in memory."""
    experiment = Experiment("ragged", tiny_experiment.TinyConfig, ragged)
    grid = {"lr": np.linspace(0.1, 0.9, 5), "steps": [10, 13]}
    return sweep(experiment, grid, 3, out=tmp_path, executor=Here(), curves=True), run(experiment, seeds=3, **grid)


def test_curves_of_other_sizes_leave_the_rest_empty(curves):
    found, same = curves
    assert found["picture"].dims == ("lr", "steps", "seed", "step", "picture_0")
    for name in ("picture", "count", "metrics_recorded"):
        assert found[name].dims == same[name].dims
        assert found[name].dtype == same[name].dtype
        np.testing.assert_array_equal(found[name].isel(steps=1), same[name].isel(steps=1))
        first = {"picture_0": slice(0, 10)} if name == "picture" else {}
        np.testing.assert_array_equal(
            found[name].isel(steps=0, **first).isel(step=0), same[name].isel(steps=0, **first).isel(step=0)
        )


@pytest.mark.parametrize(
    "part",
    [
        {"lr": 2},
        {"lr": [4, 0, 0], "seed": slice(None, None, -1)},
        {"steps": 1, "step": 1, "picture_0": [3, 11]},
        {"lr": slice(1, 4), "steps": [1], "seed": 0, "step": slice(0, 2), "picture_0": -1},
        {"lr": slice(0, 0)},
    ],
)
def test_any_part_of_a_curve_can_be_read(curves, part):
    picture = curves[0]["picture"]
    np.testing.assert_array_equal(picture.isel(part), picture.copy().load().isel(part))


def test_a_sweep_can_be_written_into_one_file(curves, tmp_path):
    curves[0].to_netcdf(tmp_path / "all.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "all.nc", engine="h5netcdf") as found:
        xr.testing.assert_equal(found.load(), curves[0].load())


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    runs = sweep(TINY, {"lr": [0.1, 0.2]}, out=tmp_path, executor=Here(), curves=True)
    shutil.rmtree(tmp_path / "batches")
    assert runs["metrics"].notnull().any()
    with pytest.raises(FileNotFoundError):
        runs["x"].load()
