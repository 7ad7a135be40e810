"""The notebooks without a front end: what they store, and what papermill makes of them."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dyntoolkit
from dyntoolkit.catalog.registry import find

NOTEBOOKS = Path(dyntoolkit.__file__).parent.parent / "notebooks"
NAMES = [
    "label_noise",
    "cross_task_linearity",
    "loss_spikes",
    "condensation",
    "grokking",
    "schedules",
    "flatness",
    "chaos",
    "attention",
    "kernels",
    "laboratory",
]
SHORT = {
    "label_noise": {"steps": 500},
    "cross_task_linearity": {"steps": 30, "pretrain_steps": 10, "width": 32},
    "loss_spikes": {"steps": 500, "width": 5, "n_train": 20},
    "condensation": {"steps": 20},
    "grokking": {"steps": 500, "width": 20},
    "schedules": {"data": 8000, "n_features": 100},
    "flatness": {"steps": 500, "width": 16},
    "chaos": {"steps": 500, "width": 16, "n_train": 300},
    "attention": {"steps": 100, "batch_size": 32},
    "kernels": {"steps": 100, "width": 30},
    "laboratory": {"steps": 20, "width": 8},
}


def papermill(path: Path, output: Path, **parameters: Any) -> "subprocess.CompletedProcess[str]":
    options = [text for key, value in parameters.items() for text in ("-p", key, str(value))]
    command = [sys.executable, "-m", "papermill", "-k", "python3", str(path), str(output), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)


def first_part(name: str, folder: Path) -> Path:
    """A copy up to the claims of the experiment that the parameters are for, without pictures.

    What follows, its controls and other experiments, trains for long: nbval runs it, and papermill all of label_noise
    in tests/test_readme.py.
    """
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    (end,) = (k for k, cell in enumerate(notebook["cells"]) if "nbval-check-output" in cell["metadata"].get("tags", []))
    notebook["cells"] = [cell | ({"outputs": []} if "outputs" in cell else {}) for cell in notebook["cells"][: end + 1]]
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def cells(path: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return loaded


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_one_plain_assignment_per_line_and_name_every_field(name):
    (cell,) = [c for c in cells(NOTEBOOKS / f"{name}.ipynb") if "parameters" in c["metadata"].get("tags", [])]
    lines = "".join(cell["source"]).splitlines()
    names = [line.split(" = ")[0] for line in lines]
    assert sorted(names) == sorted(["preset", "seed", "n_seeds", *find(name).config.sliders()])
    for line in lines:
        (statement,) = ast.parse(line).body
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)


@pytest.mark.parametrize("name", NAMES)
def test_the_cell_with_the_claims_is_compared_strictly_by_nbval(name):
    (cell,) = [c for c in cells(NOTEBOOKS / f"{name}.ipynb") if "nbval-check-output" in c["metadata"].get("tags", [])]
    (output,) = cell["outputs"]
    words = "".join(output["data"]["text/plain"]).split()
    assert {claim.id for claim in find(name).claims if claim.sweep is None} <= set(words)


@pytest.mark.parametrize("name", NAMES)
def test_words_beside_the_buttons_of_presets_hold_no_formula_which_a_widget_would_show_as_typed(name):
    sources = ["".join(cell["source"]) for cell in cells(NOTEBOOKS / f"{name}.ipynb")]
    looked_for = [source for source in sources if re.search(r"^(dt\.)?look_for\(", source, re.MULTILINE)]
    assert looked_for
    assert not [source for source in looked_for if "$" in source]


@pytest.mark.parametrize("name", [*NAMES, "index"])
def test_stored_notebooks_hold_text_and_still_pictures_only(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    assert path.stat().st_size < 300_000
    assert "widgets" not in json.loads(path.read_text(encoding="utf-8"))["metadata"]
    outputs = [output for cell in cells(path) for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert {mime for output in outputs for mime in output.get("data", {})} <= {
        "image/png",
        "text/html",
        "text/markdown",
        "text/plain",
    }


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("label_noise", {"preset": "two_phase", "noise_std": 0}),
        ("cross_task_linearity", {"preset": "independent", "n_seeds": 2}),
        ("loss_spikes", {"preset": "amsgrad", "lr": 0.05}),
        ("condensation", {"preset": "generic", "width": 30}),
        ("grokking", {"preset": "uniform", "noise_std": 0.1}),
        ("schedules", {"preset": "random_start", "noise_std": 0.5}),
        ("flatness", {"preset": "clean", "rho": 0.1}),
        ("chaos", {"preset": "noisy_cosine", "eps": 0.001}),
        ("attention", {"preset": "whitened", "n_context": 40}),
        ("kernels", {"preset": "rich", "noise_std": 0.1}),
        ("laboratory", {"preset": "wrong_labels", "watch_sharpness": True}),
    ],
)
def test_papermill_runs_it_and_stores_text_and_still_pictures(tmp_path, name, parameters):
    output = tmp_path / "out.ipynb"
    done = papermill(first_part(name, tmp_path), output, **SHORT[name], **parameters)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(output.read_text(encoding="utf-8"))
    assert "widgets" not in found["metadata"]
    pictures = [o for cell in found["cells"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert pictures
    assert "widget-view" not in output.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"nois_std": 0}, "unknown parameter 'nois_std'. Did you mean 'noise_std'?"),
        ({"noise_std": 9}, "noise_std takes a number from 0 to 4, got 9."),
        ({"preset": "two_fase"}, "unknown preset 'two_fase'. Did you mean 'two_phase'?"),
        ({"lr": "fast"}, "lr takes a number from 0.01 to 0.4, got 'fast'."),
        ({"seed": -1}, "seed takes a whole number from 0"),
    ],
)
def test_a_wrong_parameter_ends_the_run_with_one_sentence(tmp_path, parameters, sentence):
    done = papermill(NOTEBOOKS / "label_noise.ipynb", tmp_path / "out.ipynb", **parameters)
    assert done.returncode != 0
    assert sentence in done.stderr
