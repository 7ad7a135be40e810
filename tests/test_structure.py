"""Arrows point down only, and the README's picture shows the rooms that there are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dyntoolkit

PACKAGE = Path(dyntoolkit.__file__).parent
PICTURE = PACKAGE.parent / "notebooks" / "structure.svg"
ROOMS = ("engine", "probes", "phenomena", "explore")
FLOORS = (  # from the ground up: a room imports only from floors below its own
    ("__init__", "errors"),
    ("engine", "config", "panels"),
    ("probes", "data", "claims", "plotly_figure", "picture"),
    ("experiment",),
    ("course", "swept"),
    ("phenomena", "judge"),
    ("train", "report", "gallery"),
    ("explore", "serve"),
    ("cli",),
    ("__main__",),
)
SCREENS = {"anywidget", "ipywidgets", "IPython", "matplotlib", "plotly", "traitlets", "voila"}


def imported(path: Path) -> Iterator[str]:
    """The names of all modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "dyntoolkit":
            yield from (f"dyntoolkit.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def floor(name: str) -> int:
    """Where a room lies; a name of the package itself, such as __version__, lies at the bottom."""
    (where,) = [k for k, names in enumerate(FLOORS) if name in names] or [0]
    return where


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_from_below_only(path: Path) -> None:
    own, modules = room(path), list(imported(path))
    assert any(own in names for names in FLOORS), f"{own} is on no floor"
    for module in modules:
        if not module.startswith("dyntoolkit"):
            continue
        _, other, *rest = *module.split("."), "__init__"
        assert other == own or floor(other) < floor(own), f"{own} imports {module}"
        if other == "phenomena" != own:
            assert rest in ([], ["__init__"]), f"{own} knows {module}"
    if own in ("engine", "probes", "phenomena"):
        assert not SCREENS & {module.split(".")[0] for module in modules}


def test_the_picture_shows_the_rooms_and_nothing_else() -> None:
    names = set(re.findall(r"\b(?:[a-z_]+\.py\b|[a-z]+(?=/<))", PICTURE.read_text()))
    within = {"loop.py", "history.py"}  # of the engine
    there = {f"{name}.py" if (PACKAGE / f"{name}.py").is_file() else name for names in FLOORS for name in names}
    assert all((PACKAGE / "engine" / name).is_file() for name in within)
    small = {"errors.py", "__init__.py", "__main__.py", "course.py", "swept.py"}
    assert names - within - {"notebooks"} == there - small
