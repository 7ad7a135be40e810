"""Programs on disk: what cannot be read or written is as if not there."""

import errno
import hashlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from dyntoolkit.engine import program_cache
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.loop import train
from dyntoolkit.engine.program_cache import ProgramCache
from dyntoolkit.engine.update import Sgd

KEY, PROGRAM = "a" * 64, bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path):
    return ProgramCache(tmp_path / "dyntoolkit" / "programs")


def names(cache):
    return sorted(file.name for file in cache.folder.iterdir())


def test_what_was_put_is_found_by_anyone_who_knows_the_folder(cache):
    assert cache.get(KEY) is None
    cache.put(KEY, PROGRAM)
    assert cache.get(KEY) == PROGRAM
    assert ProgramCache(cache.folder).get(KEY) == PROGRAM
    assert cache.get("b" * 64) is None
    assert names(cache) == [KEY]


def test_the_last_program_of_a_key_counts(cache):
    cache.put(KEY, PROGRAM)
    cache.put(KEY, b"")
    assert cache.get(KEY) == b""
    assert names(cache) == [KEY]


def test_programs_lie_in_the_folder_that_is_meant_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ProgramCache().folder == tmp_path / "dyntoolkit" / "programs"
    assert ProgramCache().folder.parent == Path(platformdirs.user_cache_dir("dyntoolkit"))


def test_tests_do_not_use_the_folder_of_who_runs_them():
    assert Path.home() not in ProgramCache().folder.parents


# ---- Damage ----

