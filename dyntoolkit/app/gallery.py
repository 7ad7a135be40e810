"""The gallery: a card per notebook, made from what the notebooks store. It imports no torch, so the page opens fast."""

import base64
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from IPython.display import HTML
from PIL import Image

from dyntoolkit.errors import InputError
from dyntoolkit.notebooks_folder import notebooks

PACKAGE = Path(__file__).parents[1]
ANY = "experiment.ipynb"  # shows the experiment that its address names
INDEX = "index.ipynb"  # the gallery itself
GENERAL = (INDEX, ANY)  # notebooks without a card
HANDS = "hands"  # the tag of cells for a reader who writes code
GROUP = "dyntoolkit.experiments"  # of entry points
WIDTH = 480  # pixels of a thumbnail: sharp on a card of up to 20 rem
CARDS = "cards"  # folder beside the notebooks: pictures drawn for the gallery

# In this order; a card of no group, or of another one, comes after them.
GROUPS = (
    "Noise",
    "Optimizers and schedules",
    "Geometry of training",
    "Generalization",
    "Attention",
    "Your own",
)

STYLE = """<style>
.dyntoolkit-gallery { display: flex; flex-wrap: wrap; gap: 1rem; max-width: 72rem;
  color: var(--jp-content-font-color1, inherit); }
.dyntoolkit-gallery section { flex: 0 1 calc(var(--cards) * 18.25rem - 1rem); min-width: min(100%, 15rem);
  display: flex; flex-direction: column; }
.dyntoolkit-gallery h2 { margin: 0.25rem 0 0.5rem; font-size: 1.1em; font-weight: 600; }
.dyntoolkit-gallery [role="list"] { display: grid; gap: 1rem; flex: 1;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
.dyntoolkit-gallery [role="listitem"] { position: relative; border: 1px solid var(--jp-border-color1, #888);
  border-radius: 6px; overflow: hidden; background: var(--jp-layout-color1, transparent); }
.dyntoolkit-gallery [role="listitem"]:hover { border-color: var(--jp-brand-color1, #0072B2); }
.dyntoolkit-gallery [role="listitem"]:focus-within { outline: 3px solid var(--jp-brand-color1, #0072B2);
  outline-offset: 1px; }
.dyntoolkit-gallery a { font-size: 1.15em; font-weight: 600; }
.dyntoolkit-gallery a::after { content: ""; position: absolute; inset: 0; }
.dyntoolkit-gallery a:focus { outline: none; }
.dyntoolkit-gallery img, .dyntoolkit-gallery svg { display: block; width: 100%; height: auto; aspect-ratio: 8 / 5;
  margin: 0; object-fit: contain; background: white; }
.dyntoolkit-gallery svg { background: var(--jp-layout-color2, #ddd); }
.dyntoolkit-gallery p { margin: 0.5rem 0.75rem; }
.dyntoolkit-gallery small { color: var(--jp-content-font-color2, inherit); }
</style>"""


@dataclass(frozen=True)
class Card:
    """What the gallery shows of one notebook.

    run_time: how long its default run takes. picture: PNG bytes. group: of GROUPS, or another word, or "". needs: what
    a reader should know to understand it.
    """

    link: str
    title: str
    question: str
    run_time: str
    picture: bytes | None
    group: str = ""
    needs: str = ""


def gallery(folder: Path | str | None = None) -> HTML:
    """A card for every notebook of `folder` but its general ones, with picture, question, what it needs, run time and
    link, by groups; then one for every experiment of an installed package.

    folder: the gallery's own one by default: the current folder if INDEX lies there, else that of the toolkit.
    Raises InputError for a file that is no notebook.
    """
    if folder is None:
        folder = Path.cwd() if Path(INDEX).is_file() else notebooks()
    paths = sorted(path for path in Path(folder).glob("*.ipynb") if path.name not in GENERAL)
    page = cards_html([*map(card_of, paths), *_cards_of_installed()])
    return HTML(page)  # type: ignore[no-untyped-call]


def cards_html(cards: Iterable[Card]) -> str:
    """The cards by groups, with their style sheet."""
    groups: dict[str, list[Card]] = {group: [] for group in GROUPS}
    for card in cards:
        groups.setdefault(card.group, []).append(card)
    shown = "\n".join(_section(group, cards) for group, cards in groups.items() if cards)
    return f'{STYLE}\n<div class="dyntoolkit-gallery">\n{shown}\n</div>'


