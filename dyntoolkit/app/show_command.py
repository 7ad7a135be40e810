"""`dyntoolkit show`."""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

PAGE = "sweep.ipynb"
LINES = 100  # of the tables that the page shows until it is live


def show_command(options: argparse.Namespace, serve: Callable[[Path], int]) -> int:
    """`dyntoolkit show`: what a sweep has found, finished or not, as tables, and then on a page.

    serve(notebook): serves the page of a notebook, and returns an exit code.
    """
    from dyntoolkit.app.sweep_table import sweep_text  # these import torch
    from dyntoolkit.catalog.open_sweep import open_sweep

    folder = Path(options.folder).resolve()
    text = sweep_text(open_sweep(folder))
    print(text, flush=True)
    if options.print:
        return 0
    with tempfile.TemporaryDirectory(prefix="dyntoolkit-") as place:
        notebook = Path(place, PAGE)
        notebook.write_text(_notebook(folder, text), encoding="utf-8")
        return serve(notebook)


def _notebook(folder: Path, text: str) -> str:
    """A notebook that shows the sweep in this folder. text: what it has stored, to be read until it runs."""
    lines = text.splitlines()
    shown = "\n".join([*lines[:LINES], *(["…"] if len(lines) > LINES else [])])
    output = {"output_type": "stream", "name": "stdout", "text": shown}
    title = {"cell_type": "markdown", "id": "title", "source": f"# A sweep\n\n    {folder}", "metadata": {}}
    code = f"import dyntoolkit as dt\n\nview = dt.show_sweep({str(folder)!r})"
    cell = {"cell_type": "code", "id": "view", "source": code, "metadata": {}, "outputs": [output]}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "title": "A sweep", "dyntoolkit": {"alone": True}}
    cells = [title, cell | {"execution_count": None}]
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})
