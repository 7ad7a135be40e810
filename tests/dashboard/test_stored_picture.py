"""The picture in the notebook's file."""

import base64
import json

import nbformat
import nbformat.v4 as nb
import pytest

from dyntoolkit.dashboard import stored_picture as module
from dyntoolkit.dashboard.stored_picture import stored_picture

PNG = b"\x89PNG and so on"


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A file with a picture in its cell "c2", as jupyter_server and JupyterLab name them."""
    path = tmp_path / "a page.ipynb"
    picture = nb.new_output("display_data", {"image/png": base64.encodebytes(PNG).decode()})
    cells = [
        nb.new_markdown_cell("# Ξ", id="c0"),
        nb.new_code_cell("1", id="c1", outputs=[nb.new_output("stream", text="no picture")]),
        nb.new_code_cell("2", id="c2", outputs=[nb.new_output("stream", text="words"), picture]),
    ]
    nbformat.write(nb.new_notebook(cells=cells), path)
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    monkeypatch.setattr(module, "cell", lambda: "c2")
    monkeypatch.setattr(module, "is_voila", lambda: False)
    return path


def test_it_is_that_of_the_present_cell(notebook, monkeypatch):
    assert isinstance(json.loads(notebook.read_text())["cells"][2]["outputs"][1]["data"]["image/png"], str | list)
    assert stored_picture() == PNG
    for other in ("c0", "c1", "c9", ""):
        monkeypatch.setattr(module, "cell", lambda other=other: other)
        assert stored_picture() == b""


def test_a_page_of_voila_shows_it_by_itself(notebook, monkeypatch):
    monkeypatch.setattr(module, "is_voila", lambda: True)
    assert stored_picture() == b""


@pytest.mark.parametrize("content", ["", "no notebook", '{"worksheets": []}'])
def test_without_a_notebook_there_is_none(notebook, monkeypatch, content):
    notebook.write_text(content)
    assert stored_picture() == b""
    notebook.unlink()
    assert stored_picture() == b""
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert stored_picture() == b""