DAMAGE = {
    "nothing": lambda content: b"",
    "a part": lambda content: content[:1000],
    "less than a checksum": lambda content: content[:7],
    "the checksum alone": lambda content: content[:32],
    "one byte": lambda content: content[:500] + b"?" + content[501:],
    "the checksum": lambda content: b"?" + content[1:],
    "more": lambda content: content + b"?",
    "another file": lambda content: b"#!/bin/sh\necho hello\n" * 20,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_program_is_none_and_is_replaced(cache, damage):
    cache.put(KEY, PROGRAM)
    file = cache.folder / KEY
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    assert cache.get(KEY) is None
    cache.put(KEY, PROGRAM)
    assert cache.get(KEY) == PROGRAM


def test_a_folder_in_place_of_a_program_is_none(cache):
    cache.put(KEY, PROGRAM)
    (cache.folder / ("b" * 64)).mkdir()
    assert cache.get("b" * 64) is None
    cache.put("b" * 64, PROGRAM)
    assert cache.get("b" * 64) is None
    assert cache.get(KEY) == PROGRAM
    assert not list(cache.folder.glob("*.part"))


# ---- Folders ----


def test_who_has_no_home_does_without(monkeypatch):
    def nobody(*_, **__):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(platformdirs, "user_cache_dir", nobody)
    cache = ProgramCache()
    cache.put(KEY, PROGRAM)
    assert cache.get(KEY) is None


def test_a_file_in_place_of_the_folder_is_done_without(cache):
    cache.folder.parent.mkdir()
    cache.folder.write_text("a file")
    cache.put(KEY, PROGRAM)
    assert cache.get(KEY) is None
    assert cache.folder.read_text() == "a file"


def test_a_file_in_place_of_a_folder_above_is_done_without(cache):
    cache.folder.parent.write_text("a file")
    cache.put(KEY, PROGRAM)
    assert cache.get(KEY) is None


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_one_may_not_write_to_is_done_without(cache):
    cache.put(KEY, PROGRAM)
    cache.folder.chmod(0o500)
    cache.put("b" * 64, PROGRAM)
    assert cache.get("b" * 64) is None
    assert cache.get(KEY) == PROGRAM
    cache.folder.chmod(0o700)


@pytest.mark.parametrize("what", ["open", "replace", "mkdir", "utime"])
def test_what_the_system_refuses_is_done_without(cache, monkeypatch, what):
    def refused(*args, **options):
        raise PermissionError(errno.EACCES, "no")

    cache.put(KEY, PROGRAM)
    monkeypatch.setattr(Path if what == "mkdir" else os, what, refused)
    cache.put("b" * 64, PROGRAM)
    assert (cache.get("b" * 64) is None) == (what != "utime")
    assert cache.get(KEY) == PROGRAM
    assert not list(cache.folder.glob("*.part"))


def test_a_full_disk_leaves_nothing_behind(cache, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "full")

    cache.put(KEY, PROGRAM)
    monkeypatch.setattr(os, "replace", full)
    cache.put(KEY, b"new")
    assert cache.get(KEY) == PROGRAM
    assert names(cache) == [KEY]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
@pytest.mark.parametrize("mode", [0o777, 0o722, 0o720, 0o702, 0o770])
def test_a_folder_into_which_others_can_write_is_none(cache, mode):
    cache.put(KEY, PROGRAM)
    cache.folder.chmod(mode)
    assert cache.get(KEY) is None
    cache.put("b" * 64, PROGRAM)
    assert names(cache) == [KEY]
    cache.folder.chmod(0o755)  # others may read
    assert cache.get(KEY) == PROGRAM


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_folder_of_somebody_else_is_none(cache, monkeypatch):
    cache.put(KEY, PROGRAM)
    monkeypatch.setattr(os, "getuid", lambda: cache.folder.stat().st_uid + 1)
    assert cache.get(KEY) is None
    cache.put("b" * 64, PROGRAM)
    assert names(cache) == [KEY]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_the_folder_and_its_programs_are_for_their_owner(cache):
    mask = os.umask(0)
    try:
        cache.put(KEY, PROGRAM)
    finally:
        os.umask(mask)
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert (cache.folder / KEY).stat().st_mode & 0o077 == 0
    assert cache.get(KEY) == PROGRAM


# ---- The limit ----


def aged(cache, key, seconds):
    """Put a program that was used so many seconds ago."""
    cache.put(key, PROGRAM)
    then = time.time() - seconds
    os.utime(cache.folder / key, (then, then))


SIZE = len(PROGRAM) + 32


def test_what_was_not_used_for_longest_goes_first(cache, monkeypatch):
    monkeypatch.setattr(program_cache, "LIMIT", 3 * SIZE)
    for key, age in (("one", 300), ("two", 400), ("three", 200)):
        aged(cache, key, age)
    assert cache.get("two") == PROGRAM  # used just now
    cache.put("four", PROGRAM)
    assert names(cache) == ["four", "three", "two"]
    cache.put("five", PROGRAM)
    assert names(cache) == ["five", "four", "two"]


def test_as_many_as_fit_may_stay(cache, monkeypatch):
    monkeypatch.setattr(program_cache, "LIMIT", 3 * SIZE)
    for k in range(3):
        aged(cache, str(k), 100 - k)
    assert names(cache) == ["0", "1", "2"]
    monkeypatch.setattr(program_cache, "LIMIT", 4 * SIZE - 1)
    cache.put("3", PROGRAM)
    assert names(cache) == ["1", "2", "3"]


def test_a_damaged_program_does_not_count_as_used(cache, monkeypatch):
    monkeypatch.setattr(program_cache, "LIMIT", 2 * SIZE)
    aged(cache, "damaged", 300)
    aged(cache, "good", 200)
    file = cache.folder / "damaged"
    file.write_bytes(file.read_bytes()[:-1])
    os.utime(file, (1, 1))
    assert cache.get("damaged") is None
    cache.put("new", PROGRAM)
    assert names(cache) == ["good", "new"]


def test_what_a_process_that_died_left_behind_goes_too(cache, monkeypatch):
    monkeypatch.setattr(program_cache, "LIMIT", 2 * SIZE)
    aged(cache, "good", 200)
    part = cache.folder / "dead.part"
    part.write_bytes(PROGRAM)
    os.utime(part, (1, 1))
    cache.put("new", PROGRAM)
    assert names(cache) == ["good", "new"]


def test_a_folder_among_the_programs_stays_and_the_limit_holds(cache, monkeypatch):
    monkeypatch.setattr(program_cache, "LIMIT", 2 * SIZE)
    aged(cache, "old", 300)
    (cache.folder / "somebody's").mkdir()
    os.utime(cache.folder / "somebody's", (1, 1))
    for key in ("one", "two"):
        cache.put(key, PROGRAM)
    assert names(cache) == ["one", "somebody's", "two"]


# ---- Several processes ----

SCRIPT = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("program_cache", sys.argv[3])  # alone: torch would take seconds
program_cache = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program_cache)
program_cache.LIMIT = 20_000
cache, own = program_cache.ProgramCache(Path(sys.argv[1])), sys.argv[2].encode()
found = 0
for k in range(200):
    program = own * (3000 + k)
    key = f"{k % 7}"
    cache.put(key, program)
    back = cache.get(key)
    assert back is None or len(set(back)) == 1 and 3000 <= len(back) < 3200, (key, back[:9])
    found += back is not None
