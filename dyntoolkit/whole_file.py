"""Files that are there as a whole or not at all, whatever happens to disk, folder or process while they are written."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: bytes | memoryview, mode: int = 0o666, *, durable: bool = False) -> None:
    """Write a file in one piece: who reads `path` finds all of `content`, or what was there before.

    mode: the rights of the file, less what the umask takes away. durable: wait until it is on the disk.

    Raises OSError where that is not possible (a full disk, a folder in its place, ...); no part of it stays behind.
    """
    part = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
