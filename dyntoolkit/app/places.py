"""Who may have a kernel: at most so many pages at once; the others wait in line."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil  # type: ignore[import-untyped]

PAGE = 150 * 2**20  # bytes of memory that one open page may come to need
PAGES_PER_CORE = 32
PATIENCE = 15.0  # seconds after which somebody who does not ask any more has left the line


def most_sessions() -> int:
    """How many pages this machine can take at once, by its free memory and its cores."""
    return max(2, min(int(psutil.virtual_memory().available) // PAGE, PAGES_PER_CORE * (os.cpu_count() or 1)))


class Places:
    """Places for `limit` pages. taken: how many there are at the moment. Not for several threads at once."""

    def __init__(self, limit: int, taken: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._taken, self._clock = taken, clock
        self._starting = 0  # pages that have been let in, and are not counted by `taken` yet
        self._line: dict[str, float] = {}  # ticket -> when its holder asked last, first come first

    def ahead(self, ticket: str) -> int:
        """How many others must leave before the holder of this ticket may enter: 0, and there is a place.

        Who asks for the first time joins the end of the line; who does not ask for PATIENCE seconds has left it.
        """
        now = self._clock()
        self._line[ticket] = now  # keeps its place in the order
        self._line = {each: asked for each, asked in self._line.items() if now - asked <= PATIENCE}
        free = self.limit - self._taken() - self._starting
        return max(0, list(self._line).index(ticket) + 1 - free)

    @contextmanager
    def entering(self, ticket: str) -> Iterator[None]:
        """A context in which the page of this ticket starts its kernel; its place is its own meanwhile."""
        self._line.pop(ticket, None)
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1
