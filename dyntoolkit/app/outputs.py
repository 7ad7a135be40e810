"""Standard output and standard error that may be full, closed, or read by nobody any more."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Output(io.FileIO):
    """A descriptor that takes everything: what cannot be written is dropped, and `lost` says why from then on."""

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write as much as there is room for; raises nothing."""
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = error
        return len(data)


@contextmanager
def outputs() -> Iterator[Output | None]:
    """A context in which printing never fails; yields what `sys.stdout` writes to, which knows whether it was lost.

    None, and no change, where somebody has put something else in the place of `sys.stdout`. A closed descriptor is
    opened on nothing: the next file that somebody opens would get its number, and take what is printed.
    """
    before = sys.stdout, sys.stderr
    for descriptor in (0, 1, 2):
        _open_on_nothing(descriptor)
    (out, written), (err, _) = _tolerant(sys.stdout, 1), _tolerant(sys.stderr, 2)
    sys.stdout, sys.stderr = out, err
    try:
        yield written
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _open_on_nothing(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        os.set_inheritable(opened, True)


def _tolerant(stream: Any, descriptor: int) -> tuple[Any, Output | None]:
    """A stream on the same descriptor that never fails, and what it writes to; one that is no file stays."""
    if stream is None:  # it was closed when Python started
        output = Output(descriptor, "w", closefd=False)
        output.lost = OSError(errno.EBADF, "it is closed")
        return io.TextIOWrapper(io.BufferedWriter(output), encoding="utf-8", errors="replace"), output
    buffer = getattr(stream, "buffer", None)
    if not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
        return stream, None
    stream.flush()
    output = Output(stream.fileno(), "w", closefd=False)
    text = io.TextIOWrapper(
        output if stream.write_through else io.BufferedWriter(output),  # `python -u` keeps nothing back
        encoding=stream.encoding,
        errors="replace",  # a terminal that lacks a sign of a statement still shows the rest
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    return text, output
