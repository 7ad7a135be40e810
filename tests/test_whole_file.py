"""A file is there as a whole or not at all: on full, read-only and missing disks, too."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from dyntoolkit.whole_file import write_whole

OLD, NEW = b"an older file", bytes(range(256)) * 4096  # a megabyte


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(OLD)
    return file


def test_it_takes_the_place_of_an_older_file(path):
    write_whole(path, memoryview(NEW))
    assert path.read_bytes() == NEW
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
@pytest.mark.parametrize(("mode", "mask", "rights"), [(0o666, 0o022, 0o644), (0o666, 0o077, 0o600), (0o600, 0, 0o600)])
def test_it_has_the_rights_that_it_is_given(path, mode, mask, rights):
    before = os.umask(mask)
    try:
        write_whole(path, NEW, mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == rights


@pytest.mark.parametrize("failing", ["open", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_fails_is_raised_and_leaves_the_older_file(path, monkeypatch, failing, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error)):
        write_whole(path, NEW)
    monkeypatch.undo()
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["file"]


def test_a_folder_in_its_place_stays(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match=r"[Dd]irectory"):
        write_whole(tmp_path / "file", NEW)
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_gone_is_said(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "gone" / "file", NEW)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sets no limits")
def test_a_limit_that_is_reached_in_the_middle_leaves_the_older_file(path):
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom dyntoolkit.whole_file import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: write_whole(Path(sys.argv[1]), bytes(1_000_000))\n"
        "except OSError as error: print(error.strerror)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("File too large\n", "")
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["file"]
