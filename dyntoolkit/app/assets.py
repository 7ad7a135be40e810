"""What a page loads besides its text: JavaScript of Voila, widgets and plotly, compressed once and kept by browsers."""

import gzip
import hashlib
import mimetypes
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from tornado.web import HTTPError, RequestHandler

from dyntoolkit import plotly_js

PLOTLY = "plotly.min.js"
YEAR = 365 * 24 * 3600  # seconds
PARTS = ("voila", "plotly", "anywidget", "jupyterlab-widgets", "ipywidgets")


def folder() -> str:
    """The folder of all assets, below the server's address; another one as soon as any of their versions changes."""
    versions = " ".join(f"{part} {version(part)}" for part in PARTS)
    return f"dyntoolkit/assets/{hashlib.sha256(versions.encode()).hexdigest()[:12]}/"


class Assets(RequestHandler):
    """`static/...` and `labextensions/...`, looked for in these roots in order, and plotly.js; nothing is secret."""

    def initialize(self, static: Sequence[str], labextensions: Sequence[str]) -> None:
        """The folders to look in."""
        self.roots = {"static": static, "labextensions": labextensions}

    def set_default_headers(self) -> None:
        """Those of the pages: who may frame it, and that it is what its type says."""
        for name, value in self.settings.get("headers", {}).items():
            self.set_header(name, value)

    def get(self, path: str) -> None:
        """The file, compressed where the browser takes that; 404 for one that does not exist."""
        file = None if path == PLOTLY else self._file(path)
        packed = plotly_js.gzipped() if file is None else _packed(file, file.stat().st_mtime_ns)
        self.set_header("Content-Type", mimetypes.guess_type(path)[0] or "application/octet-stream")
        self.set_header("Cache-Control", f"public, max-age={YEAR}, immutable")
        self.set_header("Vary", "Accept-Encoding")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.finish(packed)
        else:
            self.finish(gzip.decompress(packed))

    head = get

    def _file(self, path: str) -> Path:
        kind, _, name = path.partition("/")
        if "\0" in name:  # which no name of a file holds
            raise HTTPError(404)
        for root in map(Path, self.roots.get(kind, ())):
            file = (root / name).resolve()
            if file.is_file() and file.is_relative_to(root.resolve()):
                return file
        raise HTTPError(404)


@lru_cache(maxsize=512)
def _packed(file: Path, _changed: int) -> bytes:
    """A file, gzipped; once for each of its versions."""
    return gzip.compress(file.read_bytes(), 6, mtime=0)