def card_of(path: Path) -> Card:
    """The card of one notebook, made anew only when one of its files has changed.

    The title is its first heading; the question is the first sentence after that, or `question` of the notebook's
    metadata "dyntoolkit", which also holds `run_time`, `group` and `needs`; the picture is the one drawn for it in
    CARDS, or else the first one that it stores. Raises InputError for a file that is no notebook.
    """
    drawn = card_path(path)
    return _read(path.resolve(), _stamp(path), drawn.resolve() if drawn.is_file() else None, _stamp(drawn))


def card_path(notebook: Path) -> Path:
    """Where the picture lies that is drawn for a notebook's card."""
    return notebook.parent / CARDS / f"{notebook.stem}.png"


def _stamp(path: Path) -> tuple[int, int]:
    """Changes whenever the file does; of a file that is not there (0, 0)."""
    if not path.is_file():
        return 0, 0
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=256)
def _read(path: Path, _notebook: tuple[int, int], drawn: Path | None, _drawn: tuple[int, int]) -> Card:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells, metadata = notebook["cells"], notebook["metadata"].get("dyntoolkit", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path.name} is not a Jupyter notebook.", path.name) from None
    title, text = _opening(cells)
    return Card(
        link=quote(path.name),
        title=title or path.stem,
        question=metadata.get("question", text),
        run_time=metadata.get("run_time", ""),
        picture=drawn.read_bytes() if drawn else next((_thumbnail(image) for image in _images(cells)), None),
        group=metadata.get("group", ""),
        needs=metadata.get("needs", ""),
    )


def _cards_of_installed() -> Iterator[Card]:
    """The experiments of installed packages, each on the page that shows any experiment."""
    if not entry_points(group=GROUP):
        return  # the rule: then nothing heavy is loaded
    from dyntoolkit.catalog.registry import installed

    for experiment in installed():
        link = f"{ANY}?{urlencode({'experiment': experiment.name})}"
        time = "" if experiment.seconds is None else f"{experiment.seconds:g} s"
        yield Card(link, experiment.title, experiment.question, time, None)


def _opening(cells: list[dict[str, Any]]) -> tuple[str, str]:
    """The first heading of a notebook and the first sentence after it, as plain text."""
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    heading = re.search(r"^#+ +(.+)$", text, re.MULTILINE)
    if heading is None:
        return "", ""
    paragraph = text[heading.end() :].strip().split("\n\n")[0].replace("\n", " ")
    sentence = re.match(r".*?[.?!](?=\s|$)", paragraph)
    return _plain(heading[1]), _plain(sentence[0] if sentence else paragraph)


def _plain(markdown: str) -> str:
    """Markdown without the marks of links, emphasis and code."""
    return re.sub(r"[*`]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown)).strip()


def _images(cells: list[dict[str, Any]]) -> Iterator[bytes]:
    """The stored PNG pictures of a notebook, in order."""
    for cell in cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield base64.b64decode("".join(output["data"]["image/png"]))


def _thumbnail(png: bytes) -> bytes:
    """A picture scaled down to WIDTH, on white, in 256 colours, as PNG."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    small = paper.convert("RGB")
    small.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Thin curves keep their colours, in a quarter of the bytes.
    few = small.quantize(256, method=Image.Quantize.MAXCOVERAGE)
    few.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _section(group: str, cards: list[Card]) -> str:
    """The cards of one group under its name; those of none have no heading."""
    heading = f"<h2>{escape(group)}</h2>\n" if group else ""
    items = "\n".join(map(_html, cards))
    return f'<section style="--cards: {len(cards)}">\n{heading}<div role="list">\n{items}\n</div></section>'


def _html(card: Card) -> str:
    """One card; the link covers all of it."""
    if card.picture is None:
        picture = '<svg viewBox="0 0 8 5" aria-hidden="true"></svg>'
    else:
        data = base64.b64encode(card.picture).decode()
        picture = f'<img width="320" src="data:image/png;base64,{data}" alt="Curves of one run: {escape(card.title)}">'
    needs = f"<p><small>To understand it: {escape(card.needs)}.</small></p>" if card.needs else ""
    time = f"<p><small>One run takes about {escape(card.run_time)}</small></p>" if card.run_time else ""
    return (
        f'<div role="listitem">{picture}'
        f'<p><a href="{escape(card.link)}">{escape(card.title)}</a></p><p>{escape(card.question)}</p>'
        f"{needs}{time}</div>"
    )
