"""Run notebooks from top to bottom and store them with text and still pictures only: `make notebooks`."""

import asyncio
import base64
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from dyntoolkit.figure.still import small_png

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


def main(folder: Path) -> None:
    """Store every notebook of a folder, the gallery last: it shows the pictures of the others."""
    paths = sorted(folder.glob("*.ipynb"), key=lambda path: path.name == "index.ipynb")
    for path in paths:
        store(path)
        print(f"{path} {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
