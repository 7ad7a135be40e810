"""What a person gets who has no checkout, and that the files around the package agree with each other."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import dyntoolkit

ROOT = Path(dyntoolkit.__file__).parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs a checkout")


def pins() -> dict[str, str]:
    """Normalized name -> version of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive


def test_wheel_carries_notebooks_page_and_board(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"dyntoolkit/notebooks/{notebook.name}" in names
    for card in (ROOT / "notebooks" / "cards").glob("*.png"):
        assert f"dyntoolkit/notebooks/cards/{card.name}" in names
    for path in (ROOT / "dyntoolkit").rglob("*"):
        if path.is_file() and path.suffix in (".py", ".js", ".css", ".j2", ".html", ".json"):
            assert path.relative_to(ROOT).as_posix() in names


def test_wheel_carries_nothing_else(wheel: zipfile.ZipFile) -> None:
    version = dyntoolkit.__version__
    for name in wheel.namelist():
        assert name.startswith(("dyntoolkit/", f"dyntoolkit-{version}.dist-info/")), name
        assert ".ipynb_checkpoints" not in name
        assert "__pycache__" not in name


def test_installed_notebooks_are_found_without_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    with zipfile.ZipFile(str(wheel.filename)) as archive:
        archive.extractall(tmp_path)
    code = "from dyntoolkit.app.gallery import notebooks; print(notebooks())"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    assert Path(found) == tmp_path / "dyntoolkit" / "notebooks"


def test_pins_are_within_the_bounds_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *extras["test"], *extras["dev"]]:
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            assert requirement.specifier.contains(pins()[requirement.name.lower()]), text


def test_pins_have_no_local_versions() -> None:
    assert [version for version in pins().values() if "+" in version] == []
    assert pins()["torch"] == "2.13.0"


def test_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == dyntoolkit.__version__
    assert citation["license"] == "BSD-3-Clause"


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_stored_notebook_is_small_and_still(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert path.stat().st_size < 300_000
    assert "widgets" not in notebook["metadata"]
    assert "application/vnd.jupyter.widget-view+json" not in path.read_text()
    assert notebook["metadata"]["title"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert all(cell["outputs"] for cell in notebook["cells"][-1:] if cell["cell_type"] == "code")


def test_make_installs_once_and_prepares_every_target(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    for target in ("serve", "lab", "test", "lint", "format", "notebooks"):
        command = ["make", "-n", f"VENV={environment}", target]
        steps = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        assert "-c constraints.txt -e '.[dev]'" in steps
    (environment / ".ready").touch()
    steps = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "pip" not in steps
