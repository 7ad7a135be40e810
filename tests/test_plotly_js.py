import gzip
import os
from importlib.resources import files

import pytest

from dyntoolkit import plotly_js


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(plotly_js, "cache_folder", lambda: folder)
    return folder


def packed():
    return plotly_js.gzipped.__wrapped__()  # as in a new process


def test_it_is_the_installed_file_with_its_licence(cache):
    source = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    assert gzip.decompress(packed()) == source
    assert b"MIT license" in source[:300]
    assert len(packed()) < 1_600_000


def test_it_is_compressed_once(cache, monkeypatch):
    first = packed()
    assert [path.read_bytes() for path in cache.iterdir()] == [first]
    monkeypatch.setattr(plotly_js.gzip, "compress", lambda *_args, **_options: pytest.fail("compressed again"))
    assert packed() == first


def test_a_damaged_file_is_replaced(cache):
    first = packed()
    (file,) = cache.iterdir()
    file.write_bytes(first[:1000])
    assert packed() == first
    assert file.read_bytes() == first


def test_a_cache_that_cannot_be_written_is_done_without(cache):
    cache.write_text("a file where the folder should be")
    assert packed()[:2] == b"\x1f\x8b"


def test_a_full_disk_leaves_nothing_behind(cache, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert packed()[:2] == b"\x1f\x8b"
    assert list(cache.iterdir()) == []
