"""The command line in processes of its own."""

import json
import os
import signal
import subprocess
import sys

import pytest
import xarray as xr

pytestmark = pytest.mark.slow


def command(*arguments):
    """A `dyntoolkit` process."""
    return subprocess.Popen(
        [sys.executable, "-m", "dyntoolkit", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("arguments", [["--help"], ["list", "--help"], ["run", "--help"], ["--version"]])
def test_help_does_not_import_torch(arguments):
    code = (
        "import sys\nfrom dyntoolkit.app.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "dyntoolkit" in done.stdout


def test_a_reader_that_goes_away_is_told_nothing():
    code = "import sys; from dyntoolkit.app.cli import main; sys.exit(main(['list', '--json']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize(
    ("name", "changes", "metric"),
    [
        ("label_noise", ["steps=500", "width=16"], "w2_ratio"),
        ("cross_task_linearity.digits", ["pretrain_steps=10", "steps=30", "width=32"], "ratio"),
    ],
)
def test_every_experiment_runs_from_the_command_line(tmp_path, name, changes, metric):
    path = tmp_path / "curves.nc"
    process = command("run", name, "--seed", "5", "6", "--set", *changes, "--json", "--out", str(path))
    out, _ = process.communicate()
    document = json.loads(out)
    expected = [claim for claim in document["claims"] if claim["expected"]]
    assert process.returncode == int(any(sum(claim["holds"]) < 2 for claim in expected))
    assert document["experiment"].startswith(name)
    assert len(document["metrics"][metric]) == 2
    assert all(len(claim["value"]) == len(claim["holds"]) == 2 for claim in expected)
    assert all(len(claim["value"]) == len(claim["holds"]) in (0, 2) for claim in document["claims"])
    with xr.open_dataset(path, engine="h5netcdf") as data:
        assert data["seed"].values.tolist() == [5, 6]
        assert data.attrs["finished"] == 1


def test_a_process_interrupted_in_the_middle_keeps_its_curves(tmp_path):
    path = tmp_path / "curves.nc"
    process = command("run", "label_noise", "--set", "steps=60000", "--seeds", "9", "--out", str(path))
    seen = b""
    while b"/60000" not in seen:  # the bar is there
        chunk = process.stderr.read1()
        assert chunk, seen
        seen += chunk
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == b""
    assert b"The curves so far are in" in err
    assert b"Traceback" not in err
    with xr.open_dataset(path, engine="h5netcdf") as data:
        assert data.attrs["finished"] == 0
        assert data.sizes["run"] == 9
        assert data["step"].values.max() < 60000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sets no limits")
def test_a_file_that_gets_too_long_while_it_is_written_costs_no_results(tmp_path):
    """As on a full disk, where HDF5 crashed the process when it wrote the file itself."""
    path = tmp_path / "curves.nc"
    code = (
        "import resource, sys\nfrom dyntoolkit.app.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\nsys.exit(main(sys.argv[1:]))"
    )
    run = ["run", "label_noise", "--set", "steps=500", "--seeds", "8", "--engine", "eager", "--out", str(path)]
    done = subprocess.run([sys.executable, "-c", code, *run], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout.startswith("label_noise.linear, seeds 0 to 7, ")
    assert done.stderr.splitlines()[-1] == f"dyntoolkit: --out: {path} could not be written: File too large."
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
