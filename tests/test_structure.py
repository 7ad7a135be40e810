"""Arrows point down only, experiments all read alike, and the README's picture shows the rooms that there are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dyntoolkit
from dyntoolkit.phenomena import EXPERIMENTS

PACKAGE = Path(dyntoolkit.__file__).parent
PHENOMENA = PACKAGE / "phenomena"
PICTURE = PACKAGE.parent / "notebooks" / "structure.svg"
FLOORS = (  # from the ground up: a room imports only from floors below its own
    ("errors", "data", "whole_file", "cache_folder", "notebooks_folder"),
    ("engine", "plotly_js"),
    ("probes", "figure"),
    ("experiment",),
    ("laboratory",),
    ("phenomena",),
    ("catalog",),
    ("dashboard",),
    ("app",),
    ("__init__", "__main__"),  # the public face, which loads a room when a name of it is used
)
SCREENS = {"anywidget", "ipywidgets", "IPython", "matplotlib", "plotly", "traitlets", "voila"}
HEADINGS = ["Settings and presets", "Data, model, step", "What is measured, claims", "Figure", "The record"]
LONGEST = 700  # lines of an experiment's file


def imported(path: Path) -> Iterator[str]:
    """The names of all modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} does not say where line {node.lineno} imports from"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def floor(room: str) -> int:
    (where,) = [k for k, names in enumerate(FLOORS) if room in names]
    return where


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", files(PACKAGE), ids=name_of)
def test_a_room_imports_from_below_only(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    modules = list(imported(path))
    for module in modules:
        parts = module.split(".")
        if parts[0] != "dyntoolkit" or parts[1:] in ([], ["__version__"]):
            continue
        assert parts[1] == own or floor(parts[1]) < floor(own), f"{own} imports {module}"
        if parts[1] == "phenomena" != own:
            assert parts[2:] in ([], ["EXPERIMENTS"]), f"{own} knows {module}"
    if floor(own) <= floor("phenomena") and own != "figure":
        assert not SCREENS & {module.split(".")[0] for module in modules}


def test_the_rooms_are_those_of_the_floors() -> None:
    there = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert there == {room for rooms in FLOORS for room in rooms}


# Phenomena.


@pytest.mark.parametrize("path", files(PHENOMENA), ids=name_of)
def test_no_phenomenon_knows_another(path: Path) -> None:
    parts = path.relative_to(PHENOMENA).parts
    for module in imported(path):
        if not module.startswith("dyntoolkit.phenomena.") or parts == ("__init__.py",):
            continue
        other = module.split(".")[2]
        assert other.startswith("_") or other == parts[0], f"{name_of(path)} imports {module}"


def file_of(name: str) -> Path:
    """The file, or the folder, of the experiment of that name."""
    path = PHENOMENA.joinpath(*name.split("."))
    return path if path.is_dir() else path.with_suffix(".py")


def headings(path: Path) -> list[str]:
    """The headings in a file, or in all files of a folder."""
    texts = [path.read_text()] if path.is_file() else [inner.read_text() for inner in sorted(path.glob("*.py"))]
    return [found for text in texts for found in re.findall(r"^# ---- (.*) ----$", text, re.MULTILINE)]


@pytest.mark.parametrize("name", [experiment.name for experiment in EXPERIMENTS])
def test_an_experiment_reads_like_every_other(name: str) -> None:
    path = file_of(name)
    found = headings(path)
    if path.is_file():
        assert found == HEADINGS
        assert len(path.read_text().splitlines()) <= LONGEST
    else:  # too much for one file: each part under its heading
        assert sorted(set(found)) == sorted(HEADINGS)


def test_every_other_module_of_a_phenomenon_begins_with_an_underscore() -> None:
    experiments = {file_of(experiment.name) for experiment in EXPERIMENTS}
    others = [
        name_of(path)
        for path in files(PHENOMENA)
        if not path.name.startswith("_") and path not in experiments and path.parent not in experiments
    ]
    assert others == []


# The picture.


def test_the_picture_shows_the_rooms_and_nothing_else() -> None:
    names = set(re.findall(r"\b(?:[a-z_]+\.py\b|[a-z]+(?=/<))", PICTURE.read_text()))
    within = {
        "loop.py": "engine",
        "history.py": "engine",
        "config.py": "experiment",
        "claims.py": "experiment",
        "judging.py": "experiment",
        "record.py": "experiment",
        "panels.py": "figure",
        "registry.py": "catalog",
        "run.py": "catalog",
        "check.py": "catalog",
    }
    assert all((PACKAGE / room / name).is_file() for name, room in within.items())
    rooms = {f"{name}.py" if (PACKAGE / f"{name}.py").is_file() else name for names in FLOORS for name in names}
    small = {"errors", "whole_file", "cache_folder", "notebooks_folder", "plotly_js", "__init__", "__main__"}
    assert names - set(within) - {"notebooks"} == rooms - {f"{name}.py" for name in small}
