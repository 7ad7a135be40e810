"""`parameters` under papermill itself, which injects a cell of its own."""

import subprocess
import sys
from pathlib import Path

import nbformat
import nbformat.v4 as nb
import pytest

pytestmark = pytest.mark.slow

CALL = "given = parameters(globals(), 'label_noise')\nprint(given)"


@pytest.fixture
def papermill(tmp_path):
    """Run a notebook with own variables above the dashboard; returns the process and what its cells have printed."""
    path, output = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    cells = [
        nb.new_code_cell("from dyntoolkit import parameters\nn = 5\nnois_std = 7"),
        nb.new_code_cell("preset = None\nlr = None", metadata={"tags": ["parameters"]}),
        nb.new_code_cell(CALL),
        nb.new_code_cell("n = 6\n" + CALL),  # again, in the same kernel
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)

    def run(*options: str) -> tuple["subprocess.CompletedProcess[str]", list[str]]:
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(path), str(output), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done, printed(output)

    return run


def printed(path: Path) -> list[str]:
    found = [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]
    return [output.text.strip() for output in found if output.output_type == "stream"]


def test_own_variables_and_papermills_paths_are_no_parameters(papermill):
    done, lines = papermill("--inject-paths", "-p", "lr", "0.2", "-y", "{noise_std: 1e-1, seed: 3}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert lines == ["{'seed': 3, 'lr': 0.2, 'noise_std': '1e-1'}"] * 2


def test_a_typo_is_refused(papermill):
    done, lines = papermill("-p", "nois_std", "0.1")
    assert done.returncode != 0
    assert "unknown parameter 'nois_std'. Did you mean 'noise_std'?" in done.stderr
    assert lines == []
