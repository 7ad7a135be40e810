"""The code that a stored notebook shows is the code that runs."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import dyntoolkit

NOTEBOOKS = sorted((Path(dyntoolkit.__file__).parent.parent / "notebooks").glob("*.ipynb"))


def shown(path: Path) -> list[tuple[str, str]]:
    """The text of each `source(...)` that ends a cell, as it is stored and as it would be now.

    Of the cells only imports and assignments of plain values are carried out. EXPERIMENT is what the page of any
    experiment makes of its parameter.
    """
    known: dict[str, Any] = {}
    found = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.parse("".join(cell["source"])).body:
            plain = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            if plain or isinstance(node, ast.Import | ast.ImportFrom):
                exec(compile(ast.Module([node], []), path.name, "exec"), known)
            elif ast.unparse(node).removeprefix("dt.").startswith("source("):
                stored = [text for output in cell["outputs"] if (text := output.get("data", {}).get("text/markdown"))]
                now = eval(ast.unparse(node), known | {"EXPERIMENT": known.get("experiment")}).data
                found.append(("".join(stored[-1]), now))
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_shows_the_code_as_it_is(path: Path) -> None:
    found = shown(path)
    assert found or path.stem == "index"
    for stored, now in found:
        assert stored == now, f"{path.name} is to be stored anew"
