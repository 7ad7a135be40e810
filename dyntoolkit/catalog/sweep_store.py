"""A sweep's directory: what is swept, and a file for each finished batch, whatever happens meanwhile."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from dyntoolkit.errors import InputError
from dyntoolkit.whole_file import write_whole

MANIFEST, LOCK = "sweep.json", ".lock"
NAME = re.compile(r"(\d{6})-([0-9a-f]{16})\.nc")  # number of the batch, and hash of the file
FAILED = ".failed.json"
LONGEST = 100  # characters of a value in a sentence
READ = ("experiment", "grid", "seeds", "config", "curves", "versions")  # by whoever opens it
SAME = (*READ, "memory", "engine")  # in a sweep that goes on


class SweepStore:
    """The directory of a sweep.

    It holds `sweep.json`, and in `batches` a netCDF file for each finished batch, named by its number and the hash of
    its content, and a JSON document for each failed one.
    """

    def __init__(self, folder: str | Path) -> None:
        given: Any = folder  # of anybody's code
        if not isinstance(given, str | Path):
            raise InputError(f"out takes a directory, got {given!r}.", "out")
        self.folder = Path(folder)
        self._batches = self.folder / "batches"

    @contextmanager
    def begun(self, manifest: Mapping[str, Any]) -> Iterator[None]:
        """A context in which this sweep, and no other process, fills the directory.

        Raises InputError for a directory that cannot be written, holds anything else or another sweep, or is in use.
        """
        self._check_free()
        lock = filelock.FileLock(self.folder / LOCK)
        with self._writing():
            self._batches.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                raise InputError(f"out: another process is sweeping into {self.folder} just now.", "out") from None
        try:
            for part in [*self.folder.glob(".*.part"), *self._batches.glob(".*.part")]:
                part.unlink()  # of a process that was killed while it wrote
            self._agree(manifest)
            yield
        finally:
            lock.release()

    def manifest(self) -> dict[str, Any]:
        """What is swept; InputError where there is no sweep."""
        try:
            found: dict[str, Any] = json.loads((self.folder / MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"there is no sweep in {self.folder}.", "out") from None
        except ValueError:
            raise InputError(f"{self.folder / MANIFEST} is damaged: it is no JSON document.", "out") from None
        except OSError as error:
            raise InputError(f"{self.folder / MANIFEST} cannot be read: {error.strerror}.", "out") from None
        if not _is_manifest(found):
            raise InputError(f"{self.folder / MANIFEST} is damaged, or of something else: no sweep.", "out")
        return found

    def measure(self, **measured: float) -> None:
        """Keep what the first batch has shown."""
        self._write_manifest({**self.manifest(), "measured": measured})

    def finished(self) -> dict[int, Path]:
        """The file of each finished batch, in order; InputError for one that is damaged."""
        found = {}
        for path in sorted(self._batches.glob("*.nc")):
            name = NAME.fullmatch(path.name)
            if name is None or _hash(path.read_bytes()) != name[2]:
                cure = "delete it, and the same sweep trains its batch again; all others stay"
                raise InputError(f"{path} is damaged: {cure}.", "out")
            found[int(name[1])] = path
        return found

    def failed(self) -> dict[int, dict[str, Any]]:
        """Each failed batch: the `cells` of its runs and its `error`."""
        found = {}
        for path in sorted(self._batches.glob(f"*{FAILED}")):
            try:
                number = int(path.name[:6])
                if not self._is_there(number):
                    found[number] = json.loads(path.read_bytes())
            except FileNotFoundError:
                continue  # it has been trained again by now
            except ValueError:
                raise InputError(f"{path} is damaged: delete it, and the same sweep trains its batch.", "out") from None
        return found

    def keep(self, number: int, content: bytes) -> None:
        """Put a finished batch on the disk."""
        with self._writing():
            write_whole(self._batches / f"{number:06d}-{_hash(content)}.nc", content, durable=True)
            (self._batches / f"{number:06d}{FAILED}").unlink(missing_ok=True)

    def fail(self, number: int, cells: Sequence[int], error: str) -> None:
        """Note why a batch failed."""
        content = json.dumps({"cells": list(cells), "error": error}).encode()
        with self._writing():
            write_whole(self._batches / f"{number:06d}{FAILED}", content, durable=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A context in which an InputError says that the directory cannot be written."""
        try:
            yield
        except OSError as error:
            raise InputError(f"out: {self.folder} cannot be written: {error.strerror or error}.", "out") from error

    def _is_there(self, number: int) -> bool:
        return any(self._batches.glob(f"{number:06d}-*.nc"))

    def _check_free(self) -> None:
        """InputError for a directory that is neither a sweep's nor empty nor yet to be made."""
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"out takes a directory, but {self.folder} is a file.", "out")
        if self.folder.is_dir() and not (self.folder / MANIFEST).exists():
            ours = (LOCK, self._batches.name)  # of a sweep that was killed at once
            others = [path.name for path in self.folder.iterdir() if path.name not in ours and path.suffix != ".part"]
            if others:
                raise InputError(f"out: {self.folder} is not empty, and no sweep: it holds {others[0]}.", "out")

    def _agree(self, manifest: Mapping[str, Any]) -> None:
        """Write what is swept, or compare it with what is there."""
        if not (self.folder / MANIFEST).exists():
            self._write_manifest(manifest)
            return
        there, here = self.manifest(), json.loads(json.dumps(manifest))
        for key in SAME:
            if there.get(key) != here[key]:
                raise InputError(f"out: {self.folder} holds another sweep: {_differing(key, there, here)}.", "out")
        if there.get("source") != here["source"]:
            raise InputError(f"out: {self.folder} holds a sweep from before its source was changed.", "out")

    def _write_manifest(self, manifest: Mapping[str, Any]) -> None:
        with self._writing():
            write_whole(self.folder / MANIFEST, json.dumps(manifest, indent=1).encode(), durable=True)


def _is_manifest(found: Any) -> bool:
    """Whether a document has the form of ours."""
    if not isinstance(found, dict) or not {*READ, "source"} <= found.keys() or not isinstance(found["grid"], dict):
        return False
    axes = found["grid"].values()
    lists = [found["seeds"], *(axis.get("values") for axis in axes if isinstance(axis, dict))]
    return len(lists) == 1 + len(axes) and all(isinstance(values, list) and values for values in lists)


def _differing(key: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Which of two values of that key the one has, and which the other, or of the first entry that differs."""
    one, other = there.get(key), here[key]
    if isinstance(one, dict) and isinstance(other, dict):
        name = next(name for name in (*one, *other) if one.get(name) != other.get(name))
        return f"its {key} has {name} {_short(one.get(name))}, not {_short(other.get(name))}"
    return f"its {key} is {_short(one)}, not {_short(other)}"


def _short(value: Any) -> str:
    """A value in a sentence; of a dimension its values."""
    text = str(value["values"] if isinstance(value, dict) else value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