print(found)
"""


@pytest.mark.slow
def test_processes_may_write_at_once(cache):
    """Each reads what one of them wrote as a whole, or nothing, if it was just removed."""
    python, file = [sys.executable, "-W", "error", "-c", SCRIPT], program_cache.__file__
    commands = [[*python, str(cache.folder), own, file] for own in "abc"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all(int(output) > 50 for output in outputs)
    assert not list(cache.folder.glob("*.part"))
    assert sum(file.stat().st_size for file in cache.folder.iterdir()) <= 20_000


# ---- With JAX ----

THETA = torch.sin(torch.arange(1.0, 7.0)).view(2, 3)


def trained(rate):
    """The last frame of a training whose program is not in memory."""
    step = lambda state, _: Sgd(rate * state.theta + 0.1 * torch.tanh(state.theta))  # noqa: E731
    *_, last = train(Sgd(THETA), step, full_batch, (0, 100), lambda k, state: {"theta": state.theta.numpy()})
    return last


FOREIGN = {
    "nothing": b"",
    "text": b"no program at all",
    "a pickle of something else": pickle.dumps({"no": "program"}),
    "a pickle that fails": b"cos\nno_such_function\n(tR.",
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_jax_cannot_load_is_compiled_anew_and_replaced(forgetting, caplog, foreign):
    expected = trained(0.5).values["theta"]
    (file,) = ProgramCache().folder.iterdir()
    program = FOREIGN[foreign]
    file.write_bytes(hashlib.sha256(program).digest() + program)
    assert ProgramCache().get(file.name) == program
    forgetting()
    last = trained(0.5)
    assert last.engine == "xla"
    np.testing.assert_array_equal(last.values["theta"], expected)
    assert len(ProgramCache().get(file.name)) > 1000
    assert caplog.records == []


def test_a_program_of_another_step_is_not_believed(forgetting, caplog):
    """One that takes the same arguments, and one that does not."""
    trained(0.5)
    (file,) = ProgramCache().folder.iterdir()
    expected = trained(0.25).values["theta"]
    (other,) = set(ProgramCache().folder.iterdir()) - {file}
    other.write_bytes(file.read_bytes())
    forgetting()
    last = trained(0.25)
    assert last.engine == "recorded"
    np.testing.assert_allclose(last.values["theta"], expected, rtol=1e-5)
    assert "xla gives other numbers than the step itself for theta" in caplog.text


def test_where_nothing_can_be_kept_programs_are_compiled_each_time(forgetting, tmp_path):
    (tmp_path / "dyntoolkit").write_text("a file")
    for _ in range(2):
        assert trained(0.5).engine == "xla"
        forgetting()
