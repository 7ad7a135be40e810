"""Who may have a kernel: at most so many pages at once; the others wait in line."""

import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import psutil  # type: ignore[import-untyped]

PAGE = 150 * 2**20  # bytes of memory that one open page may come to need
PAGES_PER_CORE = 32
PATIENCE = 15.0  # seconds after which somebody who does not ask any more has left the line


def most_sessions() -> int:
    """How many pages this machine can take at once, by its free memory and its cores."""
    return max(2, min(int(psutil.virtual_memory().available) // PAGE, PAGES_PER_CORE * (os.cpu_count() or 1)))


class Places:
    """Places for `limit` pages. kernels: the ids of those that there are. Not for several threads at once."""

    def __init__(
        self, limit: int, kernels: Callable[[], Collection[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self._kernels, self._clock = kernels, clock
        self._starting: set[str] = set()  # ids of kernels for which a page has been let in; some may be there already
        self._line: dict[str, float] = {}  # ticket -> when its holder asked last, first come first

    def ahead(self, ticket: str) -> int:
        """How many others must leave before the holder of this ticket may enter: 0, and there is a place.

        Who asks for the first time joins the end of the line; who does not ask for PATIENCE seconds has left it.
        """
        now = self._clock()
        self._line[ticket] = now  # keeps its place in the order
        self._line = {each: asked for each, asked in self._line.items() if now - asked <= PATIENCE}
        free = self.limit - len({*self._kernels(), *self._starting})
        return max(0, list(self._line).index(ticket) + 1 - free)

    @contextmanager
    def entering(self, ticket: str) -> Iterator[str]:
        """A context in which the page of this ticket starts the kernel of this id; its place is its own meanwhile."""
        self._line.pop(ticket, None)
        kernel = str(uuid.uuid4())
        self._starting.add(kernel)
        try:
            yield kernel
        finally:
            self._starting.remove(kernel)
