"""Compiled programs on disk, so that the next process finds them. What cannot be read or written is as if not there."""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from dyntoolkit.cache_folder import cache_folder
from dyntoolkit.whole_file import write_whole

LIMIT = 400_000_000  # bytes of all programs together; the default runs of all experiments take a tenth of it
_DIGEST = hashlib.sha256().digest_size


class ProgramCache:
    """A folder of files named by a key, each of which begins with a checksum of the rest.

    Loading a program runs its code, so a folder into which others can write counts as none. If all files together take
    more than LIMIT bytes, those that were not used for the longest time are removed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "programs"

    def get(self, key: str) -> bytes | None:
        """What was put under this key, or None."""
        file = self.folder / key
        try:
            if not self._own():
                return None
            content = file.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            return None
        with suppress(OSError):
            os.utime(file)  # used just now
        return content[_DIGEST:]

    def put(self, key: str, program: bytes) -> None:
        """Keep a program; a reader never sees half of it."""
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._own():
                return
            write_whole(self.folder / key, hashlib.sha256(program).digest() + program, mode=0o600)
            self._shrink()

    def _own(self) -> bool:
        """Whether nobody else can write into the folder."""
        found = self.folder.stat()
        return os.name == "nt" or (found.st_uid == os.getuid() and not found.st_mode & 0o022)

    def _shrink(self) -> None:
        files = []
        for file in self.folder.iterdir():
            with suppress(OSError):  # another process has removed it
                found = file.stat()
                if stat.S_ISREG(found.st_mode):
                    files.append((found.st_mtime, found.st_size, file))
        size = sum(each[1] for each in files)
        for _, taken, file in sorted(files):
            if size <= LIMIT:
                break
            file.unlink(missing_ok=True)
            size -= taken
