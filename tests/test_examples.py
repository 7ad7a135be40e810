"""The scripts in examples/: each through the real command line and by itself, with the numbers that must come out."""

import ast
import copy
import json
import re
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import nn

import dyntoolkit as dt

ROOT = Path(dt.__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
pytestmark = pytest.mark.skipif(not EXAMPLES, reason="needs a checkout")


def run(*arguments: Any) -> dict[str, Any]:
    """The document that `dyntoolkit run ... --json` prints, from the root of the checkout."""
    command = [Path(sysconfig.get_path("scripts")) / "dyntoolkit", "run", *arguments, "--json"]
    return json.loads(printed(*command))


def python(*arguments: Any) -> str:
    return printed(sys.executable, *arguments)


def printed(*command: Any) -> str:
    """What a command prints that ends with exit code 0."""
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
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
@pytest.mark.parametrize(("name", "most"), [("first.py", {}), ("own_network.py", {}), ("own_probe.py", {"width": 40})])
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


def twin(example: dict[str, Any], theta: torch.Tensor, lr: float, steps: int) -> float:
    """The loss of the example's own module, trained from these weights (P,) by torch.optim.Adam alone."""
    module, x, y = copy.deepcopy(example["MODULE"]), example["X"], example["Y"]
    nn.utils.vector_to_parameters(theta.clone(), module.parameters())
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(module(x), y).backward()
        optimizer.step()
    return nn.functional.mse_loss(module(x), y).item()


@pytest.mark.slow
def test_own_network_is_straight_at_first_and_trains_as_with_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("examples/own_network.py", "--set", "steps=300", "--seeds", 2, "--out", tmp_path / "run.nc")
    bends = {}
    for scale in (0.0, 1.0):
        found = run(*command, f"--set=branch_scale={scale}")
        with xr.open_dataset(tmp_path / "run.nc") as data:
            bends[scale] = data["bend"].transpose("step", "run").values
        assert (np.array(found["metrics"]["loss"]) < 0.1).all()
    assert (bends[0.0][0] < 1e-12).all()  # rounding
    assert (bends[1.0][0] > 1e-3).all()  # the control
    assert (bends[0.0][-1] > 1e-3).all()

    example = load("own_network.py", monkeypatch)
    stream, theta = dt.Stream([1], "init"), []
    for p in example["MODULE"].parameters():  # scale 1: weights of variance 1/fan_in, biases 0
        drawn = stream.normal(p.numel(), dtype=torch.float64)[0]
        theta.append(drawn / p.shape[1] ** 0.5 if p.ndim == 2 else 0 * drawn)
    assert found["metrics"]["loss"][1] == pytest.approx(twin(example, torch.cat(theta), 0.003, 300), rel=1e-6)


@pytest.mark.slow
def test_own_network_by_itself_fits_the_sine() -> None:
    words = python("examples/own_network.py")
    assert "residual, seeds 0 to 3, 500 of 500 steps" in words
    assert float(re.search(r"loss (\S+)", words)[1]) < 0.01  # type: ignore[index]  # a flat line has 0.5


@pytest.mark.slow
def test_own_probe_adds_its_measurement_and_changes_no_other(tmp_path: Path) -> None:
    curves = tmp_path / "run.nc"
    found = run("examples/own_probe.py", "--preset", "five_d", "--set", "steps=200", "--out", curves)
    metrics = found["metrics"]
    with xr.open_dataset(curves) as data:
        weights = data["w"].transpose("step", "run", ...).values[[0, -1], 0]  # (2, D, m)
    naive = [(np.linalg.norm(w) / np.linalg.norm(w, 2)) ** 2 for w in weights]
    assert [metrics["rank_start"][0], metrics["rank_end"][0]] == pytest.approx(naive)
    assert 2 < metrics["rank_start"][0] <= 6
    assert 1 <= metrics["rank_end"][0] < 1.05
    base = dt.find("condensation.directions")
    history = base.run(base.configure("five_d", steps=200))
    for name, values in base.metrics(history).items():
        np.testing.assert_array_equal(np.array(metrics[name], dtype=np.float64), values, err_msg=name)


def test_own_probe_adds_its_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, base = load("own_probe.py", monkeypatch)["EXPERIMENT"], dt.find("condensation.directions")
    history, frames = experiment.start([experiment.configure()], [0])
    empty = experiment.panels(history)
    for frame in frames:
        history.append(frame)
    panels = experiment.panels(history)
    for drawn in (empty, panels):
        assert [panel.title for panel in drawn[:-1]] == [panel.title for panel in base.panels(history)]
        assert drawn[-1].title == "Dimensions filled"
    np.testing.assert_array_equal(panels[-1].marks[0].y, history["stable_rank"][:, 0])


@pytest.mark.slow
def test_own_probe_by_itself() -> None:
    assert "aligned_5d holds" in python("examples/own_probe.py")


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
