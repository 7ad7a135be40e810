"""What a file of a run says: what made it, and its numbers. Its content is what tells its kind; none is executed."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from PIL import Image
from safetensors.numpy import load

from dyntoolkit.catalog.provenance import KEY, Provenance, numbers, parse
from dyntoolkit.engine.history import Array
from dyntoolkit.errors import InputError

LIMIT = 500_000_000  # bytes of a file, and numbers in it
HEADER = 100_000_000  # bytes of the header that safetensors allows, too
HELD = re.compile(rb'id="' + KEY.encode() + rb'">([^<]*)<')  # within a page or an SVG picture
PICTURE_ENDS = (b"</html>", b"</svg>")


class StoredRun(NamedTuple):
    """made: what made it. suffix: of files of this kind. values: name -> array; {} of a picture."""

    made: Provenance
    suffix: str
    values: dict[str, Array]


def read_run(path: Path) -> StoredRun:
    """What that file says; InputError for one that is damaged, or not of a run."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a directory: give the file of a run.", "file")
        if path.stat().st_size > LIMIT:
            raise InputError(
                f"{path} has {path.stat().st_size / 1e6:,.0f} MB: the file of a run has 500 MB at most.", "file"
            )
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.", "file") from None
    return read_content(content, path.name)


def read_content(content: bytes, name: str) -> StoredRun:
    """The same of a file's content; name: what the file is called."""
    try:
        read = _reader(content)
        text, suffix, values = read(content)
    except InputError as problem:
        raise InputError(f"{name} {problem}", "file") from None
    except Exception as problem:  # of the parser of any of the formats
        words = " ".join(str(problem).split())[:200].rstrip(".")
        raise InputError(f"{name} is damaged or no file of a run ({words}).", "file") from problem
    return StoredRun(parse(text, name), suffix, values)


Reader = Callable[[bytes], tuple[str, str, dict[str, Array]]]


def _reader(content: bytes) -> Reader:
    """What reads this kind of content."""
    begin = content[:1000].lstrip()
    if not content:
        raise InputError("is empty.")
    if content.startswith(b"\x89PNG"):
        return _png
    if content.startswith(b"\x89HDF"):
        return _netcdf
    if content.startswith(f"# {KEY}:".encode()):
        return _csv
    if begin.startswith(b"{"):
        return _json
    if content[8:9] == b"{":
        return _safetensors
    if begin.startswith(b"<"):
        return _markup
    raise InputError(
        "is no file of a run: it is neither CSV, JSON, netCDF, safetensors, SVG, PNG nor HTML of dyntoolkit."
    )


def _nothing() -> InputError:
    return InputError(f"says nothing of a run: it was not made by dyntoolkit, or has lost its {KEY!r}.")


def _png(content: bytes) -> tuple[str, str, dict[str, Array]]:
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        text = picture.info.get(KEY)
        picture.verify()  # the whole of it
    if not isinstance(text, str):
        raise _nothing()
    return text, ".png", {}


def _markup(content: bytes) -> tuple[str, str, dict[str, Array]]:
    found = HELD.search(content)
    if found is None:
        raise _nothing()
    if not content.rstrip().endswith(PICTURE_ENDS):
        raise InputError("is damaged: its end is missing.")
    return found[1].decode(), ".svg" if content.rstrip().endswith(b"</svg>") else ".html", {}


def _csv(content: bytes) -> tuple[str, str, dict[str, Array]]:
    lines = content.decode().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    rows = list(csv.reader(lines[len(comments) :]))
    promised = re.match(r"# (\d+) rows", comments[1]) if len(comments) > 1 else None
    whole = content.endswith(b"\n") and bool(rows)
    if promised is None or not whole or int(promised[1]) != len(rows) - 1 or len({len(row) for row in rows}) > 1:
        raise InputError("is damaged: rows or cells are missing.")
    head, *cells = rows
    columns = [[float(cell) if cell else np.nan for cell in column] for column in zip(*cells, strict=True)]
    values = {name: np.array(column) for name, column in zip(head, columns or [[] for _ in head], strict=True)}
    return comments[0].removeprefix(f"# {KEY}:"), ".csv", values


def _json(content: bytes) -> tuple[str, str, dict[str, Array]]:
    document = json.loads(content)
    if KEY not in document:
        raise _nothing()
    values = {}
    for name, quantity in document["quantities"].items():
        values[name] = numbers(quantity["values"])
        values[f"{name} (steps)"] = numbers(quantity["steps"])
    return json.dumps(document[KEY]), ".json", values


def _netcdf(content: bytes) -> tuple[str, str, dict[str, Array]]:
    import xarray as xr  # takes a while to load

    with h5py.File(io.BytesIO(content), "r") as file:  # h5netcdf leaves half a file behind where this one fails
        text = file.attrs.get(KEY)
    if not isinstance(text, str):
        raise _nothing()
    with xr.open_dataset(io.BytesIO(content), engine="h5netcdf") as data:
        if sum(each.size for each in data.variables.values()) > LIMIT:  # packed they need not take a byte each
            raise InputError(f"is no file of a run: it has more than {LIMIT:,} numbers.")
        return (
            text,
            ".nc",
            {str(name): data[name].values.astype(np.float64) for name in (*data.data_vars, *data.coords)},
        )


def _safetensors(content: bytes) -> tuple[str, str, dict[str, Array]]:
    size = int.from_bytes(content[:8], "little")
    if size > min(HEADER, len(content) - 8):
        raise InputError("is damaged: its header is longer than the file.")
    text = json.loads(content[8 : 8 + size]).get("__metadata__", {}).get(KEY)
    if not isinstance(text, str):
        raise _nothing()
    return text, ".safetensors", {name: value.astype(np.float64) for name, value in load(content).items()}
