"""What `make notebooks` stores: text and still pictures, nothing that changes with the day or the machine."""

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import nbformat.v4 as nb
import pytest

import dyntoolkit
from dyntoolkit.figure.panels import Panel

SCRIPT = Path(dyntoolkit.__file__).parent.parent / ".ci" / "store_notebooks.py"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SCRIPT.is_file(), reason="needs a checkout")]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("store_notebooks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path: Path, *code: str, heading: str = "# A heading\n\nText.") -> Path:
    cells = [nb.new_markdown_cell(heading), *[nb.new_code_cell(source) for source in code]]
    metadata = {
        "widgets": {"state": 1},
        "dyntoolkit": {"run_time": "1 s"},
        "kernelspec": {"name": "own", "display_name": "Own"},
    }
    nbformat.write(nb.new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_runs_every_notebook_and_the_gallery_last(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("index", "z", "a"):
        write(tmp_path / f"{name}.ipynb", "print(6 * 7)")
    script.main(tmp_path)
    assert [Path(line.split()[0]).stem for line in capsys.readouterr().out.splitlines()] == ["a", "z", "index"]
    stored = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    assert stored.cells[1].outputs[0].text == "42\n"
    assert stored.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "title": "A heading",
        "dyntoolkit": {"run_time": "1 s"},
    }
    assert "execution" not in stored.cells[1].metadata


def test_a_card_shows_one_panel_of_the_first_experiment(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Panel] = []
    monkeypatch.setattr(script, "card_png", lambda panel: drawn.append(panel) or b"png")
    explored = 'explore(\n    "label_noise.linear", steps=100)\nexplore("grokking.oned")'
    path = write(tmp_path / "a.ipynb", explored)
    script.draw_card(path)
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.dyntoolkit.panel = "Alignment and kernel change"
    nbformat.write(notebook, path)
    script.draw_card(path)
    assert [panel.title for panel in drawn] == ["First-layer norm", "Alignment and kernel change"]
    assert (tmp_path / "cards" / "a.png").read_bytes() == b"png"

    notebook.metadata.dyntoolkit.panel = "Nothing"
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match=r"a\.ipynb: label_noise\.linear has no panel 'Nothing'; it has \['First"):
        script.draw_card(path)


def test_cards_alone_run_no_notebook_but_the_gallery(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write(tmp_path / "a.ipynb", "print(6 * 7)").read_text()
    write(tmp_path / "index.ipynb", "print(6 * 7)")
    script.main(tmp_path, cards=True)
    assert [Path(line.split()[0]).stem for line in capsys.readouterr().out.splitlines()] == ["index"]
    assert (tmp_path / "a.ipynb").read_text() == before
    assert not (tmp_path / "cards").exists()  # it explores nothing


def test_storing_twice_changes_nothing(script: ModuleType, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ipynb", "1 + 1")
    script.store(path)
    once = path.read_text()
    script.store(path)
    assert path.read_text() == once


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import ipywidgets\nipywidgets.IntSlider()", "would store live output"),
        ("print('x' * 300_000)", "more than 300000"),
    ],
)
def test_refuses_what_is_live_or_large_and_leaves_the_file(
    script: ModuleType, tmp_path: Path, code: str, problem: str
) -> None:
    path = write(tmp_path / "a.ipynb", code)
    before = path.read_text()
    with pytest.raises(ValueError, match=problem):
        script.store(path)
    assert path.read_text() == before


def test_asks_for_a_heading(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a heading"):
        script.store(write(tmp_path / "a.ipynb", "1", heading="only text"))
