"""`dyntoolkit show`: its tables, and the notebook whose page it serves."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from tiny_experiment import TINY

from dyntoolkit.app import cli
from dyntoolkit.catalog.sweep import sweep


@pytest.fixture
def swept(tmp_path):
    folder = tmp_path / "it's mine"
    with ThreadPoolExecutor(1) as executor:
        sweep(TINY, {"lr": [0.0, 0.5]}, out=folder, executor=executor)
    return folder


@pytest.fixture
def served(monkeypatch):
    """The options and the notebook, as text, of what a server would have shown."""
    asked = []
    monkeypatch.setattr(cli, "serve_command", lambda options, page: asked.append((options, page.read_text())) or 0)
    return asked


def test_the_tables_come_first_and_then_a_page_of_the_sweep_alone(swept, served, capsys, monkeypatch):
    monkeypatch.chdir(swept.parent)
    assert cli.main(["show", swept.name, "--port", "8977", "--no-browser"]) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[:2] == ["tiny.decay, 2 of 2 runs, seed 0", "lr   end       start  t_small"]
    ((options, text),) = served
    assert (options.port, options.no_browser) == (8977, True)
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.dyntoolkit.alone
    assert notebook.cells[1].outputs[0].text == table.rstrip("\n")
    assert notebook.cells[1].source.endswith(f'view = dt.show_sweep("{swept}")')  # with a quote in its name


def test_of_long_tables_the_page_stores_the_beginning(tmp_path, served, capsys):
    with ThreadPoolExecutor(1) as executor:
        sweep(TINY, {"pull": [k / 200 for k in range(150)]}, out=tmp_path, executor=executor)
    assert cli.main(["show", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 152
    ((_, text),) = served
    assert nbformat.reads(text, as_version=4).cells[1].outputs[0].text.splitlines() == [*printed[:100], "…"]


def test_with_print_no_page_is_served(swept, served, capsys):
    assert cli.main(["show", str(swept), "--print"]) == 0
    assert capsys.readouterr().out.startswith("tiny.decay, 2 of 2 runs")
    assert served == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "there is no sweep in {}."), ("{}", "{}/sweep.json is damaged, or of something else: no sweep.")],
)
def test_what_is_no_sweep_is_refused_in_one_sentence(tmp_path, served, capsys, content, sentence):
    if content is not None:
        Path(tmp_path, "sweep.json").write_text(content)
    assert cli.main(["show", str(tmp_path)]) == 2
    assert capsys.readouterr() == ("", f"dyntoolkit: {sentence.format(tmp_path)}\n")
    assert served == []
