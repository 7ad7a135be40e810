"""Run notebooks from top to bottom and store them with text and still pictures only: `make notebooks`.

With --cards only the pictures of the gallery's cards are drawn anew, and the gallery is stored with them.
"""

import argparse
import asyncio
import base64
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from dyntoolkit.app.gallery import GENERAL, INDEX, card_path
from dyntoolkit.catalog.registry import find
from dyntoolkit.figure.still import card_png, small_png

LIMIT = 300_000  # bytes; a notebook that is larger carries something that it should not
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
PNG = "image/png"
WIDGETS = ("application/vnd.jupyter.widget-view+json", "application/vnd.plotly.v1+json")


def store(path: Path) -> None:
    """Run one notebook and write it back. Raises ValueError, and writes nothing, if the result is too large or live."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    asyncio.run(client.async_execute())  # `execute()` would leave an event loop open until Python ends
    notebook.metadata = {
        "kernelspec": KERNEL,
        "language_info": {"name": "python"},
        "title": title(notebook),
        **({"dyntoolkit": notebook.metadata.dyntoolkit} if "dyntoolkit" in notebook.metadata else {}),
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        for output in cell.get("outputs", []):
            live = [mime for mime in WIDGETS if mime in output.get("data", {})]
            if live:
                raise ValueError(f"{path.name} would store live output ({live[0]})")
            if PNG in output.get("data", {}):
                picture = small_png(base64.b64decode(output.data[PNG]))
                output.data[PNG] = base64.b64encode(picture).decode()
    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    if len(text.encode()) > LIMIT:
        raise ValueError(f"{path.name} would have {len(text.encode())} bytes, more than {LIMIT}")
    path.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")


def title(notebook: nbformat.NotebookNode) -> str:
    """The first heading: Voila makes it the title of the page."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
    if heading is None:
        raise ValueError("a notebook needs a heading")
    return heading[1].strip()


def draw_card(path: Path) -> None:
    """Draw the picture of a notebook's card: one panel of its first experiment's default run, if it explores one.

    It is the experiment's first panel, or the one whose title the notebook's metadata `dyntoolkit.panel` holds.
    Raises ValueError, and writes nothing, if there is no such panel.
    """
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    explored = re.search(r"""explore\(\s*["']([\w.]+)["']""", code)
    if explored is None:
        return
    experiment = find(explored[1])
    panels = experiment.panels(experiment.run())
    title = notebook.metadata.get("dyntoolkit", {}).get("panel", panels[0].title)
    chosen = [panel for panel in panels if panel.title == title]
    if not chosen:
        raise ValueError(f"{path.name}: {experiment.name} has no panel {title!r}; it has {[p.title for p in panels]}")
    card_path(path).parent.mkdir(exist_ok=True)
    card_path(path).write_bytes(card_png(chosen[0]))


def main(folder: Path, *, cards: bool = False) -> None:
    """Store every notebook of a folder and draw its card, the gallery last: it shows the cards of the others.

    cards: only draw the cards, and store the gallery.
    """
    paths = sorted(folder.glob("*.ipynb"), key=lambda path: path.name == INDEX)
    for path in paths:
        if not cards or path.name == INDEX:
            store(path)
            print(f"{path} {path.stat().st_size:,} bytes")
        if path.name not in GENERAL:
            draw_card(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cards", action="store_true")
    arguments = parser.parse_args()
    main(arguments.folder, cards=arguments.cards)
