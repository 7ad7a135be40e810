"""Sweeps over several processes, of this machine and of Dask's, some of which are killed."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import slow_experiment
import xarray as xr
from waiting import free_port, wait_for

from dyntoolkit.app.cli import main
from dyntoolkit.catalog.sweep import sweep

pytestmark = pytest.mark.slow
TARGET = f"{slow_experiment.__file__}:SLOW"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The files of a sweep over sizes 12, 11, ... 1 with two seeds that nothing has disturbed."""
    out = tmp_path_factory.mktemp("undisturbed")
    with ThreadPoolExecutor(12) as executor:
        sweep(TARGET, {"size": range(1, 13)}, 2, out=out, executor=executor, curves=True)
    return files(out)


def batches(out: Path):
    """The files of the finished batches."""
    return sorted((out / "batches").glob("*.nc"))


def files(out: Path):
    """The finished batches, each with the hash of its numbers.

    Not of its bytes: in which order HDF5 lays out a file depends on when Python collects its objects.
    """
    return [f"{path.name[:6]}-{numbers(path)}" for path in batches(out)]


def numbers(path: Path):
    """A hash of all values and attributes of a batch, to the bit."""
    with xr.open_dataset(path, engine="h5netcdf") as batch:
        arrays = [(str(name), data.dims, data.dtype.str, data.values.tobytes()) for name, data in batch.items()]
        return hashlib.sha256(repr((sorted(arrays), sorted(batch.attrs.items()))).encode()).hexdigest()


def arguments(out: Path, *more: str):
    return ["sweep", TARGET, "--grid", "size=1:12:12", "--seeds", "2", "--curves", "--out", str(out), *more]


class Disturbed:
    """A sweep on processes of this machine; `log` has the process of each loop that has begun."""

    def __init__(self, folder):
        self.out, self.log = folder / "sweep", folder / "log"
        self.log.touch()

    def start(self):
        command = [sys.executable, "-m", "dyntoolkit", *arguments(self.out, "--workers", "1")]
        environment = {**os.environ, "SLOW_LOG": str(self.log), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def workers(self):
        return {int(pid) for pid in self.log.read_text().split()}

    def end(self, process, number):
        """Send a signal and see that no worker is left; what the process has said."""
        process.send_signal(number)
        said = process.communicate()
        wait_for(lambda: not any(map(psutil.pid_exists, self.workers())))
        return process.returncode, *said


def test_a_sweep_that_is_killed_again_and_again_loses_and_repeats_nothing(tmp_path, undisturbed, monkeypatch):
    disturbed = Disturbed(tmp_path)
    out = disturbed.out
    for happened in (lambda: (out / "sweep.json").exists(), lambda: len(batches(out)) >= 3):
        process = disturbed.start()
        wait_for(happened)
        assert disturbed.end(process, signal.SIGKILL)[0] == -signal.SIGKILL
    finished = files(out)
    assert set(finished) < set(undisturbed)
    process = disturbed.start()
    wait_for(lambda: len(batches(out)) >= len(finished) + 2)
    code, _, said = disturbed.end(process, signal.SIGINT)
    assert code == 130
    count = 2 * len(batches(out))
    sentence = f"{count} of 24 runs are finished and stay in {out}; the same sweep, begun again, goes on from there."
    assert said.splitlines()[-1] == f"dyntoolkit: stopped; {sentence}"
    finished = files(out)
    with ThreadPoolExecutor(12) as executor:
        submitted = []
        monkeypatch.setattr(
            executor, "submit", lambda *call: submitted.append(call) or ThreadPoolExecutor.submit(executor, *call)
        )
        runs = sweep(TARGET, {"size": [float(k) for k in range(1, 13)]}, 2, out=out, executor=executor, curves=True)
    assert len(submitted) == len(undisturbed) - len(finished)
    assert runs["trained"].values.all()
    assert files(out) == undisturbed


def test_a_worker_that_is_killed_ends_the_sweep_in_a_sentence(tmp_path):
    disturbed = Disturbed(tmp_path)
    process = disturbed.start()
    wait_for(lambda: batches(disturbed.out))
    os.kill(disturbed.workers().pop(), signal.SIGKILL)
    said = process.communicate()[1].splitlines()[-1]
    assert process.returncode == 3
    assert said.startswith("dyntoolkit: ")
    assert "terminated abruptly" in said
    assert said.endswith("; the same sweep, begun again, goes on from there.")


# The experiments of a script.

SCRIPT = """
import sys
import torch
import dyntoolkit as dt

class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.layer = torch.nn.Linear(2, width)

    def forward(self, x):
        return self.layer(x).sum(1, keepdim=True)

x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
own = dt.own(Net, (x, x[:, :1]))

def main():
    runs = dt.sweep(own, {"lr": [0.01, 0.02]}, seeds=2, out=sys.argv[1], steps=20)
    print(runs["metrics"].notnull().any("metric").values.all())

GUARD
"""


@pytest.mark.parametrize(
    ("guard", "code", "printed", "said"),
    [
        ('if __name__ == "__main__":\n    main()', 0, "True\n", ""),
        ("main()", 1, "", 'a script that sweeps must say `if __name__ == "__main__":` before it does'),
    ],
)
def test_an_experiment_that_a_script_defines(tmp_path, guard, code, printed, said):
    (tmp_path / "script.py").write_text(SCRIPT.replace("GUARD", guard))
    command = [sys.executable, "script.py", "sweep"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, printed), done.stderr
    assert said in done.stderr


# Dask.


class Dask:
    """A scheduler and workers of Dask, each a process of its own; what they do is in `log`."""

    def __init__(self, folder, closing):
        self.address, self.log = f"tcp://127.0.0.1:{free_port()}", folder / "log"
        self._closing = closing
        self.log.touch()
        host, port = self.address.removeprefix("tcp://").split(":")
        self._run("scheduler", "--host", host, "--port", port, "--no-show")

    def add_worker(self):
        return self._run("worker", self.address, "--no-nanny", "--nthreads", "1")

    def workers(self):
        """The processes that have begun a loop, in order."""
        return list(dict.fromkeys(int(pid) for pid in self.log.read_text().split()))

    def _run(self, *words):
        environment = {**os.environ, "SLOW_LOG": str(self.log), "SLOW_PROCESSES": "3", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
        with (self.log.parent / f"{words[0]}.txt").open("a") as printed:
            process = subprocess.Popen(command, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        self._closing.callback(process.wait)
        self._closing.callback(process.kill)
        return process


def test_on_dask_one_worker_is_killed_and_one_comes_late(tmp_path, undisturbed, capsys):
    with ExitStack() as closing:
        dask = Dask(tmp_path, closing)
        for _ in range(2):
            dask.add_worker()

        def disturb():
            wait_for(lambda: len(dask.workers()) == 2)
            os.kill(dask.workers()[1], signal.SIGKILL)  # it has just begun
            dask.add_worker()

        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        code = main(arguments(tmp_path / "sweep", "--scheduler", dask.address))
        disturbing.join()
        assert code == 0, capsys.readouterr()
        assert files(tmp_path / "sweep") == undisturbed
        assert len(dask.workers()) == 3
        assert len(dask.log.read_text().split()) == len(undisturbed) + 1  # the one that was killed, again


def test_a_scheduler_that_does_not_answer(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dyntoolkit.app.sweep_command.ANSWER", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    assert main(arguments(tmp_path / "sweep", "--scheduler", address)) == 2
    sentence = f"dyntoolkit: --scheduler: no Dask scheduler answers at {address} within 1 s."
    assert capsys.readouterr().err.splitlines()[-1] == sentence
    assert not (tmp_path / "sweep").exists()
