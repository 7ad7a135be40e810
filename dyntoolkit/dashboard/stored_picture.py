"""The picture that the notebook's file holds for the present cell, where nothing else shows it."""

import base64
import json
import os
from pathlib import Path
from typing import Any

from dyntoolkit.dashboard.headless import cell, is_voila


def stored_picture() -> bytes:
    """The PNG among the stored outputs of the present cell; b"" if there is none, or nobody tells file and cell.

    JupyterLab takes a cell's stored outputs from the page when it runs the cell again. (A page of Voila shows them.)
    """
    path, name = os.environ.get("JPY_SESSION_NAME", ""), cell()
    if is_voila() or not path or not name:
        return b""
    try:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
        outputs: list[Any] = next((stored.get("outputs", []) for stored in cells if stored.get("id") == name), [])
        return next((_png(output) for output in outputs if "image/png" in output.get("data", {})), b"")
    except (OSError, ValueError, KeyError):  # no file, or none that is a notebook: a console's, say
        return b""


def _png(output: Any) -> bytes:
    text = output["data"]["image/png"]
    return base64.b64decode(text if isinstance(text, str) else "".join(text))
