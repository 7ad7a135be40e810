import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from tiny_experiment import TINY

from dyntoolkit.app import gallery as module
from dyntoolkit.app.gallery import GENERAL, GROUPS, INDEX, WIDTH, card_of, card_path, gallery, notebooks
from dyntoolkit.catalog import registry
from dyntoolkit.errors import InputError


def png(width: int, height: int, color: tuple[int, int, int, int]) -> str:
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), color).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def write(path: Path, *texts: str, pictures: tuple[str, ...] = (), **metadata: str) -> Path:
    notebook = nbformat.v4.new_notebook(metadata={"dyntoolkit": metadata} if metadata else {})
    notebook.cells = [nbformat.v4.new_markdown_cell(text) for text in texts]
    outputs = [nbformat.v4.new_output("display_data", {"image/png": picture}) for picture in pictures]
    notebook.cells.append(nbformat.v4.new_code_cell("explore()", outputs=outputs))
    nbformat.write(notebook, path)
    return path


class Elements(HTMLParser):
    """The elements of a page: (tag, attributes)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_card_says_title_question_and_run_time(tmp_path: Path) -> None:
    text = "# Two phases\n\nWhy does *label noise* make a [lazy](x.md) network\nrich? It takes steps. And more."
    shown = card_of(write(tmp_path / "noise.ipynb", text, "# Later", run_time="2 s"))
    assert (shown.title, shown.question) == ("Two phases", "Why does label noise make a lazy network rich?")
    assert (shown.run_time, shown.link, shown.picture) == ("2 s", "noise.ipynb", None)


def test_question_of_the_metadata_wins(tmp_path: Path) -> None:
    assert card_of(write(tmp_path / "a.ipynb", "# A\n\nText.", question="Why?")).question == "Why?"


def test_notebook_without_a_heading_is_called_by_its_name(tmp_path: Path) -> None:
    shown = card_of(write(tmp_path / "own notes.ipynb", "only text"))
    assert (shown.title, shown.question, shown.link) == ("own notes", "", "own%20notes.ipynb")


def test_picture_is_the_first_one_scaled_down_on_white(tmp_path: Path) -> None:
    large, other = png(3 * WIDTH, 2 * WIDTH, (255, 0, 0, 128)), png(10, 10, (0, 0, 0, 255))
    shown = card_of(write(tmp_path / "a.ipynb", "# A", pictures=(large, other)))
    assert shown.picture is not None
    thumbnail = Image.open(io.BytesIO(shown.picture))
    assert thumbnail.size == (WIDTH, 2 * WIDTH // 3)
    red, green, blue = thumbnail.convert("RGB").getpixel((5, 5))
    assert red == 255
    assert green == blue
    assert abs(green - 127) <= 2


def test_thin_curve_keeps_its_colour(tmp_path: Path) -> None:
    figure = Image.linear_gradient("L").resize((WIDTH, WIDTH)).convert("RGB")
    for x in range(WIDTH):
        figure.putpixel((x, 100), (0, 158, 115))
    buffer = io.BytesIO()
    figure.save(buffer, "png")
    shown = card_of(write(tmp_path / "a.ipynb", "# A", pictures=(base64.b64encode(buffer.getvalue()).decode(),)))
    assert shown.picture is not None
    red, green, blue = Image.open(io.BytesIO(shown.picture)).convert("RGB").getpixel((50, 100))
    assert abs(red - 0) + abs(green - 158) + abs(blue - 115) < 20


def test_picture_drawn_for_the_card_wins(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ipynb", "# A", pictures=(png(10, 10, (0, 0, 0, 255)),))
    stored = card_of(path).picture
    drawn = base64.b64decode(png(48, 30, (255, 0, 0, 255)))
    card_path(path).parent.mkdir()
    card_path(path).write_bytes(drawn)
    assert card_of(path).picture == drawn
    card_path(path).unlink()
    assert card_of(path).picture == stored


def test_card_is_read_again_only_when_its_notebook_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.ipynb", "# A")
    first = card_of(path)
    monkeypatch.chdir(tmp_path)
    assert card_of(Path("a.ipynb")) is first
    assert card_of(write(path, "# Another")).title == "Another"


@pytest.mark.parametrize("path", [path for path in notebooks().glob("*.ipynb") if path.name not in GENERAL])
def test_own_notebooks_have_a_drawn_card_of_few_bytes(path: Path) -> None:
    drawn = card_path(path)
    with Image.open(drawn) as picture:
        assert picture.size == (480, 300)
    assert drawn.stat().st_size < 25_000


def test_gallery_has_a_card_per_notebook_but_itself(tmp_path: Path) -> None:
    write(tmp_path / "b.ipynb", "# B & <i>b</i>", pictures=(png(20, 10, (0, 0, 0, 255)),))
    write(tmp_path / "a.ipynb", "# A")
    write(tmp_path / "index.ipynb", "# Gallery")
    page = gallery(tmp_path).data
    elements = Elements(page)
    assert [link["href"] for link in elements.all("a")] == ["a.ipynb", "b.ipynb"]  # relative: any server, any folder
    (image,) = elements.all("img")
    assert image["alt"] == "Curves of one run: B & <i>b</i>"
    assert str(image["src"]).startswith("data:image/png;base64,")
    assert not elements.all("i")
    assert "://" not in page


def test_cards_stand_in_groups_in_the_house_order_and_say_what_they_need(tmp_path: Path) -> None:
    write(tmp_path / "a.ipynb", "# A", group="Own & new")
    write(tmp_path / "b.ipynb", "# B", group=GROUPS[1], needs="sums & <b>")
    write(tmp_path / "c.ipynb", "# C", group=GROUPS[0])
    write(tmp_path / "d.ipynb", "# D")
    write(tmp_path / "e.ipynb", "# E", group=GROUPS[0])
    page = gallery(tmp_path).data
    links = [link["href"] for link in Elements(page).all("a")]
    assert links == ["c.ipynb", "e.ipynb", "b.ipynb", "a.ipynb", "d.ipynb"]
    assert re.findall("<h2>(.*)</h2>", page) == [GROUPS[0], GROUPS[1], "Own &amp; new"]
    assert page.count("To understand it: ") == page.count("To understand it: sums &amp; &lt;b&gt;.") == 1


@pytest.mark.parametrize("path", [path for path in notebooks().glob("*.ipynb") if path.name not in GENERAL])
def test_own_notebooks_have_a_group_a_need_and_a_place_in_the_course(path: Path) -> None:
    card = card_of(path)
    assert card.group in GROUPS
    assert card.needs
    index = nbformat.read(path.parent / INDEX, nbformat.NO_CONVERT)
    course = next(cell.source for cell in index.cells if "six lessons" in cell.source)
    assert f"]({path.name})" in course


def test_gallery_shows_the_folder_it_runs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "index.ipynb", "# Gallery")
    write(tmp_path / "mine.ipynb", "# Mine")
    monkeypatch.chdir(tmp_path)
    assert [link["href"] for link in Elements(gallery().data).all("a")] == ["mine.ipynb"]


def test_gallery_elsewhere_shows_the_notebooks_of_the_toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {path.name for path in notebooks().glob("*.ipynb")} - set(GENERAL)
    assert {link["href"] for link in Elements(gallery().data).all("a")} == names


@pytest.mark.parametrize("text", ["no notebook", "[]", "{}", '{"cells": []}'])
def test_file_that_is_no_notebook_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.ipynb").write_text(text)
    with pytest.raises(InputError, match=r"broken\.ipynb is not a Jupyter notebook"):
        gallery(tmp_path)


def test_an_experiment_of_an_installed_package_has_a_card_that_links_to_the_page_of_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = replace(TINY, name="tiny.timed", title="A & B")
    monkeypatch.setattr(module, "entry_points", lambda group: ["one"] if group == "dyntoolkit.experiments" else [])
    monkeypatch.setattr(registry, "installed", lambda: (replace(TINY, seconds=None), timed))
    write(tmp_path / "a.ipynb", "# A")
    page = gallery(tmp_path).data
    links = [link["href"] for link in Elements(page).all("a")]
    assert links == ["a.ipynb", "experiment.ipynb?experiment=tiny.decay", "experiment.ipynb?experiment=tiny.timed"]
    assert "A &amp; B" in page
    assert "Does x shrink?" in page
    assert page.count("One run takes about 0.01 s") == 1


def test_gallery_imports_no_torch() -> None:
    code = (
        "import sys, dyntoolkit.app.gallery; sys.exit('torch' in sys.modules or 'dyntoolkit.phenomena' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
