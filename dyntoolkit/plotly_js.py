"""plotly.js for the browser: the installed plotly package's own file, gzipped once and kept on disk."""

import functools
import gzip
from contextlib import suppress
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from dyntoolkit.cache_folder import cache_folder
from dyntoolkit.whole_file import write_whole


def source() -> bytes:
    """plotly.min.js with its licence banner."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()


@functools.cache
def gzipped() -> bytes:
    """plotly.min.js with its licence banner, gzipped (about 1.5 MB).

    Compressing takes a good part of a second, so the result is kept in the user's cache folder under plotly's version;
    where that cannot be written it lives in memory only.
    """
    content = source()
    cached = cache_folder() / f"plotly-{version('plotly')}.min.js.gz"
    try:
        packed = cached.read_bytes()
    except OSError:
        packed = b""
    if not _is_gzip_of(packed, len(content)):
        packed = gzip.compress(content, mtime=0)
        _keep(cached, packed)
    return packed


def _is_gzip_of(packed: bytes, size: int) -> bool:
    """Whether `packed` is a complete gzip file of `size` bytes: it ends with the length of what it holds."""
    return packed[:2] == b"\x1f\x8b" and int.from_bytes(packed[-4:], "little") == size


def _keep(path: Path, content: bytes) -> None:
    """Write a file in one piece, or leave no trace where that is not possible: a cache may be missing."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
