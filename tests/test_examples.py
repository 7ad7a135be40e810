"""The scripts in examples/: each through the command line and by itself, with the numbers that must come out.

The command is called in this process: that it is one in a terminal, too, see tests/test_readme.py.
"""

import ast
import contextlib
import io
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import nn

import dyntoolkit as dt
from dyntoolkit.app.cli import main
from dyntoolkit.laboratory.own_data import own_data

ROOT = Path(dt.__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
pytestmark = pytest.mark.skipif(not EXAMPLES, reason="needs a checkout")


def run(*arguments: Any) -> dict[str, Any]:
    """The document that `dyntoolkit run ... --json` prints, from the root of the checkout."""
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["run", *map(str, arguments), "--json"]) == 0
    return json.loads(printed.getvalue())


def python(*arguments: Any) -> str:
    """What a script prints that ends with exit code 0."""
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The variables of an example, loaded as a module is."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return runpy.run_path(str(ROOT / "examples" / name))


def valley_loss(lr: float, steps: int, seeds: int) -> np.ndarray:
    """(steps + 1, seeds): L_k = sum_i h_i theta_i^2 (1 - lr h_i)^2k / 2, with curvatures 1 and 10."""
    h, theta = np.array([1.0, 10.0]), dt.Stream(range(seeds), "init").normal(2, dtype=torch.float64).numpy()
    k = np.arange(steps + 1)[:, None, None]
    return (h * theta**2 * (1 - lr * h) ** (2 * k)).sum(2) / 2


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_short_and_uses_the_public_face_alone(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60
    tree = ast.parse(source)
    about = ast.get_docstring(tree) or ""
    assert about.split("\n")[0].endswith("?")
    assert f"dyntoolkit run examples/{path.name}" in about
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("dyntoolkit")
        elif isinstance(node, ast.Import):
            assert all(alias.name == "dyntoolkit" or "dyntoolkit" not in alias.name for alias in node.names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most"),
    [("first.py", {}), *((name, {"width": 16}) for name in ("own_network.py", "own_data.py", "own_probe.py"))],
)
def test_experiment_keeps_the_rules(name: str, most: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    report = dt.check(load(name, monkeypatch)["EXPERIMENT"], most={"steps": 40, **most}, examples=5)
    assert report.passed, report


@pytest.mark.slow
def test_first_falls_as_the_closed_form_says(tmp_path: Path) -> None:
    curves = tmp_path / "run.nc"
    found = run("examples/first.py", "--set", "lr=0.19", "steps=50", "--seeds", 3, "--out", curves)
    expected = valley_loss(0.19, 50, 3)
    np.testing.assert_allclose(found["metrics"]["loss"], expected[-1], rtol=1e-4)
    with xr.open_dataset(curves) as data:
        np.testing.assert_allclose(data["loss"].transpose("step", "run"), expected, rtol=1e-4)
    assert (np.diff(expected, axis=0) < 0).all()


@pytest.mark.slow
def test_first_by_itself_is_at_the_edge() -> None:
    """lr = 0.2 is 2/curvature: the steep side neither falls nor grows."""
    words = python("examples/first.py")
    assert "valley, seed 0, 100 of 100 steps" in words
    loss = float(re.search(r"loss (\S+)", words)[1])  # type: ignore[index]
    assert loss == pytest.approx(valley_loss(0.2, 100, 1)[-1, 0], rel=2e-3)  # three digits are printed


def course(example: str, *settings: str, folder: Path, seeds: int = 2) -> xr.Dataset:
    """What the command line records of an example with these settings, (step, run, ...)."""
    path = folder / "run.nc"
    run(f"examples/{example}", "--set", *settings, "--seeds", seeds, "--out", path)
    with xr.open_dataset(path) as data:
        return data.load().transpose("step", "run", ...)


@pytest.mark.slow
def test_own_network_is_straight_at_first_and_trains_as_with_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = course("own_network.py", "branch_scale=0", "steps=1000", folder=tmp_path)
    usual = course("own_network.py", "branch_scale=1", "steps=100", folder=tmp_path)
    assert (flat["bend"][0] < 1e-6).all()  # rounding
    assert (usual["bend"][0] > 1e-4).all()  # the control
    assert (flat["bend"][-1] > 1e-2).all()
    assert (flat["loss"][-1] < 0.01).all()  # a straight line leaves 0.5

    example = load("own_network.py", monkeypatch)
    x, y = own_data((example["X"], example["Y"]), None, None)[:2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = example["Residual"]()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.mse_loss(module(x), y).backward()
        optimizer.step()
    assert float(usual["loss"][-1, 1]) == pytest.approx(nn.functional.mse_loss(module(x), y).item(), rel=1e-2)


@pytest.mark.slow
def test_own_network_by_itself_fits_the_sine() -> None:
    words = python("examples/own_network.py")
    assert "residual, seeds 0 to 3, 1,000 of 1,000 steps" in words
    assert float(re.search(r"\bloss (\S+)", words)[1]) < 0.01  # type: ignore[index]


@pytest.mark.slow
def test_own_data_fits_right_labels_first(tmp_path: Path) -> None:
    data = course("own_data.py", "label_noise=0.33", folder=tmp_path, seeds=4)
    early, late = (data["labels_fitted"].sel(step=step).values for step in (30, 1000))
    assert (early[:, 0] > early[:, 1] + 0.1).mean() > 0.5
    assert (late > 0.99).all()  # wrong ones, too


@pytest.mark.slow
def test_own_data_by_itself() -> None:
    assert "wine, seed 0, 1,000 of 1,000 steps" in python("examples/own_data.py")


@pytest.mark.slow
def test_own_probe_sees_small_weights_leave_for_one_direction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, usual = (course("own_probe.py", f"init_scale={scale}", folder=tmp_path) for scale in (0.02, 1))
    assert (small["stable_rank"].sel(step=25) < 1.5).all()
    assert (usual["stable_rank"].sel(step=25) > 2).all()
    shapes = load("own_probe.py", monkeypatch)["network"]().state_dict()
    for data in (small, usual):
        weights = data["theta"].values[:, :, :250].reshape(-1, *shapes["0.weight"].shape)  # (T R, m, d)
        naive = [(np.linalg.norm(w) / np.linalg.norm(w, 2)) ** 2 for w in weights]
        np.testing.assert_allclose(data["stable_rank"].values.ravel(), naive, rtol=1e-4)
        assert (data["largest_error"][..., 0].values ** 2 >= 0.999 * data["loss"].values).all()


@pytest.mark.slow
def test_own_probe_by_itself() -> None:
    assert "rank, seed 0, 1,000 of 1,000 steps" in python("examples/own_probe.py")


@pytest.mark.slow
def test_sweep_prints_the_theory_and_saves_a_figure(tmp_path: Path) -> None:
    picture = tmp_path / "figure.png"
    head, *rows = python("examples/sweep.py", picture).splitlines()
    assert head.split()[-1] == "theory"
    table = np.array([[float(cell) for cell in row.split()] for row in rows])
    lr, least, largest, theory = table.T
    np.testing.assert_allclose(theory, np.maximum((1 - lr) ** 2, (1 - 10 * lr) ** 2), atol=1e-4)
    np.testing.assert_allclose(least, theory, rtol=2e-3)
    np.testing.assert_allclose(largest, theory, rtol=2e-3)
    assert (theory > 1).tolist() == (lr > 0.2).tolist()
    with Image.open(picture) as drawn:
        assert len(drawn.getcolors(2**24)) > 10


@pytest.mark.slow
def test_sweep_is_an_experiment_file_too() -> None:
    found = run("examples/sweep.py", "--set", "lr=0.05", "steps=20")
    assert found["experiment"] == "valley"
    assert found["metrics"]["loss"][0] == pytest.approx(valley_loss(0.05, 20, 1)[-1, 0], rel=1e-4)
